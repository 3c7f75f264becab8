"""A view made of another one through depth and motion, exact against geometry; the torch side of `geometry`.

Pixel centres are integers, `T_a_b` takes points from b to a, images and clouds are (B, C, H, W). There is no
matrix product in it, which mixed precision would round to 8 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ROUNDING = 1e-2
"""Pixels that a sample may lie outside by: what is projected onto the border itself is rounded."""


def matrix_from(vector: Tensor) -> Tensor:
    """(..., 4, 4) of (..., 6): tx ty tz and the angles of Rx Ry Rz, a product in this order, rad."""
    zero, one = torch.zeros_like(vector[..., 0]), torch.ones_like(vector[..., 0])
    c, s = torch.cos(vector[..., 3:]), torch.sin(vector[..., 3:])
    (cx, cy, cz), (sx, sy, sz) = c.unbind(-1), s.unbind(-1)
    tx, ty, tz = vector[..., :3].unbind(-1)
    rows = [
        [cy * cz, -cy * sz, sy, tx],
        [cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy, ty],
        [sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy, tz],
        [zero, zero, zero, one],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def vector_from(T: Tensor) -> Tensor:
    """(..., 6) of (..., 4, 4): what `matrix_from` makes T of, for |ry| < pi / 2."""
    R = T[..., :3, :3]
    rx = torch.atan2(-R[..., 1, 2], R[..., 2, 2])
    ry = torch.atan2(R[..., 0, 2], torch.hypot(R[..., 0, 0], R[..., 0, 1]))
    rz = torch.atan2(-R[..., 0, 1], R[..., 0, 0])
    return torch.cat([T[..., :3, 3], torch.stack([rx, ry, rz], -1)], -1)


def inverse(T: Tensor) -> Tensor:
    """Inverse of rigid transforms (..., 4, 4)."""
    R = T[..., :3, :3].transpose(-1, -2)
    top = torch.cat([R, -(R * T[..., None, :3, 3]).sum(-1, keepdim=True)], -1)
    return torch.cat([top, T[..., 3:, :]], -2)


def compose(T_a_b: Tensor, T_b_c: Tensor) -> Tensor:
    """T_a_c (..., 4, 4)."""
    return (T_a_b[..., :, :, None] * T_b_c[..., None, :, :]).sum(-2)


def intrinsics_at(K: Tensor, scale: int) -> Tensor:
    """K (B, 3, 3) of the image whose sides were divided by 2^scale (as `Camera.resized`: integer centres)."""
    f = 0.5**scale
    shift = K.new_tensor([[0, 0, 0.5 * (f - 1)], [0, 0, 0.5 * (f - 1)], [0, 0, 0]])
    return K * K.new_tensor([[f], [f], [1]]) + shift


def back_project(depth: Tensor, K: Tensor) -> Tensor:
    """Points (B, 3, H, W) of depths (B, 1, H, W) along the optical axis."""
    height, width = depth.shape[2:]
    u = torch.arange(width, dtype=K.dtype, device=K.device)
    v = torch.arange(height, dtype=K.dtype, device=K.device)
    x = (u - K[:, 0, 2, None]) / K[:, 0, 0, None]
    y = (v - K[:, 1, 2, None]) / K[:, 1, 1, None]
    shape = (len(K), height, width)
    x, y = x[:, None, :].expand(shape), y[:, :, None].expand(shape)
    return depth * torch.stack([x, y, torch.ones_like(x)], 1)


def move(T: Tensor, points: Tensor) -> Tensor:
    """Points (B, 3, H, W) taken through T (B, 4, 4), or (B, 4, 4, H, W) with one for every point."""
    columns = (T if T.dim() == 5 else T[..., None, None])[:, :3].unbind(2)
    return columns[0] * points[:, :1] + columns[1] * points[:, 1:2] + columns[2] * points[:, 2:] + columns[3]


def project(points: Tensor, K: Tensor) -> Tensor:
    """Pixels (B, 2, H, W) of points (B, 3, H, W). Behind the camera they are far outside the image."""
    z = points[:, 2:]
    front = z > 1e-3
    focal = torch.stack([K[:, 0, 0], K[:, 1, 1]], 1)[:, :, None, None]
    pixels = focal * points[:, :2] / torch.where(front, z, 1.0) + K[:, :2, 2, None, None]
    return torch.where(front, pixels, -1e4)


def inside(pixels: Tensor, height: int, width: int) -> Tensor:
    """(B, 1, H, W) float: 1 where all four neighbours that bilinear sampling reads lie in the image.

    Mahjourian et al., CVPR 2018, section 3.2: the principled mask, known from geometry alone.
    """
    x, y = pixels.detach().split(1, 1)
    low, high = -ROUNDING, ROUNDING - 1
    return ((x >= low) & (x <= width + high) & (y >= low) & (y <= height + high)).to(pixels.dtype)


def sample(image: Tensor, pixels: Tensor) -> Tensor:
    """`image` (B, C, H, W) read at pixels (B, 2, h, w), bilinear; 0 outside, without fading."""
    height, width = image.shape[2:]
    size = pixels.new_tensor([width - 1, height - 1])
    grid = 2 * pixels.permute(0, 2, 3, 1) / size - 1
    read = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
    return read * inside(pixels, height, width)


def warp(source: Tensor, depth: Tensor, T_source_target: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """The target view made of `source` (B, C, H, W), and where it could be made, (B, 1, H, W) 0 or 1.

    depth: (B, 1, H, W) of the target. K: (B, 3, 3) of both. T: (B, 4, 4), or one for every pixel, see `move`.
    """
    pixels = project(move(T_source_target, back_project(depth, K)), K)
    return sample(source, pixels), inside(pixels, *source.shape[2:])
