"""The released network of PlaneNet (TensorFlow): DeepLab's ResNet-101 behind a small stem, and three branches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.networks.blocks.convolution import apply_in_own_precision, keep_float32
from depth_ros.networks.blocks.planenet_output import (
    PLANES,
    NetworkOutput,
    pool_to_grid,
    resize_tf1,
    to_optical,
)


class ConvNorm(nn.Module):
    """Convolution without bias and batch norm as in TensorFlow 1.

    SAME padding adds, for stride 2 and even sizes, one row and column less before than after.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, dilation: int = 1
    ):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.001)
        before = (dilation * (kernel - 1) + 1 - stride) // 2 if kernel > 1 else 0
        after = dilation * (kernel - 1) + 1 - stride - before if kernel > 1 else 0
        self.padding = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(F.pad(x, self.padding)))


class Degridding(nn.Module):
    """Block of the stem: two 3x3 convolutions, the second with stride 2, and a 1x1 shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.a = ConvNorm(channels_in, channels_out, 3)
        self.b = ConvNorm(channels_out, channels_out, 3, stride=2)
        self.c = ConvNorm(channels_in, channels_out, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(self.a(x))) + self.c(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (dilated) and 1x1 convolution; the first one has the stride, as in the original ResNet."""

    def __init__(self, channels_in: int, middle: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        self.branch1 = ConvNorm(channels_in, 4 * middle, 1, stride) if project else nn.Identity()
        self.branch2a = ConvNorm(channels_in, middle, 1, stride)
        self.branch2b = ConvNorm(middle, middle, 3, dilation=dilation)
        self.branch2c = ConvNorm(middle, 4 * middle)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.branch2a(x))
        return F.relu(self.branch2c(F.relu(self.branch2b(y))) + self.branch1(x))


class ResNet101(nn.Module):
    """(B, 3, H, W) in -0.5..0.5 -> `NetworkOutput` at 1/8; H and W are multiples of 64."""

    def __init__(self, planes: int = PLANES) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, 16, 7)
        self.conv2, self.conv3 = Degridding(16, 16), Degridding(16, 32)
        names = {2: ["a", "b", "c"], 3: ["a", "b1", "b2", "b3"],
                 4: ["a", *(f"b{i}" for i in range(1, 23))], 5: ["a", "b", "c"]}  # fmt: skip
        self.res = nn.ModuleDict()
        channels = 32
        for stage, (middle, dilation) in {2: (64, 1), 3: (128, 1), 4: (256, 2), 5: (512, 4)}.items():
            for name in names[stage]:
                stride = 2 if (stage, name) == (3, "a") else 1
                self.res[f"{stage}{name}"] = Bottleneck(channels, middle, stride, dilation, name == "a")
                channels = 4 * middle
        self.plane_fc = keep_float32(nn.Linear(2048, 3 * planes))
        self.pools = nn.ModuleList(ConvNorm(2048, 512) for _ in range(4))
        self.segmentation_conv1 = ConvNorm(4 * 512 + 2048, 512, 3)
        self.dropout = nn.Dropout(0.1)
        self.segmentation_conv2 = nn.Conv2d(512, planes, 1)
        self.non_plane_mask_conv2 = nn.Conv2d(512, 1, 1)
        # in bfloat16, depth would come in steps of 0.4 %
        self.non_plane_depth_conv2 = keep_float32(nn.Conv2d(512, 1, 1))
        self.non_plane_normal_conv2 = nn.Conv2d(512, 3, 1)  # part of the released weights, not used

    def forward(self, image: Tensor, intrinsics: Tensor) -> NetworkOutput:
        x = self.conv3(self.conv2(F.relu(self.conv1(image))))  # (B, 32, H/4, W/4)
        for block in self.res.values():
            x = block(x)
        planes = apply_in_own_precision(self.plane_fc, x.mean((2, 3))).unflatten(1, (-1, 3))
        size = x.shape[2:]  # (B, 2048, H/8, W/8)
        maps = [resize_tf1(F.relu(conv(pool_to_grid(x, 2**i))), *size) for i, conv in enumerate(self.pools)]
        x = self.dropout(F.relu(self.segmentation_conv1(torch.cat([x, *maps], 1))))
        logits = torch.cat([self.segmentation_conv2(x), self.non_plane_mask_conv2(x)], 1)
        depth = apply_in_own_precision(self.non_plane_depth_conv2, x)[:, 0]
        return NetworkOutput(to_optical(planes), logits, depth)
