"""Planes of a camera in torch: their depth at every pixel, fitting them to depth, matching them to each other.

A plane is the vector p = n d (m): unit normal away from the camera times the distance to its centre, so that its
points are those with p . X = p . p. No sign and no length is free. Optical frames; `rays` (B, 3, H, W) have z = 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NEAREST_SLOPE = 1e-4
"""|n . ray| below this counts as this: the plane is seen from its edge."""
FARTHEST = 1.0
"""m^2, squared distance of two planes from which on it counts no more where masks are matched."""


def pixel_rays(intrinsics: Tensor, size: Sequence[int], step: int = 1) -> Tensor:
    """(B, 3, H, W) rays with z = 1 of the pixels of an image of size (H, W) with these intrinsics (B, 3, 3).

    step: one ray for each cell of step x step px, through the cell's middle; the size counts cells.
    """
    height, width = size
    middle = 0.5 * (step - 1)
    u = torch.arange(width, device=intrinsics.device, dtype=torch.float32) * step + middle
    v = torch.arange(height, device=intrinsics.device, dtype=torch.float32) * step + middle
    fx, fy, cx, cy = (intrinsics[:, i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    shape = (intrinsics.shape[0], height, width)
    x, y = ((u - cx) / fx)[:, None, :].expand(shape), ((v - cy) / fy)[:, :, None].expand(shape)
    return torch.stack([x, y, torch.ones_like(x)], 1)


def plane_depths(planes: Tensor, rays: Tensor, farthest: float) -> Tensor:
    """(B, K, H, W) depth along the optical axis, m, within [0, farthest], of planes (B, K, 3).

    Z = |p| / (ray . n) (PlaneNet, section 4): 0 where the ray leaves the plane behind the camera.
    """
    distance = planes.square().sum(2).clamp(min=1e-12).sqrt()
    normals = planes / distance[..., None]
    # no matrix product: on GPUs and in mixed precision those round to 10 or 7 bits
    n, r = normals[..., None, None], rays[:, None]
    slope = n[:, :, 0] * r[:, :, 0] + n[:, :, 1] * r[:, :, 1] + n[:, :, 2] * r[:, :, 2]
    slope = torch.where(slope.abs() < NEAREST_SLOPE, slope.new_tensor(NEAREST_SLOPE), slope)
    return (distance[..., None, None] / slope).clamp(0.0, farthest)


def equations(planes: Tensor) -> Tensor:
    """(B, K, 4): unit normal towards the camera and offset >= 0 m, n . X + d = 0, of planes (B, K, 3)."""
    distance = planes.square().sum(2, keepdim=True).clamp(min=1e-12).sqrt()
    return torch.cat([-planes / distance, distance], 2)


def fit(inverse_depth: Tensor, rays: Tensor, share: Tensor, prior: Tensor, trust: float = 1e-4) -> Tensor:
    """Planes (B, K, 3) through a depth map, one for each soft segment, near `prior` (B, K, 3) where little is seen.

    On a plane the inverse depth is linear in the ray: 1 / Z = (p / p . p) . ray. Least squares of the relative
    error, with weights share (B, K, H, W) in 0..1; inverse_depth (B, H, W) 1/m. `trust` is the weight of the
    prior's slope, in (radian of ray)^2, and of its depth, as a share of the image.
    """
    first = prior / prior.square().sum(2, keepdim=True).clamp(min=1e-6)
    s = inverse_depth.flatten(1)[:, None]
    x, y = rays[:, 0].flatten(1)[:, None], rays[:, 1].flatten(1)[:, None]
    total = share.mean((2, 3))
    weight = share.flatten(2) / s.square().clamp(min=1e-4)
    weight = weight / weight.sum(2, keepdim=True).clamp(min=1e-6)
    mean_x, mean_y, mean_s = ((weight * value).sum(2, keepdim=True) for value in (x, y, s))
    dx, dy, ds = x - mean_x, y - mean_y, s - mean_s
    xx, xy, yy = (weight * dx * dx).sum(2), (weight * dx * dy).sum(2), (weight * dy * dy).sum(2)
    xs, ys = (weight * dx * ds).sum(2), (weight * dy * ds).sum(2)
    soft = trust / total.clamp(min=1e-6)
    xx, yy, xs, ys = xx + soft, yy + soft, xs + soft * first[..., 0], ys + soft * first[..., 1]
    over = 1 / (xx * yy - xy * xy).clamp(min=1e-12)
    slope_x, slope_y = (yy * xs - xy * ys) * over, (xx * ys - xy * xs) * over
    mean_x, mean_y, mean_s = mean_x[..., 0], mean_y[..., 0], mean_s[..., 0]
    there = first[..., 0] * mean_x + first[..., 1] * mean_y + first[..., 2]
    level = (total * mean_s + trust * there) / (total + trust)
    q = torch.stack([slope_x, slope_y, level - slope_x * mean_x - slope_y * mean_y], 2)
    return q / q.square().sum(2, keepdim=True).clamp(min=1e-6)


def match(predicted: Tensor, truth: Tensor, how: str, unlike: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """For each true plane (B, P, 3), NaN = none, the index (B, P) of its prediction (B, K, 3), and what is valid.

    how: "nearest" by distance of the vectors, as published; "hungarian": one to one at least total squared distance
    (true planes beyond K take the nearest); or "masks": one to one too, but the distance counts for `FARTHEST` at
    most, and `unlike` (B, P, K), how badly the masks agree, is added to it.
    """
    valid = torch.isfinite(truth).all(2)
    cost = (truth.nan_to_num()[:, :, None] - predicted[:, None]).square().sum(3)
    if how == "masks":
        assert unlike is not None, "to match masks, say how unlike they are"
        cost = cost.clamp(max=FARTHEST) + unlike
    index = cost.argmin(2)
    if how != "nearest":
        from scipy.optimize import linear_sum_assignment

        costs = cost.detach().float().cpu().numpy()
        for b in range(len(costs)):
            rows = valid[b].nonzero()[:, 0].cpu().numpy()
            assigned, columns = linear_sum_assignment(costs[b, rows])
            index[b, rows[assigned]] = torch.as_tensor(columns, device=index.device)
    return index, valid


def over_masks(masks: Tensor, values: Tensor) -> Tensor:
    """(B, P, K) sums of values (B, K, H, W) over masks (B, P, H, W)."""
    return masks.flatten(2) @ values.flatten(2).transpose(1, 2)


def overlaps(masks: Tensor, share: Tensor) -> Tensor:
    """(B, P, K) intersection over union of masks (B, P, H, W) and soft segments (B, K, H, W), in 0..1."""
    common = over_masks(masks, share)
    together = masks.sum((2, 3))[:, :, None] + share.sum((2, 3))[:, None] - common
    return common / together.clamp(min=1e-6)
