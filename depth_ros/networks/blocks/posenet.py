"""The motion network of SfMLearner, vid2depth and struct2depth: all frames in, one 6-vector per pair of frames out."""

from __future__ import annotations

from torch import Tensor, nn

from depth_ros.networks.blocks.video_layers import Layers

WIDTHS = (16, 32, 64, 128, 256, 256, 256)
KERNELS = (7, 5, 3, 3, 3, 3, 3)


class PoseNet(nn.Module):
    """(B, 3 n, H, W), n frames as channels -> (B, n - 1, 6): tx ty tz, then the angles of Rx Ry Rz, rad.

    The family defines the order of the frames and which pairs the motions relate. scale: factor of the last layer's
    output, so that training starts close to zero motion.
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
        """Outputs of layers 1 to 5, at 1/2 to 1/32 of the size."""
        outputs = [x]
        for level in range(1, 6):
            outputs.append(self.get_submodule(f"cnv{level}")(outputs[-1]))
        return outputs[1:]

    def motion(self, bottom: Tensor) -> Tensor:
        """The vectors (B, n - 1, 6) from the output of layer 5."""
        x = self.pred(self.get_submodule("cnv7")(self.get_submodule("cnv6")(bottom)))
        return self.scale * x.mean((2, 3)).float().reshape(len(x), -1, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.motion(self.features(x)[-1])
