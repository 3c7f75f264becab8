"""View synthesis by depth and camera motion; the differentiable counterpart of `geometry`.

Pixel centres are integers, `T_a_b` takes points from b to a, images and point clouds are (B, C, H, W). No matrix
products are used, since mixed precision would round them to 8 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BORDER_TOLERANCE = 1e-2
"""px by which a sample may be outside the image: points projected onto the border itself are rounded."""


def matrix_from_vector(vector: Tensor) -> Tensor:
    """(..., 6) -> (..., 4, 4): tx ty tz and the angles, rad, of the rotation Rx Ry Rz."""
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


def vector_from_matrix(T: Tensor) -> Tensor:
    """(..., 4, 4) -> (..., 6): the inverse of `matrix_from_vector`, for |ry| < pi / 2."""
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


def intrinsics_at_scale(K: Tensor, scale: int) -> Tensor:
    """K (B, 3, 3) of the image resized by 1 / 2^scale (as `Camera.resized`; pixel centres are integers)."""
    f = 0.5**scale
    shift = K.new_tensor([[0, 0, 0.5 * (f - 1)], [0, 0, 0.5 * (f - 1)], [0, 0, 0]])
    return K * K.new_tensor([[f], [f], [1]]) + shift


def back_project(depth: Tensor, K: Tensor) -> Tensor:
    """Points (B, 3, H, W) of depth (B, 1, H, W) along the optical axis."""
    height, width = depth.shape[2:]
    u = torch.arange(width, dtype=K.dtype, device=K.device)
    v = torch.arange(height, dtype=K.dtype, device=K.device)
    x = (u - K[:, 0, 2, None]) / K[:, 0, 0, None]
    y = (v - K[:, 1, 2, None]) / K[:, 1, 1, None]
    shape = (len(K), height, width)
    x, y = x[:, None, :].expand(shape), y[:, :, None].expand(shape)
    return depth * torch.stack([x, y, torch.ones_like(x)], 1)


def transform_points(T: Tensor, points: Tensor) -> Tensor:
    """Points (B, 3, H, W) transformed by T (B, 4, 4), or by (B, 4, 4, H, W) with one transform per point."""
    columns = (T if T.dim() == 5 else T[..., None, None])[:, :3].unbind(2)
    return columns[0] * points[:, :1] + columns[1] * points[:, 1:2] + columns[2] * points[:, 2:] + columns[3]


def project(points: Tensor, K: Tensor) -> Tensor:
    """Pixels (B, 2, H, W) of points (B, 3, H, W). Points behind the camera get pixels far outside the image."""
    z = points[:, 2:]
    front = z > 1e-3
    focal = torch.stack([K[:, 0, 0], K[:, 1, 1]], 1)[:, :, None, None]
    pixels = focal * points[:, :2] / torch.where(front, z, 1.0) + K[:, :2, 2, None, None]
    return torch.where(front, pixels, -1e4)


def in_image(pixels: Tensor, height: int, width: int) -> Tensor:
    """(B, 1, H, W) float: 1 where all four neighbours that bilinear sampling reads are in the image, else 0.

    The principled mask of Mahjourian et al., CVPR 2018, section 3.2, which follows from geometry alone.
    """
    x, y = pixels.detach().split(1, 1)
    low, high = -BORDER_TOLERANCE, BORDER_TOLERANCE - 1
    return ((x >= low) & (x <= width + high) & (y >= low) & (y <= height + high)).to(pixels.dtype)


def sample(image: Tensor, pixels: Tensor) -> Tensor:
    """(B, C, h, w): `image` (B, C, H, W) sampled at pixels (B, 2, h, w), bilinear; 0 outside, without fading."""
    height, width = image.shape[2:]
    x, y = pixels.unbind(1)
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], -1)
    values = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
    return values * in_image(pixels, height, width)


def warp(source: Tensor, depth: Tensor, T_source_target: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """The target view (B, C, H, W) synthesised from `source`, and its validity (B, 1, H, W), 0 or 1.

    depth: (B, 1, H, W) of the target. K: (B, 3, 3) of both. T_source_target: (B, 4, 4), or one per pixel, see
    `transform_points`.
    """
    pixels = project(transform_points(T_source_target, back_project(depth, K)), K)
    return sample(source, pixels), in_image(pixels, *source.shape[2:])
