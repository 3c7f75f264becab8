"""The network of PlaneNet's PyTorch port: dilated residual network DRN-D-54 (Yu, Koltun, Funkhouser, CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.networks.blocks.convolution import apply_in_own_precision, keep_float32
from depth_ros.networks.blocks.planenet_output import (
    PLANES,
    NetworkOutput,
    pool_to_grid,
    resize,
    to_optical,
)


def conv_norm(
    channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution without bias, padded with zeros on all sides, and batch norm."""
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution; the 3x3 one has the stride. Names are those of torchvision."""

    def __init__(self, channels_in: int, middle: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(channels_in, middle)
        self.conv2, self.bn2 = conv_norm(middle, middle, 3, stride, dilation)
        self.conv3, self.bn3 = conv_norm(middle, 4 * middle)
        self.downsample = conv_norm(channels_in, 4 * middle, 1, stride) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class DrnD54(nn.Module):
    """drn_d_54 without its classifier. (B, 3, H, W) -> (B, 512, H/8, W/8)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(*conv_norm(3, 16, 7), nn.ReLU())
        self.layer1 = nn.Sequential(*conv_norm(16, 16, 3), nn.ReLU())
        self.layer2 = nn.Sequential(*conv_norm(16, 32, 3, 2), nn.ReLU())
        channels = 32
        plan = [(64, 3, 2, 1), (128, 4, 2, 1), (256, 6, 1, 2), (512, 3, 1, 4)]
        for i, (middle, blocks, stride, dilation) in enumerate(plan, 3):
            layer = nn.Sequential()
            for block in range(blocks):
                first = block == 0
                layer.append(Bottleneck(channels, middle, stride if first else 1, dilation, first))
                channels = 4 * middle
            self.add_module(f"layer{i}", layer)
        self.layer7 = nn.Sequential(*conv_norm(2048, 512, 3, 1, 2), nn.ReLU())
        self.layer8 = nn.Sequential(*conv_norm(512, 512, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.conv, self.bn = conv_norm(channels_in, channels_out, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Drn(nn.Module):
    """(B, 3, H, W) in -0.5..0.5 -> `NetworkOutput` at 1/8; H and W are multiples of 64."""

    def __init__(self, planes: int = PLANES) -> None:
        super().__init__()
        self.drn = DrnD54()
        self.plane_pred = keep_float32(nn.Linear(512, 3 * planes))
        self.pyramid = nn.ModuleDict({f"conv_{i}": ConvBlock(512, 128, 1) for i in range(1, 5)})
        self.feature_conv = ConvBlock(512 + 4 * 128, 512, 3)
        self.segmentation_pred = nn.Conv2d(512, planes + 1, 1)
        # in bfloat16, depth would come in steps of 0.4 %
        self.depth_pred = keep_float32(nn.Conv2d(512, 1, 1))

    def forward(self, image: Tensor, intrinsics: Tensor) -> NetworkOutput:
        x = self.drn(image)  # (B, 512, H/8, W/8)
        planes = apply_in_own_precision(self.plane_pred, x.mean((2, 3))).unflatten(1, (-1, 3))
        size = x.shape[2:]
        maps = [resize(conv(pool_to_grid(x, 2**i)), *size) for i, conv in enumerate(self.pyramid.values())]
        x = self.feature_conv(torch.cat([x, *maps], 1))
        depth = apply_in_own_precision(self.depth_pred, x)[:, 0]
        return NetworkOutput(to_optical(planes), self.segmentation_pred(x), depth)
