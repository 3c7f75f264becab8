"""Our small network for family planenet: encoder and decoder as in family `compact`, and PlaneNet's three branches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.networks.blocks.convolution import (
    apply_in_own_precision,
    conv_bn_relu,
    keep_float32,
    upsample_nearest,
)
from depth_ros.networks.blocks.efficientnet_lite import Encoder
from depth_ros.networks.blocks.focal_length import LOG_INVERSE_DEPTH_OFFSET, mean_focal_length
from depth_ros.networks.blocks.planenet_output import PLANES, NetworkOutput, pool_to_grid
from depth_ros.networks.blocks.planes import pixel_rays

ANCHORS = [(0.0, 1.4, 0.3), (0.0, -1.2, 0.3), (-2.0, 0.0, 0.5), (2.0, 0.0, 0.5), (0.0, 0.5, 3.5),
           (-1.5, 0.3, 2.0), (1.5, 0.3, 2.0), (0.0, 0.7, 0.2), (0.0, 0.3, 1.5), (-0.7, 0.4, 1.2)]  # fmt: skip
"""Initial planes (m, optical frame): floor, ceiling, walls, table tops and fronts."""


class Lite(nn.Module):
    """(B, 3, H, W) in -0.5..0.5 -> `NetworkOutput` at 1/4; H and W are multiples of 64.

    Depth is focal-normalised, see `blocks.focal_length`. Pixel rays are an input: the orientation of planes depends on
    them.
    """

    def __init__(self, planes: int = PLANES) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.bottom = conv_bn_relu(320, 128, 1)
        self.context = nn.Conv2d(128, 128, 1)
        self.level16 = conv_bn_relu(128 + 112 + 2, 96)
        self.level8 = conv_bn_relu(96 + 40, 64)
        self.level4 = conv_bn_relu(64 + 24, 48)
        # in bfloat16, depth would come in steps of 0.4 %
        self.head = keep_float32(nn.Conv2d(48, planes + 2, 3, padding=1))
        self.plane_hidden, self.plane_fc = nn.Linear(96 * 16, 128), keep_float32(nn.Linear(128, 3 * planes))
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.plane_fc.weight.mul_(0.3)
            start = torch.tensor(ANCHORS).repeat(-(-planes // len(ANCHORS)), 1)[:planes]
            self.plane_fc.bias.copy_(start.flatten())

    def forward(self, image: Tensor, intrinsics: Tensor) -> NetworkOutput:
        (_, quarter, eighth, sixteenth), x = self.encoder(2.0 * image)
        x = self.bottom(x)  # (B, 128, H/32, W/32)
        x = x + F.relu(self.context(x.mean((2, 3), keepdim=True)))
        rays = pixel_rays(intrinsics, sixteenth.shape[2:], step=16)[:, :2].to(x.dtype)
        x = self.level16(torch.cat([upsample_nearest(x), sixteenth, rays], 1))  # (B, 96, H/16, W/16)
        hidden = F.relu(self.plane_hidden(pool_to_grid(x, 4).flatten(1)))
        planes = apply_in_own_precision(self.plane_fc, hidden).unflatten(1, (-1, 3))
        x = self.level8(torch.cat([upsample_nearest(x), eighth], 1))  # (B, 64, H/8, W/8)
        x = self.level4(torch.cat([upsample_nearest(x), quarter], 1))  # (B, 48, H/4, W/4)
        maps = apply_in_own_precision(self.head, x).float()  # (B, planes + 2, H/4, W/4): logits, then depth
        log_inverse_depth = (maps[:, -1] + LOG_INVERSE_DEPTH_OFFSET).clamp(-2.0, 9.0)
        depth = mean_focal_length(intrinsics)[:, None, None] * torch.exp(-log_inverse_depth)
        return NetworkOutput(planes, maps[:, :-1], depth)
