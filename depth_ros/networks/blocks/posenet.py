"""The motion network of SfMLearner, vid2depth and struct2depth: all frames in, one 6-vector a pair out."""

from __future__ import annotations

from torch import Tensor, nn

from depth_ros.networks.blocks.layers import Layers

WIDTHS = (16, 32, 64, 128, 256, 256, 256)
KERNELS = (7, 5, 3, 3, 3, 3, 3)


class PoseNet(nn.Module):
    """(B, 3 n, H, W), n frames as channels -> (B, n - 1, 6): tx ty tz, then the angles of Rx Ry Rz, rad.

    What is related to what, and in which order the frames come, is the family's matter. scale: factor of what
    the last layer says, so that training begins near no motion.
    """

    def __init__(self, layers: Layers, frames: int = 3, scale: float = 0.01) -> None:
        super().__init__()
        self.scale = scale
        channels = 3 * frames
        for level, (width, kernel) in enumerate(zip(layers.widths(*WIDTHS), KERNELS, strict=True), 1):
            self.add_module(f"cnv{level}", layers.conv(channels, width, kernel, 2))
            channels = width
        self.pred = layers.head(channels, 6 * (frames - 1), 1)

    def features(self, x: Tensor) -> list[Tensor]:
        """What layers 1 to 5 put out, finest first."""
        found = [x]
        for level in range(1, 6):
            found.append(self.get_submodule(f"cnv{level}")(found[-1]))
        return found[1:]

    def motion(self, bottom: Tensor) -> Tensor:
        """The vectors, from what layer 5 puts out."""
        x = self.pred(self.get_submodule("cnv7")(self.get_submodule("cnv6")(bottom)))
        return self.scale * x.mean((2, 3)).float().reshape(len(x), -1, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.motion(self.features(x)[-1])
