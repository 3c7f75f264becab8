"""Where the camera moved, from points seen twice: robust least squares over pixels and inverse depths.

A point has a pixel and an inverse depth in a key frame, and again in the new frame. Its inverse depth in the key
frame is itself uncertain; it is marginalised, which adds that uncertainty to the three residuals along the line on
which the point would move. So a near point with poor depth still says much about rotation and direction, and one
without depth in the new frame is two residuals with the same formula.

Most cameras read an image row by row. A point that a moving camera sees low in the image was seen later than one at
the top, and stands where the motion had brought it by then: a row's time from the middle of the readout, times the
velocity, in the key frame and in the new one. Where both frames move alike this hardly matters; where the camera turns
about, it is many pixels, which look much like a translation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import cv2
import numpy as np

from depth_ros.geometry import inverse, orthonormal

NU = 5.0
"""Degrees of freedom of the residuals' distribution: fewer, heavier tails (Kerl et al., ICRA 2013)."""
LEAST = 0.25
"""Of the factor by which variances of inverse depths may be too large."""
MEDIAN_1, MEDIAN_2 = 0.455, 1.386
"""Medians of chi squared with one and two degrees of freedom."""
EXACT = 1e12
"""Information of what is not to change."""
FIRST_WIDTH = 16.0
"""By how much deviations are taken for larger in the first step; halved every step."""


@dataclass(frozen=True)
class Points:
    """N points seen in key frames and in a new frame.

    rays: (N, 3) from `origins` (N, 3), the places of the key frames' cameras, both in one key frame's axes; of length
    such that the depth is 1. inverse_depth, variance: (N,) along them, 1/m. pixels: (N, 2) in the new frame, with
    covariance (N, 2, 2). new_inverse_depth, new_variance: (N,) there, NaN where unknown.
    swept: (N, 3) by how much the rays change if the key frame took a second to read. row: (N,) when the new frame's row
    is read, from -0.5 of the readout, the first, to 0.5.
    """

    rays: np.ndarray
    origins: np.ndarray
    inverse_depth: np.ndarray
    variance: np.ndarray
    pixels: np.ndarray
    covariance: np.ndarray
    new_inverse_depth: np.ndarray
    new_variance: np.ndarray
    swept: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.rays)


@dataclass(frozen=True)
class Known:
    """What is known of a number: mean and variance; 0 variance: exactly that."""

    mean: float = 0.0
    variance: float = 0.0

    @property
    def information(self) -> float:
        return 1 / self.variance if self.variance > 0 else EXACT

    def told(self, after: Known, least: float) -> Known:
        """What is known once a measurement has led from this to `after`, if its own standard deviation is at least
        `least`, whatever it says of itself."""
        told = after.information - self.information
        if self.variance == 0 or told <= 0:
            return self
        said = (after.information * after.mean - self.information * self.mean) / told
        trusted = 1 / (1 / told + least**2)
        information = self.information + trusted
        return Known((self.information * self.mean + trusted * said) / information, 1 / information)

    def exact(self) -> Known:
        """The mean, as if it were sure."""
        return Known(self.mean)


@dataclass(frozen=True)
class Errors:
    """What a camera does to all points of a frame. bias: what 1 / depth is off by, 1/m, to be added to it.
    readout: time from the first row to the last, s. velocity: (3, 4) of points in the new frame, see `flow`."""

    bias: Known = Known()
    readout: Known = Known()
    velocity: np.ndarray = field(default_factory=lambda: np.zeros((3, 4)))


@dataclass(frozen=True)
class Solution:
    """T: (4, 4) from the key frame to the new one. covariance: (6, 6) of T perturbed on the left by (translation,
    rotation), if all points err independently; correlation: how many times as large it is if those of a cell err
    together. follows: (6, 2) the change of T with bias and readout. distance2: (N,) squared Mahalanobis distances of
    the residuals, distance: (N,) px in the image."""

    T: np.ndarray
    covariance: np.ndarray
    correlation: float
    follows: np.ndarray
    distance2: np.ndarray
    distance: np.ndarray
    bias: Known
    readout: Known


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
    errors: Errors = Errors(),
    cells: np.ndarray | None = None,
    iterations: int = 12,
) -> Solution:
    """Gauss-Newton from T (4, 4) with the weights of Student's t.

    The first steps take all deviations for larger than they are, by `width`, which lets them see over wrong points.
    errors: what is known of them before; they are sought together with the motion. Near and far points flow alike with
    the depth that they seem to have only if it is right, so every motion tells a little about the bias, and every
    change of velocity about the readout. cells: (N,) from 0: which points may err together.
    """
    mean = np.array([errors.bias.mean, errors.readout.mean])
    information = np.array([errors.bias.information, errors.readout.information])
    extra = mean.copy()
    known = np.isfinite(points.new_inverse_depth)
    D = np.zeros((len(points), 3, 3))
    D[:, :2, :2] = np.linalg.inv(points.covariance)
    D[:, 2, 2] = np.where(known, 1 / points.new_variance, 0.0)
    W = _information(D, _linearised(points, known, K, T, extra, errors.velocity)[2], points.variance)
    for _ in range(iterations):
        residual, J, along, late = _linearised(points, known, K, T, extra, errors.velocity)
        J = np.concatenate([J, along[..., None], late[..., None]], 2)
        J[:, 2, 6] -= known  # the new depth has the same bias
        WJ = np.matmul(W, J)
        Wr = np.matmul(W, residual[..., None])[..., 0]
        distance2 = (residual * Wr).sum(1) / width**2
        weights = np.minimum(1.0, (NU + 2 + known) / (NU + distance2))
        WJ *= weights[:, None, None]
        H = J.reshape(-1, 8).T @ WJ.reshape(-1, 8)
        gradient = WJ.reshape(-1, 8).T @ residual.reshape(-1)
        H[[6, 7], [6, 7]] += information
        gradient[6:] += information * (mean - extra)
        unit = 1 / np.sqrt(np.diag(H) + 1e-12)
        step = unit * np.linalg.lstsq(H * np.outer(unit, unit), unit * gradient, rcond=1e-12)[0]
        T, extra = exp(step[:6]) @ T, extra + step[6:]
        if width == 1 and np.abs(step[:6]).max() < 1e-4:
            break
        width = max(1.0, width / 2)
    distance = np.linalg.norm(residual[:, :2], axis=1)
    covariance = np.outer(unit, unit) * np.linalg.pinv(H * np.outer(unit, unit), hermitian=True)
    together = (
        1.0 if cells is None else _correlation(H[:6, :6], (WJ[..., :6] * residual[..., None]).sum(1), cells)
    )
    bias, readout = (Known(float(extra[i]), float(covariance[6 + i, 6 + i])) for i in (0, 1))
    block = H[:6, :6] * np.outer(unit[:6], unit[:6])
    follows = -unit[:6, None] * np.linalg.lstsq(block, unit[:6, None] * H[:6, 6:], rcond=1e-12)[0]
    return Solution(orthonormal(T), covariance[:6, :6], together, follows, distance2, distance, bias, readout)


def _correlation(H: np.ndarray, scores: np.ndarray, cells: np.ndarray) -> float:
    """How many times as large a covariance is as H (6, 6) says, if points with `scores` (N, 6) err together by cells.

    The cluster-robust "sandwich" (Liang and Zeger, Biometrika 1986), its mean over the directions.
    """
    sums = np.stack([np.bincount(cells, column) for column in scores.T], 1)
    unit = 1 / np.sqrt(np.diag(H) + 1e-12)
    scale = np.outer(unit, unit)
    return float(np.trace(np.linalg.lstsq(H * scale, sums.T @ sums * scale, rcond=1e-12)[0]) / len(H))


def together(parts: list[Points]) -> Points:
    """The points of all parts."""
    return Points(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Points))
    )


def rescaled(points: Points, K: np.ndarray, T: np.ndarray, errors: Errors = Errors()) -> Points:
    """The points with covariances as large as the residuals of T (4, 4) say.

    Pixels and inverse depths have a factor each, from medians, for outliers are many.
    """
    known = np.isfinite(points.new_inverse_depth)
    extra = np.array([errors.bias.mean, errors.readout.mean])
    residual, _, along, _ = _linearised(points, known, K, T, extra, errors.velocity)
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


def flow(rays: np.ndarray, inverse_depth: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """(N, 3) by how much rays (N, 3) of points with 1 / depth (N,) change in a second. velocity: (3, 4), the matrix of
    the cross product with the angular one, rad/s, and the linear one, m/s."""
    return rays @ velocity[:, :3].T + inverse_depth[:, None] * velocity[:, 3]


def _linearised(
    points: Points, known: np.ndarray, K: np.ndarray, T: np.ndarray, extra: np.ndarray, velocity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Residuals (N, 3) px, px, 1/m; derivatives of the prediction by a motion (N, 3, 6), by inverse depth (N, 3), by
    the readout (N, 3). extra: (2,) bias, 1/m, and readout, s."""
    bias, readout = extra
    rho, t = points.inverse_depth + bias, points.origins @ T[:3, :3].T + T[:3, 3]
    rays, swept = points.rays @ T[:3, :3].T, points.swept @ T[:3, :3].T
    scaled = rays + rho[:, None] * t  # the point times its inverse depth
    scaled = scaled + readout * swept
    moved = points.row[:, None] * flow(scaled, rho, velocity)
    scaled = scaled + readout * moved
    z = np.maximum(scaled[:, 2], 1e-3)
    x, y, q = scaled[:, 0] / z, scaled[:, 1] / z, rho / z
    fx, fy, o = K[0, 0], K[1, 1], np.zeros_like(x)
    u, v = points.pixels.T
    closer = np.where(known, points.new_inverse_depth + bias - q, 0.0)
    residual = np.array([u - fx * x - K[0, 2], v - fy * y - K[1, 2], closer]).T
    J = np.array([
        [fx * q, o, -fx * x * q, -fx * x * y, fx * (1 + x * x), -fx * y],
        [o, fy * q, -fy * y * q, -fy * (1 + y * y), fy * x * y, fy * x],
        [o, o, -q * q, -q * y, q * x, o],
    ]).transpose(2, 0, 1)  # fmt: skip
    tx, ty, tz = t.T
    along = np.array([fx * (tx - x * tz) / z, fy * (ty - y * tz) / z, (1 - q * tz) / z]).T
    ax, ay, az = (swept + moved).T
    late = np.array([fx * (ax - x * az) / z, fy * (ay - y * az) / z, -q * az / z]).T
    return residual, np.ascontiguousarray(J), along, late


def _information(D: np.ndarray, along: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """(N, 3, 3): inverse of inv(D) + variance along along^T (Sherman and Morrison), for D that may be singular."""
    u = np.matmul(D, along[..., None])[..., 0]
    gain = 1 / (1 / variance + (along * u).sum(1))
    return D - gain[:, None, None] * u[:, :, None] * u[:, None, :]


def older_newer(solution: Solution) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T_key_new (4, 4), its covariance (6, 6), and how it follows the errors of the camera (6, 2): translation and
    rotation in the axes of the key frame."""
    T = inverse(solution.T)
    # T_key_new = inv(T) exp(-e): the error of the translation is -R t_e, that of the rotation -R w_e
    A = np.zeros((6, 6))
    A[:3, :3] = A[3:, 3:] = -T[:3, :3]
    return T, A @ solution.covariance @ A.T, A @ solution.follows
