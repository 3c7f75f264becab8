"""Where the camera moved, from points seen twice: robust least squares over pixels and inverse depths.

A point has a pixel and an inverse depth in a key frame, and again in the new frame. Its inverse depth in the key
frame is itself uncertain; it is marginalised, which adds that uncertainty to the three residuals along the line on
which the point would move. So a near point with poor depth still says much about rotation and direction, and one
without depth in the new frame is two residuals with the same formula.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from depth_ros.geometry import inverse, orthonormal

NU = 5.0
"""Degrees of freedom of the residuals' distribution: fewer, heavier tails (Kerl et al., ICRA 2013)."""
LEAST = 0.25
"""Of the factor by which variances of inverse depths may be too large."""
MEDIAN_1, MEDIAN_2 = 0.455, 1.386
"""Medians of chi squared with one and two degrees of freedom."""
FIRST_WIDTH = 16.0
"""By how much deviations are taken for larger in the first step; halved every step."""


@dataclass(frozen=True)
class Points:
    """N points seen in key frames and in a new frame.

    rays: (N, 3) from `origins` (N, 3), the places of the key frames' cameras, both in one key frame's axes; of length
    such that the depth is 1. inverse_depth, variance: (N,) along them, 1/m. pixels: (N, 2) in the new frame, with
    covariance (N, 2, 2). new_inverse_depth, new_variance: (N,) there, NaN where unknown.
    """

    rays: np.ndarray
    origins: np.ndarray
    inverse_depth: np.ndarray
    variance: np.ndarray
    pixels: np.ndarray
    covariance: np.ndarray
    new_inverse_depth: np.ndarray
    new_variance: np.ndarray

    def __len__(self) -> int:
        return len(self.rays)


@dataclass(frozen=True)
class Bias:
    """What 1 / depth is off by as a whole, 1/m, to be added to it: mean and variance; 0 variance: exactly that."""

    mean: float = 0.0
    variance: float = 0.0


@dataclass(frozen=True)
class Solution:
    """T: (4, 4) from the key frame to the new one. covariance: (6, 6) of T perturbed on the left by (translation,
    rotation). distance2: (N,) squared Mahalanobis distances of the residuals, and distance: (N,) px in the image."""

    T: np.ndarray
    covariance: np.ndarray
    distance2: np.ndarray
    distance: np.ndarray
    bias: Bias


def exp(twist: np.ndarray) -> np.ndarray:
    """(4, 4) of a small motion (translation, rotation vector): rotation exact, translation as it is."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(twist[3:])[0], twist[:3]
    return T


def solve(
    points: Points,
    K: np.ndarray,
    T: np.ndarray,
    width: float = FIRST_WIDTH,
    bias: Bias = Bias(),
    iterations: int = 12,
) -> Solution:
    """Gauss-Newton from T (4, 4) with the weights of Student's t.

    The first steps take all deviations for larger than they are, by `width`, which lets them see over wrong points.
    bias: what is known of it before. Near and far points flow alike with the depth that they seem to have only if it
    is right, so every motion tells a little about it; it is sought together with the motion.
    """
    shift = bias.mean
    prior = 1 / bias.variance if bias.variance > 0 else 1e12
    known = np.isfinite(points.new_inverse_depth)
    D = np.zeros((len(points), 3, 3))
    D[:, :2, :2] = np.linalg.inv(points.covariance)
    D[:, 2, 2] = np.where(known, 1 / points.new_variance, 0.0)
    W = _information(D, _linearised(shifted(points, shift), known, K, T)[2], points.variance)
    for _ in range(iterations):
        residual, J, along = _linearised(shifted(points, shift), known, K, T)
        J = np.concatenate([J, along[..., None]], 2)
        J[:, 2, 6] -= known  # the new depth has the same bias
        WJ = np.matmul(W, J)
        Wr = np.matmul(W, residual[..., None])[..., 0]
        distance2 = (residual * Wr).sum(1) / width**2
        weights = np.minimum(1.0, (NU + 2 + known) / (NU + distance2))
        WJ *= weights[:, None, None]
        H = J.reshape(-1, 7).T @ WJ.reshape(-1, 7)
        gradient = WJ.reshape(-1, 7).T @ residual.reshape(-1)
        H[6, 6] += prior
        gradient[6] += prior * (bias.mean - shift)
        unit = 1 / np.sqrt(np.diag(H) + 1e-12)
        step = unit * np.linalg.lstsq(H * np.outer(unit, unit), unit * gradient, rcond=1e-12)[0]
        T, shift = exp(step[:6]) @ T, shift + step[6]
        if width == 1 and np.abs(step[:6]).max() < 1e-4:
            break
        width = max(1.0, width / 2)
    distance = np.linalg.norm(residual[:, :2], axis=1)
    covariance = np.outer(unit, unit) * np.linalg.pinv(H * np.outer(unit, unit), hermitian=True)
    return Solution(orthonormal(T), covariance[:6, :6], distance2, distance, Bias(shift, covariance[6, 6]))


def shifted(points: Points, shift: float) -> Points:
    """The points with inverse depths larger by `shift`, 1/m."""
    return replace(
        points, inverse_depth=points.inverse_depth + shift, new_inverse_depth=points.new_inverse_depth + shift
    )


def together(parts: list[Points]) -> Points:
    """The points of all parts."""
    return Points(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Points))
    )


def rescaled(points: Points, K: np.ndarray, T: np.ndarray, bias: Bias = Bias()) -> Points:
    """The points with covariances as large as the residuals of T (4, 4) say.

    Pixels and inverse depths have a factor each, from medians, for outliers are many.
    """
    known = np.isfinite(points.new_inverse_depth)
    residual, _, along = _linearised(shifted(points, bias.mean), known, K, T)
    pixel, spread = residual[:, :2], along[:, :2]
    S = points.covariance + points.variance[:, None, None] * spread[:, :, None] * spread[:, None, :]
    distance2 = (pixel * np.linalg.solve(S, pixel[..., None])[..., 0]).sum(1)
    in_image = max(1.0, float(np.median(distance2)) / MEDIAN_2)
    in_depth = 1.0
    if known.any():
        S = points.new_variance + points.variance * along[:, 2] ** 2
        in_depth = max(LEAST, float(np.median((residual[:, 2] ** 2 / S)[known])) / MEDIAN_1)
    return replace(
        points, covariance=points.covariance * in_image, variance=points.variance * in_depth,
        new_variance=points.new_variance * in_depth,
    )  # fmt: skip


def _linearised(
    points: Points, known: np.ndarray, K: np.ndarray, T: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals (N, 3) px, px, 1/m; derivatives of the prediction by a motion (N, 3, 6), by inverse depth (N, 3)."""
    rho, t = points.inverse_depth, points.origins @ T[:3, :3].T + T[:3, 3]
    scaled = points.rays @ T[:3, :3].T + rho[:, None] * t  # the point times its inverse depth
    z = np.maximum(scaled[:, 2], 1e-3)
    x, y, q = scaled[:, 0] / z, scaled[:, 1] / z, rho / z
    fx, fy, o = K[0, 0], K[1, 1], np.zeros_like(x)
    u, v = points.pixels.T
    closer = np.where(known, points.new_inverse_depth - q, 0.0)
    residual = np.array([u - fx * x - K[0, 2], v - fy * y - K[1, 2], closer]).T
    J = np.array([
        [fx * q, o, -fx * x * q, -fx * x * y, fx * (1 + x * x), -fx * y],
        [o, fy * q, -fy * y * q, -fy * (1 + y * y), fy * x * y, fy * x],
        [o, o, -q * q, -q * y, q * x, o],
    ]).transpose(2, 0, 1)  # fmt: skip
    tx, ty, tz = t.T
    along = np.array([fx * (tx - x * tz) / z, fy * (ty - y * tz) / z, (1 - q * tz) / z]).T
    return residual, np.ascontiguousarray(J), along


def _information(D: np.ndarray, along: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """(N, 3, 3): inverse of inv(D) + variance along along^T (Sherman and Morrison), for D that may be singular."""
    u = np.matmul(D, along[..., None])[..., 0]
    gain = 1 / (1 / variance + (along * u).sum(1))
    return D - gain[:, None, None] * u[:, :, None] * u[:, None, :]


def older_newer(solution: Solution) -> tuple[np.ndarray, np.ndarray]:
    """T_key_new (4, 4) and its covariance (6, 6): translation and rotation errors in the axes of the key frame."""
    T = inverse(solution.T)
    # T_key_new = inv(T) exp(-e): the error of the translation is -R t_e, that of the rotation -R w_e
    A = np.zeros((6, 6))
    A[:3, :3] = A[3:, 3:] = -T[:3, :3]
    return T, A @ solution.covariance @ A.T
