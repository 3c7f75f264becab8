"""How two clouds of neighbouring frames lie on each other, and what that says about depth and ego-motion.

Mahjourian et al., CVPR 2018, section 3.3: iterative closest points between the cloud of one frame, moved by the
ego-motion, and that of the other. What is left over, T' and a residual for every point, should be zero. The
search has no useful derivative, so that gradients are defined: a correction of the motion pushes the motion, and
a residual pushes its point.

Two things differ from the paper's ICP. A point is matched with what the other camera sees in its direction,
which costs one projection instead of a search; and distances are taken to the plane there instead of to a point
(Chen and Medioni 1992), since two cameras never sample the same points of a surface. Both make it exact and
fast: a few steps of Gauss-Newton.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from depth_ros.networks.blocks.synthesis import compose, matrix_from, move, project, vector_from

ITERATIONS = 10
JUMP = 0.05
"""Relative difference of depth between neighbours from which on they are on different surfaces."""

LARGEST = 0.1
"""One step turns by no more than so many rad, and moves by no more than this share of the mean depth."""
FIRST, SHRINK, LAST = 0.2, 0.6, 1e-3
"""Distance of a match, relative to depth, from which on it is no match: in the first step, factor, in the end."""


def align(
    points: Tensor, target: Tensor, K: Tensor, iterations: int = ITERATIONS
) -> tuple[Tensor, Tensor, Tensor]:
    """Rigid T' (B, 4, 4) that lays `points` onto `target`, both (B, 3, H, W), what is left over and where.

    target: the cloud of an image with intrinsics K, pixel by pixel; points: any cloud in the same frame. NaN is
    unknown. The residuals (B, 3, H, W) lead from T' points to the plane that they were matched with, 0 where
    `matched`, (B, 1, H, W) 0 or 1, says none. Convergence as every ICP's: motions of some pixels.
    """
    normals, known = surface(target)
    valid = torch.isfinite(points).all(1, keepdim=True)
    points, target = torch.where(valid, points, 0.0), torch.nan_to_num(target)
    T = torch.eye(4, dtype=points.dtype, device=points.device).repeat(len(points), 1, 1)
    moved = points
    for i in range(iterations):
        normal, distance, matched = _matched(moved, target, normals, known, valid, K)
        weight = _weight(distance, matched, moved[:, 2:], max(FIRST * SHRINK**i, LAST))
        T = compose(matrix_from(_step(moved, normal, distance, weight)), T)
        moved = move(T, points)
    normal, distance, matched = _matched(moved, target, normals, known, valid, K)
    return T, normal * distance, matched


def surface(cloud: Tensor) -> tuple[Tensor, Tensor]:
    """Unit normals (B, 3, H, W) of a cloud in image order, and where they can be trusted, (B, 1, H, W) 0 or 1."""
    padded = F.pad(cloud, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    normal = torch.linalg.cross(across, down, dim=1)
    length = normal.norm(dim=1, keepdim=True)
    inverse_z = 1 / padded[:, 2:]
    bend = [  # second differences of inverse depth: 0 on a plane, large at an edge
        (inverse_z[:, :, 1:-1, 2:] + inverse_z[:, :, 1:-1, :-2] - 2 * inverse_z[:, :, 1:-1, 1:-1]).abs(),
        (inverse_z[:, :, 2:, 1:-1] + inverse_z[:, :, :-2, 1:-1] - 2 * inverse_z[:, :, 1:-1, 1:-1]).abs(),
    ]
    flat = torch.maximum(*bend) * cloud[:, 2:] < JUMP
    known = (length > 0) & torch.isfinite(length) & flat
    return torch.where(known, normal / length, 0.0), known.to(cloud.dtype)


def _matched(
    points: Tensor, target: Tensor, normals: Tensor, known: Tensor, valid: Tensor, K: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Normal of the plane that each point is matched with, signed distance to it, and where there is one."""
    height, width = target.shape[2:]
    x, y = project(points, K).round().split(1, 1)
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height) & valid
    index = torch.where(seen, y * width + x, 0.0).long().flatten(2)

    def at(values: Tensor) -> Tensor:
        return (
            values.flatten(2).gather(2, index.expand(-1, values.shape[1], -1)).unflatten(2, (height, width))
        )

    matched = seen * at(known)
    normal = at(normals)
    return normal, matched * (normal * (at(target) - points)).sum(1, keepdim=True), matched


def _weight(distance: Tensor, matched: Tensor, z: Tensor, bound: float) -> Tensor:
    """Tukey's weight of every match, by its distance relative to z: none from `bound` on, or 7 medians if more."""
    relative = distance.abs() / z.abs().clamp(min=1e-3)
    median = torch.where(matched > 0, relative, torch.nan).flatten(1).nanmedian(1).values.nan_to_num(1.0)
    bounds = (7 * median).clamp(min=bound)[:, None, None, None]
    return matched * (1 - (relative / bounds).square()).clamp(min=0).square() / z.abs().clamp(min=1e-3)


def _step(points: Tensor, normal: Tensor, distance: Tensor, weight: Tensor) -> Tensor:
    """The small motion (B, 6) that brings the points closest to their planes, by Gauss-Newton."""
    J = torch.cat([normal, torch.linalg.cross(points, normal, dim=1)], 1).flatten(2).double()
    weighted = J * weight.flatten(2)
    A = weighted @ J.transpose(1, 2)
    b = weighted @ distance.flatten(2).double().transpose(1, 2)
    damping = 1e-9 * A.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] + 1e-12
    step = torch.linalg.solve(A + damping * torch.eye(6, device=A.device), b)[:, :, 0].to(points.dtype)
    z = points[:, 2].abs().mean((1, 2))[:, None]
    bound = LARGEST * torch.cat([z.expand(-1, 3), torch.ones_like(z).expand(-1, 3)], 1)
    return torch.maximum(torch.minimum(step, bound), -bound)  # clouds that do not fit may ask for anything


class _Alignment(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vector: Tensor, moved: Tensor, target: Tensor, K: Tensor, iterations: int) -> Any:
        T, residual, _ = align(moved, target, K, iterations)
        return vector_from(T), residual

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        of_correction, of_residual = gradients
        return -of_correction, -of_residual, None, None, None


def alignment(
    vector: Tensor, cloud: Tensor, target: Tensor, K: Tensor, iterations: int = ITERATIONS
) -> tuple[Tensor, Tensor]:
    """The correction (B, 6) of `align` after the motion `vector` (B, 6) of `cloud`, and the residuals.

    Differentiable by the rule above: minus the gradient of the correction goes to the vector, minus that of the
    residuals to the points of `cloud`; `target` gets none (it has its turn when the pair changes places).
    """
    moved = move(matrix_from(vector).detach(), cloud)
    return _Alignment.apply(vector, moved, target.detach(), K, iterations)
