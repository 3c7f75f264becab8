"""Camera motion from point correspondences: robust least squares over pixels and inverse depths.

A point has a pixel and an inverse depth in a key frame and in the new frame. The inverse depth in the key frame is
uncertain and is marginalised: its variance is added to the three residuals along the direction in which the point
would move. Hence a near point with an inaccurate depth still constrains rotation and direction of translation, and a
point without a depth in the new frame contributes two residuals by the same formula.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_ros.estimators.odometry.reprojection import Correspondences, residuals_and_jacobians
from depth_ros.estimators.odometry.systematic_errors import NO_ERRORS, Gaussian, SystematicErrors
from depth_ros.geometry import inverse, orthonormal

STUDENT_T_DOF = 5.0
"""Degrees of freedom of the residuals' t-distribution; fewer mean heavier tails (Kerl et al., ICRA 2013)."""
MIN_DEPTH_VARIANCE_FACTOR = 0.25
"""Lower bound of the factor by which variances of inverse depths are rescaled."""
CHI2_MEDIAN_1, CHI2_MEDIAN_2 = 0.455, 1.386
"""Medians of chi squared with one and two degrees of freedom."""
INITIAL_RESIDUAL_SCALE = 16.0
"""Factor on all standard deviations in the first iteration; halved in every iteration down to 1."""
CONVERGED_STEP = 1e-4
"""Largest step, m or rad, at which the iterations stop."""


@dataclass(frozen=True)
class Solution:
    """Motion from the key frame to the new frame, and the systematic errors estimated with it.

    T: (4, 4) T_new_key. covariance: (6, 6) of T perturbed on the left by (translation, rotation), for independent
    errors of the points. inflation: factor on the covariance if the errors within an image cell are correlated.
    sensitivity: (6, 2) derivative of T with respect to bias and readout time. squared_mahalanobis: (N,) squared
    Mahalanobis distances of the residuals. reprojection_error: (N,) px.
    """

    T: np.ndarray
    covariance: np.ndarray
    inflation: float
    sensitivity: np.ndarray
    squared_mahalanobis: np.ndarray
    reprojection_error: np.ndarray
    bias: Gaussian
    readout_time: Gaussian


def retract(twist: np.ndarray) -> np.ndarray:
    """(4, 4) motion of a small step (translation, rotation vector): exact rotation, uncoupled translation."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(twist[3:])[0], twist[:3]
    return T


def solve(
    points: Correspondences,
    K: np.ndarray,
    T: np.ndarray,
    residual_scale: float = INITIAL_RESIDUAL_SCALE,
    errors: SystematicErrors = NO_ERRORS,
    cells: np.ndarray | None = None,
    iterations: int = 12,
) -> Solution:
    """Gauss-Newton iterations from T (4, 4) T_new_key, reweighted by Student's t-distribution.

    residual_scale: factor on all standard deviations in the first iteration; a large one widens the basin of
    convergence when there are outliers. errors: prior of the systematic errors, which are estimated jointly: flow of
    near and far points is consistent only with the right depths, so every motion constrains the bias a little, and
    every change of velocity the readout time. cells: (N,) indices from 0 of the groups with correlated errors.
    """
    prior, information = errors.means, errors.information
    estimate = prior.copy()
    has_depth = points.has_new_depth
    W = _residual_information(
        points, residuals_and_jacobians(points, K, T, estimate, errors.velocity).inverse_depth
    )
    for _ in range(iterations):
        linear = residuals_and_jacobians(points, K, T, estimate, errors.velocity)
        residual = linear.residuals
        J = np.concatenate(
            [linear.motion, linear.inverse_depth[..., None], linear.readout_time[..., None]], 2
        )
        J[:, 2, 6] -= has_depth  # the measured depth has the same bias
        WJ = np.matmul(W, J)
        Wr = np.matmul(W, residual[..., None])[..., 0]
        squared_mahalanobis = (residual * Wr).sum(1) / residual_scale**2
        weights = np.minimum(1.0, (STUDENT_T_DOF + 2 + has_depth) / (STUDENT_T_DOF + squared_mahalanobis))
        WJ *= weights[:, None, None]
        H = J.reshape(-1, 8).T @ WJ.reshape(-1, 8)
        gradient = WJ.reshape(-1, 8).T @ residual.reshape(-1)
        H[[6, 7], [6, 7]] += information
        gradient[6:] += information * (prior - estimate)
        unit = 1 / np.sqrt(np.diag(H) + 1e-12)  # scales H to a unit diagonal
        step = unit * np.linalg.lstsq(H * np.outer(unit, unit), unit * gradient, rcond=1e-12)[0]
        T, estimate = retract(step[:6]) @ T, estimate + step[6:]
        if residual_scale == 1 and np.abs(step[:6]).max() < CONVERGED_STEP:
            break
        residual_scale = max(1.0, residual_scale / 2)
    covariance = np.outer(unit, unit) * np.linalg.pinv(H * np.outer(unit, unit), hermitian=True)
    scores = (WJ[..., :6] * residual[..., None]).sum(1)
    block = H[:6, :6] * np.outer(unit[:6], unit[:6])
    sensitivity = -unit[:6, None] * np.linalg.lstsq(block, unit[:6, None] * H[:6, 6:], rcond=1e-12)[0]
    return Solution(
        orthonormal(T), covariance[:6, :6], 1.0 if cells is None else _inflation(H[:6, :6], scores, cells),
        sensitivity, squared_mahalanobis, np.linalg.norm(residual[:, :2], axis=1),
        Gaussian(float(estimate[0]), float(covariance[6, 6])), Gaussian(float(estimate[1]), float(covariance[7, 7])),
    )  # fmt: skip


def _inflation(H: np.ndarray, scores: np.ndarray, cells: np.ndarray) -> float:
    """Factor on the covariance inv(H), H (6, 6), if points with `scores` (N, 6) have errors correlated by cell.

    Cluster-robust "sandwich" estimator (Liang and Zeger, Biometrika 1986), averaged over the six directions.
    """
    sums = np.stack([np.bincount(cells, column) for column in scores.T], 1)
    unit = 1 / np.sqrt(np.diag(H) + 1e-12)
    scale = np.outer(unit, unit)
    return float(np.trace(np.linalg.lstsq(H * scale, sums.T @ sums * scale, rcond=1e-12)[0]) / len(H))


def rescale_covariances(
    points: Correspondences, K: np.ndarray, T: np.ndarray, errors: SystematicErrors = NO_ERRORS
) -> Correspondences:
    """The points with covariances rescaled to match the residuals of T (4, 4) T_new_key.

    Pixels and inverse depths have one factor each, from medians, which tolerate many outliers.
    """
    linear = residuals_and_jacobians(points, K, T, errors.means, errors.velocity)
    residual, along = linear.residuals, linear.inverse_depth
    pixel, along_pixel = residual[:, :2], along[:, :2]
    S = points.covariance + points.variance[:, None, None] * along_pixel[:, :, None] * along_pixel[:, None, :]
    squared_mahalanobis = (pixel * np.linalg.solve(S, pixel[..., None])[..., 0]).sum(1)
    pixel_factor = max(1.0, float(np.median(squared_mahalanobis)) / CHI2_MEDIAN_2)
    depth_factor = 1.0
    has_depth = points.has_new_depth
    if has_depth.any():
        S = points.new_variance + points.variance * along[:, 2] ** 2
        median = float(np.median((residual[:, 2] ** 2 / S)[has_depth]))
        depth_factor = max(MIN_DEPTH_VARIANCE_FACTOR, median / CHI2_MEDIAN_1)
    return replace(
        points, covariance=points.covariance * pixel_factor, variance=points.variance * depth_factor,
        new_variance=points.new_variance * depth_factor,
    )  # fmt: skip


def _residual_information(points: Correspondences, along: np.ndarray) -> np.ndarray:
    """(N, 3, 3) information of the residuals: inverse of inv(D) + variance along along^T, with the singular D, the
    information of the measurements in the new frame (Sherman and Morrison). along: (N, 3) Jacobian by inverse depth."""
    D = np.zeros((len(points), 3, 3))
    D[:, :2, :2] = np.linalg.inv(points.covariance)
    D[:, 2, 2] = np.where(points.has_new_depth, 1 / points.new_variance, 0.0)
    u = np.matmul(D, along[..., None])[..., 0]
    gain = 1 / (1 / points.variance + (along * u).sum(1))
    return D - gain[:, None, None] * u[:, :, None] * u[:, None, :]


def invert_solution(solution: Solution) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T_key_new (4, 4), its covariance (6, 6) and its sensitivity (6, 2) to the systematic errors.

    Errors are (translation, rotation) in the axes of the key frame.
    """
    T = inverse(solution.T)
    # T_key_new = inv(T) retract(-e): the translation error is -R t_e, the rotation error -R w_e
    A = np.zeros((6, 6))
    A[:3, :3] = A[3:, 3:] = -T[:3, :3]
    return T, A @ solution.covariance @ A.T, A @ solution.sensitivity
