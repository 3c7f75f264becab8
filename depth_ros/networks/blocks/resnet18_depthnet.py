"""The depth network of struct2depth: a ResNet-18 (He et al., CVPR 2016) with TensorFlow's padding, and a decoder.

Layer names are those of the released checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.networks.blocks.video_layers import BatchNorm, Conv, UpConv, decode_disparity, pad_same


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut without."""

    def __init__(self, channels: int, width: int, stride: int, batch_statistics: bool) -> None:
        super().__init__()
        self.conv_1 = Conv(channels, width, 3, stride, bias=False)
        self.bn_1 = BatchNorm(width, batch_statistics=batch_statistics)
        self.conv_2 = Conv(width, width, 3, bias=False)
        self.bn_2 = BatchNorm(width, batch_statistics=batch_statistics)
        self.shortcut = Conv(channels, width, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn_2(self.conv_2(F.relu(self.bn_1(self.conv_1(x)))))
        return F.relu(inner + self.shortcut(x))


class Encoder(nn.Module):
    """ResNet-18: (B, 3, H, W) -> maps of 64, 64, 128, 256, 512 channels at 1/2 to 1/32 of the size."""

    def __init__(self, batch_statistics: bool = False, width_divisor: int = 1) -> None:
        super().__init__()
        channels = 64 // width_divisor
        self.conv1 = Conv(3, channels, 7, 2, bias=False)
        self.bn1 = BatchNorm(channels, batch_statistics=batch_statistics)
        for stage, published in enumerate((64, 128, 256, 512), 2):
            width = published // width_divisor
            for block in (1, 2):
                stride = 2 if block == 1 and stage > 2 else 1
                self.add_module(f"conv{stage}_{block}", Block(channels, width, stride, batch_statistics))
                channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [F.relu(self.bn1(self.conv1(x)))]
        x = F.max_pool2d(pad_same(maps[0], 3, 2), 3, 2)  # after ReLU no padding zero is the maximum
        for stage in range(2, 6):
            x = self.get_submodule(f"conv{stage}_2")(self.get_submodule(f"conv{stage}_1")(x))
            maps.append(x)
        return maps


class ReflectConv(nn.Conv2d):
    """3x3 convolution with reflection padding."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 3, padding=1, padding_mode="reflect")


class DepthNet(nn.Module):
    """(B, 3, H, W) -> inverse depths (B, 1, H / 2^s, W / 2^s), s = 0 to 3, float32; H, W multiples of 32."""

    def __init__(self, batch_statistics: bool = False, width_divisor: int = 1) -> None:
        super().__init__()
        self.encoder = Encoder(batch_statistics, width_divisor)
        channels = 512 // width_divisor
        decoder = zip((5, 4, 3, 2, 1), (256, 128, 64, 32, 16), (256, 128, 64, 64, 0), strict=True)
        for level, published, published_skip in decoder:
            width, skip = published // width_divisor, published_skip // width_divisor
            self.add_module(f"upconv{level}", UpConv(channels, width))
            self.add_module(f"iconv{level}", ReflectConv(width + skip, width))
            if level < 5:
                self.add_module(f"disp{level}", ReflectConv(width, 1))
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        skips = self.encoder(x)
        disparities: list[Tensor] = []
        x = skips[4]
        for level in range(5, 0, -1):
            parts = [F.relu(self.get_submodule(f"upconv{level}")(x)), *skips[level - 2 : level - 1]]
            x = F.relu(self.get_submodule(f"iconv{level}")(torch.cat(parts, 1)))
            if level < 5:
                disparities.append(decode_disparity(self.get_submodule(f"disp{level}")(x)))
        return disparities[::-1]
