"""The depth network of SfMLearner, vid2depth and struct2depth (Zhou et al., CVPR 2017, appendix).

A variant of DispNet (Mayer et al., CVPR 2016). Layer names are those of the released checkpoints.
"""

from __future__ import annotations

from torch import Tensor, cat, nn

from depth_ros.networks.blocks.video_layers import Layers, crop_to, decode_disparity

WIDTHS = (32, 64, 128, 256, 512, 512, 512)
KERNELS = (7, 5, 3, 3, 3, 3, 3)
SCALES = 4


class DispNet(nn.Module):
    """(B, 3, H, W) -> inverse depths (B, 1, H / 2^s, W / 2^s), s = 0 to 3, float32, between 0.01 and 10.01."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.upsample = layers.upsample_bilinear
        channels, widths = 3, layers.widths(*WIDTHS)
        for level, (width, kernel) in enumerate(zip(widths, KERNELS, strict=True), 1):
            self.add_module(f"cnv{level}", layers.conv(channels, width, kernel, 2))
            self.add_module(f"cnv{level}b", layers.conv(width, width, kernel))
            channels = width
        for level in range(7, 0, -1):
            width = layers.widths(16, 32, 64, 128, 256, 512, 512)[level - 1]
            skip = widths[level - 2] if level > 1 else 0
            self.add_module(f"upcnv{level}", layers.up(channels, width))
            self.add_module(f"icnv{level}", layers.conv(width + skip + (level < SCALES), width))
            if level <= SCALES:
                self.add_module(f"disp{level}", layers.head(width, 1))
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        part = self.get_submodule
        skips = [x]
        for level in range(1, 8):
            skips.append(part(f"cnv{level}b")(part(f"cnv{level}")(skips[-1])))
        x = skips[7]
        disparities: list[Tensor] = []
        for level in range(7, 0, -1):
            skip = skips[level - 1]
            parts = [crop_to(part(f"upcnv{level}")(x), skip)]
            if level > 1:
                parts.append(skip)
            if level < SCALES:
                parts.append(self.upsample(disparities[-1]).to(x.dtype))
            x = part(f"icnv{level}")(cat(parts, 1))
            if level <= SCALES:
                disparities.append(decode_disparity(part(f"disp{level}")(x)))
        return disparities[::-1]
