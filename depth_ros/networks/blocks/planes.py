"""Planes in torch: their depth at every pixel, fitting them to a depth map, matching them to each other.

A plane is the vector p = n d (m): the unit normal, pointing away from the camera, times the distance from the camera
centre. Its points X satisfy p . X = p . p; neither sign nor length is ambiguous. All is in the optical frame; `rays`
(B, 3, H, W) have z = 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MIN_SLOPE = 1e-4
"""Lower limit of |n . ray|, of planes seen edge-on."""
MAX_SQUARED_DISTANCE = 1.0
"""m^2; limit of the squared distance of two planes where masks are matched too."""


def pixel_rays(intrinsics: Tensor, size: Sequence[int], step: int = 1) -> Tensor:
    """(B, 3, H, W) rays with z = 1 through the pixels of an image of size (H, W) with intrinsics (B, 3, 3).

    step: one ray through the centre of each cell of step x step px; the size is then in cells.
    """
    height, width = size
    middle = 0.5 * (step - 1)
    u = torch.arange(width, device=intrinsics.device, dtype=torch.float32) * step + middle
    v = torch.arange(height, device=intrinsics.device, dtype=torch.float32) * step + middle
    fx, fy, cx, cy = (intrinsics[:, i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    shape = (intrinsics.shape[0], height, width)
    x, y = ((u - cx) / fx)[:, None, :].expand(shape), ((v - cy) / fy)[:, :, None].expand(shape)
    return torch.stack([x, y, torch.ones_like(x)], 1)


def plane_depths(planes: Tensor, rays: Tensor, max_depth: float) -> Tensor:
    """(B, K, H, W) depth along the optical axis, m, clamped to [0, max_depth], of planes (B, K, 3).

    Z = |p| / (ray . n) (PlaneNet, section 4); 0 where the plane is behind the camera.
    """
    distance = planes.square().sum(2).clamp(min=1e-12).sqrt()
    normals = planes / distance[..., None]
    # no matrix product: on GPUs and in mixed precision it would round to 10 or 7 bits
    n, r = normals[..., None, None], rays[:, None]
    slope = n[:, :, 0] * r[:, :, 0] + n[:, :, 1] * r[:, :, 1] + n[:, :, 2] * r[:, :, 2]
    slope = torch.where(slope.abs() < MIN_SLOPE, slope.new_full((), MIN_SLOPE), slope)
    return (distance[..., None, None] / slope).clamp(0.0, max_depth)


def plane_equations(planes: Tensor) -> Tensor:
    """(B, K, 4) of planes (B, K, 3): unit normal towards the camera and offset d >= 0 m, with n . X + d = 0."""
    distance = planes.square().sum(2, keepdim=True).clamp(min=1e-12).sqrt()
    return torch.cat([-planes / distance, distance], 2)


def fit_planes(
    inverse_depth: Tensor, rays: Tensor, segments: Tensor, prior: Tensor, prior_weight: float = 1e-4
) -> Tensor:
    """Planes (B, K, 3) fitted to a depth map, one for each soft segment.

    On a plane the inverse depth is linear in the ray: 1 / Z = (p / p . p) . ray. The relative error is minimised by
    least squares. inverse_depth: (B, H, W) 1/m. segments: (B, K, H, W) in 0..1. prior: (B, K, 3), planes that small
    segments stay close to. prior_weight: of the prior's slope, in (rad of ray)^2, and of its depth, as a fraction of
    the image.
    """
    first = prior / prior.square().sum(2, keepdim=True).clamp(min=1e-6)
    s = inverse_depth.flatten(1)[:, None]
    x, y = rays[:, 0].flatten(1)[:, None], rays[:, 1].flatten(1)[:, None]
    area = segments.mean((2, 3))
    weight = segments.flatten(2) / s.square().clamp(min=1e-4)
    weight = weight / weight.sum(2, keepdim=True).clamp(min=1e-6)
    mean_x, mean_y, mean_s = ((weight * value).sum(2, keepdim=True) for value in (x, y, s))
    dx, dy, ds = x - mean_x, y - mean_y, s - mean_s
    xx, xy, yy = (weight * dx * dx).sum(2), (weight * dx * dy).sum(2), (weight * dy * dy).sum(2)
    xs, ys = (weight * dx * ds).sum(2), (weight * dy * ds).sum(2)
    slope_weight = prior_weight / area.clamp(min=1e-6)
    xx, yy = xx + slope_weight, yy + slope_weight
    xs, ys = xs + slope_weight * first[..., 0], ys + slope_weight * first[..., 1]
    over = 1 / (xx * yy - xy * xy).clamp(min=1e-12)
    slope_x, slope_y = (yy * xs - xy * ys) * over, (xx * ys - xy * xs) * over
    mean_x, mean_y, mean_s = mean_x[..., 0], mean_y[..., 0], mean_s[..., 0]
    prior_s = first[..., 0] * mean_x + first[..., 1] * mean_y + first[..., 2]
    level = (area * mean_s + prior_weight * prior_s) / (area + prior_weight)
    q = torch.stack([slope_x, slope_y, level - slope_x * mean_x - slope_y * mean_y], 2)
    return q / q.square().sum(2, keepdim=True).clamp(min=1e-6)


def match_planes(
    predicted: Tensor, ground_truth: Tensor, matching: str, mask_cost: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """For each true plane (B, P, 3), NaN = none: index (B, P) of its prediction (B, K, 3), and validity (B, P).

    matching: "nearest": least distance of the vectors, as published. "hungarian": one to one with the least sum of
    squared distances (true planes beyond K take the nearest). "masks": one to one, too, with squared distances limited
    to `MAX_SQUARED_DISTANCE` plus `mask_cost` (B, P, K), which is required: the disagreement of the masks.
    """
    valid = torch.isfinite(ground_truth).all(2)
    cost = (ground_truth.nan_to_num()[:, :, None] - predicted[:, None]).square().sum(3)
    if matching == "masks":
        assert mask_cost is not None, "matching 'masks' needs mask_cost"
        cost = cost.clamp(max=MAX_SQUARED_DISTANCE) + mask_cost
    index = cost.argmin(2)
    if matching != "nearest":
        from scipy.optimize import linear_sum_assignment

        costs = cost.detach().float().cpu().numpy()
        for b in range(len(costs)):
            rows = valid[b].nonzero()[:, 0].cpu().numpy()
            assigned, columns = linear_sum_assignment(costs[b, rows])
            index[b, rows[assigned]] = torch.as_tensor(columns, device=index.device)
    return index, valid


def sums_over_masks(masks: Tensor, values: Tensor) -> Tensor:
    """(B, P, K) sums of values (B, K, H, W) over masks (B, P, H, W)."""
    return masks.flatten(2) @ values.flatten(2).transpose(1, 2)


def soft_iou(masks: Tensor, segments: Tensor) -> Tensor:
    """(B, P, K) intersection over union of masks (B, P, H, W) and soft segments (B, K, H, W), in 0..1."""
    intersection = sums_over_masks(masks, segments)
    union = masks.sum((2, 3))[:, :, None] + segments.sum((2, 3))[:, None] - intersection
    return intersection / union.clamp(min=1e-6)
