"""Where the camera moved, from points seen twice: robust least squares over pixels and inverse depths.

A point has a pixel and an inverse depth in a key frame, and again in the new frame. Its inverse depth in the key
frame is itself uncertain; it is marginalised, which adds that uncertainty to the three residuals along the line on
which the point would move. So a near point with poor depth still says much about rotation and direction, and one
without depth in the new frame is two residuals with the same formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.geometry import inverse, orthonormal

NU = 5.0
"""Degrees of freedom of the residuals' distribution: fewer, heavier tails (Kerl et al., ICRA 2013)."""
FIRST_WIDTH = 16.0
"""By how much deviations are taken for larger in the first step; halved every step."""


@dataclass(frozen=True)
class Points:
    """N points seen in a key frame and in a new frame.

    rays: (N, 3) in the key frame, z = 1. inverse_depth, variance: (N,) there, 1/m. pixels: (N, 2) in the new frame,
    with covariance (N, 2, 2). new_inverse_depth, new_variance: (N,) there, NaN where unknown.
    """

    rays: np.ndarray
    inverse_depth: np.ndarray
    variance: np.ndarray
    pixels: np.ndarray
    covariance: np.ndarray
    new_inverse_depth: np.ndarray
    new_variance: np.ndarray

    def __len__(self) -> int:
        return len(self.rays)


@dataclass(frozen=True)
class Solution:
    """T: (4, 4) from the key frame to the new one. covariance: (6, 6) of T perturbed on the left by (translation,
    rotation). distance2: (N,) squared Mahalanobis distances of the residuals; weights: (N,) in 0 to 1."""

    T: np.ndarray
    covariance: np.ndarray
    distance2: np.ndarray
    weights: np.ndarray


def exp(twist: np.ndarray) -> np.ndarray:
    """(4, 4) of a small motion (translation, rotation vector): rotation exact, translation as it is."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(twist[3:])[0], twist[:3]
    return T


def solve(
    points: Points, K: np.ndarray, T: np.ndarray, width: float = FIRST_WIDTH, iterations: int = 12
) -> Solution:
    """Gauss-Newton from T (4, 4) with the weights of Student's t.

    The first steps take all deviations for larger than they are, by `width`, which lets them see over wrong points.
    """
    known = np.isfinite(points.new_inverse_depth)
    D = np.zeros((len(points), 3, 3))
    D[:, :2, :2] = np.linalg.inv(points.covariance.astype(float))
    D[:, 2, 2] = np.where(known, 1 / points.new_variance, 0.0)
    for _ in range(iterations):
        residual, J, along = _linearised(points, known, K, T)
        W = _information(D, along, points.variance)
        distance2 = np.einsum("ni,nij,nj->n", residual, W, residual, optimize=True) / width**2
        weights = np.minimum(1.0, (NU + 2 + known) / (NU + distance2))
        JW = np.matmul(J.transpose(0, 2, 1), weights[:, None, None] * W)
        H = np.einsum("naj,njb->ab", JW, J, optimize=True)
        gradient = np.einsum("naj,nj->a", JW, residual)
        step = np.linalg.lstsq(H, gradient, rcond=1e-12)[0]
        T = exp(step) @ T
        if width == 1 and np.abs(step).max() < 1e-5:
            break
        width = max(1.0, width / 2)
    return Solution(orthonormal(T), np.linalg.pinv(H, hermitian=True), distance2, weights)


def _linearised(
    points: Points, known: np.ndarray, K: np.ndarray, T: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals (N, 3) px, px, 1/m; derivatives of the prediction by a motion (N, 3, 6), the old inverse depth (N, 3)."""
    rho, t = points.inverse_depth, T[:3, 3]
    scaled = points.rays @ T[:3, :3].T + rho[:, None] * t  # the point times its inverse depth
    z = np.maximum(scaled[:, 2], 1e-3)
    x, y, q = scaled[:, 0] / z, scaled[:, 1] / z, rho / z
    fx, fy, o = K[0, 0], K[1, 1], np.zeros_like(x)
    predicted = np.column_stack([fx * x + K[0, 2], fy * y + K[1, 2], q])
    measured = np.column_stack([points.pixels, np.where(known, points.new_inverse_depth, q)])
    J = np.stack([
        np.stack([fx * q, o, -fx * x * q, -fx * x * y, fx * (1 + x * x), -fx * y], 1),
        np.stack([o, fy * q, -fy * y * q, -fy * (1 + y * y), fy * x * y, fy * x], 1),
        np.stack([o, o, -q * q, -q * y, q * x, o], 1),
    ], 1)  # fmt: skip
    along = np.column_stack([fx * (t[0] - x * t[2]) / z, fy * (t[1] - y * t[2]) / z, (1 - q * t[2]) / z])
    return measured - predicted, J, along


def _information(D: np.ndarray, along: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """(N, 3, 3): inverse of inv(D) + variance along along^T (Sherman and Morrison), for D that may be singular."""
    u = np.einsum("nij,nj->ni", D, along)
    gain = 1 / (1 / variance + np.einsum("ni,ni->n", along, u))
    return D - gain[:, None, None] * u[:, :, None] * u[:, None, :]


def older_newer(solution: Solution) -> tuple[np.ndarray, np.ndarray]:
    """T_key_new (4, 4) and its covariance (6, 6): translation and rotation errors in the axes of the key frame."""
    T = inverse(solution.T)
    # T_key_new = inv(T) exp(-e): the error of the translation is -R t_e, that of the rotation -R w_e
    A = np.zeros((6, 6))
    A[:3, :3] = A[3:, 3:] = -T[:3, :3]
    return T, A @ solution.covariance @ A.T
