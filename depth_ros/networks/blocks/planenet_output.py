"""Output of the networks of family planenet, and the pooling and resizing of their maps.

A plane is a vector p = n d, see `blocks.planes`. The published networks predict it in a frame with x right, y FORWARD,
z up; `to_optical` converts it to the optical frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

PLANES = 10
"""Number of planes per image, K of the paper."""


class NetworkOutput(NamedTuple):
    """Output of a network, at 1/8 or 1/4 of the size of the image.

    planes: (B, K, 3) m, optical frame. logits: (B, K + 1, h, w) of the segmentation, non-planar last. depth: (B, h, w)
    m, of the depth branch, at every pixel.
    """

    planes: Tensor
    logits: Tensor
    depth: Tensor


def to_optical(planes: Tensor) -> Tensor:
    """Vectors (..., 3) in a frame of x right, y forward, z up -> the optical frame (x right, y down, z forward)."""
    x, forward, up = planes.unbind(-1)
    return torch.stack([x, -up, forward], -1)


def to_forward(planes: Tensor) -> Tensor:
    """The inverse of `to_optical`."""
    x, down, forward = planes.unbind(-1)
    return torch.stack([x, forward, -down], -1)


def pool_to_grid(x: Tensor, across: int) -> Tensor:
    """(B, C, H, W) -> (B, C, across, across): means of equal windows; `across` must divide H and W."""
    return F.avg_pool2d(x, (x.shape[2] // across, x.shape[3] // across))


def resize_tf1(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear resizing as in TensorFlow 1: output pixel i reads input i * size / new size, clamped at the far edge."""
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    return F.interpolate(x, (height + 1, width + 1), mode="bilinear", align_corners=True)[..., :-1, :-1]


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear resizing with half-pixel centres."""
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False)
