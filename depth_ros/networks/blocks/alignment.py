"""Alignment of the point clouds of neighbouring frames, as a loss for depth and ego-motion.

Mahjourian et al., CVPR 2018, section 3.3: iterative closest point (ICP) between the cloud of one frame, transformed by
the ego-motion, and that of the other. The remaining motion T' and the residual of every point should be zero. ICP has
no useful derivative, so gradients are defined instead: T' acts on the motion, a residual on its point.

Two things differ from the paper's ICP. Points are associated by projection into the other camera instead of a search,
and distances are measured to the plane at the associated point instead of to the point (Chen and Medioni 1992), since
two cameras never sample the same points of a surface. Both make it exact and fast: a few Gauss-Newton steps. The ICP
of the released code is `blocks.point_alignment`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from depth_ros.networks.blocks.point_alignment import align_to_points
from depth_ros.networks.blocks.synthesis import (
    compose,
    matrix_from_vector,
    project,
    transform_points,
    vector_from_matrix,
)

ITERATIONS = 10
EDGE_THRESHOLD = 0.05
"""Relative second difference of inverse depth above which neighbours are on different surfaces."""
MAX_STEP = 0.1
"""Limit of the rotation of one step, rad, and of its translation relative to the mean depth."""
INITIAL_GATE, GATE_DECAY, FINAL_GATE = 0.2, 0.6, 1e-3
"""Maximum distance of an association relative to depth: in the first step, its factor per step, its lower limit."""


def align(
    points: Tensor, target: Tensor, K: Tensor, iterations: int = ITERATIONS
) -> tuple[Tensor, Tensor, Tensor]:
    """Rigid T' (B, 4, 4) that aligns `points` with `target`, both (B, 3, H, W), residuals and matches.

    target: the cloud of an image with intrinsics K, in image order; points: any cloud in the same frame; NaN = invalid.
    Residuals (B, 3, H, W) are the vectors from the transformed points to their planes, 0 where `matched`, (B, 1, H, W),
    is 0. As with every ICP, the region of convergence is a motion of some pixels.
    """
    normals, normal_valid = surface_normals(target)
    valid = torch.isfinite(points).all(1, keepdim=True)
    points, target = torch.where(valid, points, 0.0), torch.nan_to_num(target)
    T = torch.eye(4, dtype=points.dtype, device=points.device).repeat(len(points), 1, 1)
    moved = points
    for i in range(iterations):
        normal, distance, matched = _associate(moved, valid, (target, normals, normal_valid), K)
        weight = _weight(distance, matched, moved[:, 2:], max(INITIAL_GATE * GATE_DECAY**i, FINAL_GATE))
        T = compose(matrix_from_vector(_step(moved, normal, distance, weight)), T)
        moved = transform_points(T, points)
    normal, distance, matched = _associate(moved, valid, (target, normals, normal_valid), K)
    return T, normal * distance, matched


def surface_normals(cloud: Tensor) -> tuple[Tensor, Tensor]:
    """Unit normals (B, 3, H, W) of a cloud in image order, and their validity (B, 1, H, W), 0 or 1."""
    padded = F.pad(cloud, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    normal = torch.linalg.cross(across, down, dim=1)
    length = normal.norm(dim=1, keepdim=True)
    inverse_z = 1 / padded[:, 2:]
    bend = [  # second differences of inverse depth: 0 on a plane, large at edges
        (inverse_z[:, :, 1:-1, 2:] + inverse_z[:, :, 1:-1, :-2] - 2 * inverse_z[:, :, 1:-1, 1:-1]).abs(),
        (inverse_z[:, :, 2:, 1:-1] + inverse_z[:, :, :-2, 1:-1] - 2 * inverse_z[:, :, 1:-1, 1:-1]).abs(),
    ]
    flat = torch.maximum(*bend) * cloud[:, 2:] < EDGE_THRESHOLD
    valid = (length > 0) & torch.isfinite(length) & flat
    return torch.where(valid, normal / length, 0.0), valid.to(cloud.dtype)


def _associate(
    points: Tensor, valid: Tensor, target: tuple[Tensor, Tensor, Tensor], K: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Associate points by projection; returns normals of their planes, signed distances to these, and matches.

    target: cloud, normals and validity of the normals, in image order.
    """
    cloud, normals, normal_valid = target
    height, width = cloud.shape[2:]
    x, y = project(points, K).round().split(1, 1)
    visible = (x >= 0) & (x < width) & (y >= 0) & (y < height) & valid
    index = torch.where(visible, y * width + x, 0.0).long().flatten(2)

    def at(values: Tensor) -> Tensor:
        expanded = index.expand(-1, values.shape[1], -1)
        return values.flatten(2).gather(2, expanded).unflatten(2, (height, width))

    matched = visible * at(normal_valid)
    normal = at(normals)
    return normal, matched * (normal * (at(cloud) - points)).sum(1, keepdim=True), matched


def _weight(distance: Tensor, matched: Tensor, z: Tensor, bound: float) -> Tensor:
    """Tukey's weight of every match by its distance relative to z; 0 beyond `bound` or 7 medians, if larger."""
    relative = distance.abs() / z.abs().clamp(min=1e-3)
    median = torch.where(matched > 0, relative, torch.nan).flatten(1).nanmedian(1).values.nan_to_num(1.0)
    bounds = (7 * median).clamp(min=bound)[:, None, None, None]
    return matched * (1 - (relative / bounds).square()).clamp(min=0).square() / z.abs().clamp(min=1e-3)


def _step(points: Tensor, normal: Tensor, distance: Tensor, weight: Tensor) -> Tensor:
    """Gauss-Newton step: the small motion (B, 6) that minimises the weighted distances of points to their planes."""
    J = torch.cat([normal, torch.linalg.cross(points, normal, dim=1)], 1).flatten(2).double()
    weighted = J * weight.flatten(2)
    A = weighted @ J.transpose(1, 2)
    b = weighted @ distance.flatten(2).double().transpose(1, 2)
    damping = 1e-9 * A.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] + 1e-12
    step = torch.linalg.solve(A + damping * torch.eye(6, device=A.device), b)[:, :, 0].to(points.dtype)
    z = points[:, 2].abs().mean((1, 2))[:, None]
    bound = MAX_STEP * torch.cat([z.expand(-1, 3), torch.ones_like(z).expand(-1, 3)], 1)
    return torch.maximum(torch.minimum(step, bound), -bound)  # unlimited for clouds that do not fit


DISTANCES = {"plane": align, "point": align_to_points}
"""What an ICP minimises: distances to the planes, or to the points, of the other cloud."""


class _Alignment(torch.autograd.Function):
    """One of DISTANCES with the gradients that `alignment` defines."""

    @staticmethod
    def forward(
        ctx: Any, vector: Tensor, moved: Tensor, target: Tensor, K: Tensor, iterations: int, distance: str
    ) -> Any:
        T, residual, _ = DISTANCES[distance](moved, target, K, iterations)
        return vector_from_matrix(T), residual

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        correction_gradient, residual_gradient = gradients
        return -correction_gradient, -residual_gradient, None, None, None, None


def alignment(
    vector: Tensor,
    cloud: Tensor,
    target: Tensor,
    K: Tensor,
    iterations: int = ITERATIONS,
    distance: str = "plane",
) -> tuple[Tensor, Tensor]:
    """The motion (B, 6) and residuals (B, 3, H, W) of an ICP for `cloud` transformed by the motion `vector` (B, 6).

    distance: key of DISTANCES.

    Gradients are defined: the negative gradient of the motion goes to `vector`, that of the residuals to the points of
    `cloud`. `target` gets none; it gets them when the loss is computed for the pair in the other direction.
    """
    moved = transform_points(matrix_from_vector(vector).detach(), cloud)
    return _Alignment.apply(vector, moved, target.detach(), K, iterations, distance)
