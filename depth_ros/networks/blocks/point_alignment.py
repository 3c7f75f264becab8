"""Point-to-point ICP between two point clouds, as in the released code of vid2depth (Mahjourian et al. 2018).

Besl and McKay 1992: each point is associated with the nearest point of the other cloud, at any distance; the rigid
motion that minimises the squared distances follows from a singular value decomposition (Kabsch 1976).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def align_to_points(
    points: Tensor, target: Tensor, K: Tensor, iterations: int = 10
) -> tuple[Tensor, Tensor, Tensor]:
    """Rigid T' (B, 4, 4) that aligns `points` with `target`, both (B, 3, H, W), residuals and matches.

    Residuals (B, 3, H, W) are the vectors from the transformed points to their nearest points, 0 for invalid points
    (NaN), where matches (B, 1, H, W) are 0. K is not used. Runs on the CPU, on which neighbours are searched.
    """
    clouds, targets = (x.detach().flatten(2).transpose(1, 2).cpu().double().numpy() for x in (points, target))
    found = [_align(cloud, other, iterations) for cloud, other in zip(clouds, targets, strict=True)]
    T = torch.from_numpy(np.stack([T for T, _ in found])).to(points)
    residual = torch.from_numpy(np.stack([residual for _, residual in found])).to(points)
    residual = residual.transpose(1, 2).reshape(points.shape)
    matched = torch.isfinite(residual).all(1, keepdim=True).to(points)
    return T, residual.nan_to_num(), matched


def _align(points: np.ndarray, target: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """T' (4, 4) and residuals (N, 3), NaN = no match, of clouds (N, 3) and (M, 3)."""
    from scipy.spatial import cKDTree

    T, residual = np.eye(4), np.full_like(points, np.nan)
    valid, known = np.isfinite(points).all(1), target[np.isfinite(target).all(1)]
    if valid.sum() < 3 or len(known) < 3:
        return T, residual
    tree, moved = cKDTree(known), points[valid]
    for _ in range(iterations):
        step = _rigid(moved, known[tree.query(moved)[1]])
        T, moved = step @ T, moved @ step[:3, :3].T + step[:3, 3]
    residual[valid] = known[tree.query(moved)[1]] - moved
    return T, residual


def _rigid(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rigid motion (4, 4) with the least squared distances of points (N, 3) from their targets (N, 3)."""
    centre, target_centre = points.mean(0), target.mean(0)
    U, _, Vt = np.linalg.svd((points - centre).T @ (target - target_centre))
    sign = np.diag([1, 1, np.sign(np.linalg.det(Vt.T @ U.T))])
    T = np.eye(4)
    T[:3, :3] = Vt.T @ sign @ U.T
    T[:3, 3] = target_centre - T[:3, :3] @ centre
    return T
