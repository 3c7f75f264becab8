"""Alignment of a new frame: coarse to fine with the newest key frame, finally with all key frames jointly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from depth_ros.estimators.odometry.key_frames import KeyFrame, PreparedFrame
from depth_ros.estimators.odometry.patches import match_patches
from depth_ros.estimators.odometry.pose_solver import Solution, rescale_covariances, solve
from depth_ros.estimators.odometry.reprojection import Correspondences, concatenate, ray_velocity
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.estimators.odometry.systematic_errors import Gaussian, SystematicErrors
from depth_ros.geometry import inverse

MAX_SQUARED_MAHALANOBIS = 16.0
"""Inlier threshold of the squared Mahalanobis distance of a patch: chi squared, 3 degrees of freedom, 99.9 %."""
ERROR_ITERATIONS = 3
"""Iterations of the estimation of systematic errors, which starts at the motion already found."""
CELLS = 4
"""Number of image cells per axis; errors of the patches in one cell may be correlated."""
LEVEL_SCHEDULE = (3, 3, 2, 2, 1, 1, 0)
"""Pyramid levels of the successive alignments."""


@dataclass(frozen=True)
class ErrorModel:
    """Prior of the systematic errors of a frame, and how they are applied.

    bias_deadband: 1/m; a bias up to this size is not corrected, a larger one is reduced by it.
    velocity: from T_new_key (4, 4) to the velocity (3, 4) of points in the new frame, see `ray_velocity`.
    """

    errors: SystematicErrors
    bias_deadband: float
    velocity: Callable[[np.ndarray], np.ndarray]

    def applied(self, T_new_key: np.ndarray) -> SystematicErrors:
        """The errors as fixed corrections for a motion of about T_new_key (4, 4)."""
        bias = self.errors.bias.mean
        corrected = float(np.sign(bias)) * max(abs(bias) - self.bias_deadband, 0.0)
        readout_time = self.errors.readout_time.exact()
        return SystematicErrors(Gaussian(corrected), readout_time, self.velocity(T_new_key))


@dataclass(frozen=True)
class Alignment:
    """An aligned frame.

    solution: motion from the key frame to the frame. inliers: number of patches of `key_frame` that agree with it.
    inlier_ratio: their ratio to the patches in view. errors: posterior of the systematic errors.
    """

    solution: Solution
    key_frame: KeyFrame
    inliers: int
    inlier_ratio: float
    errors: SystematicErrors


def align(
    key_frames: list[KeyFrame],
    frame: PreparedFrame,
    T_new_key: np.ndarray,
    settings: OdometrySettings,
    model: ErrorModel,
) -> Alignment | None:
    """Align a frame with key frames, newest last; None if too few patches are matched.

    T_new_key: (4, 4) predicted motion from the newest key frame to the frame.
    """
    newest, T, K = key_frames[-1], T_new_key, frame.K[0]
    min_inliers = settings.min_inliers
    if len(newest.pixels) < min_inliers:
        return None
    applied = model.applied(T)
    for level in LEVEL_SCHEDULE:  # without the bias: patches are warped by uncorrected inverse depths
        points, _ = _Matcher(frame, settings, applied, level).match(newest, T)
        if len(points) < min_inliers:
            return None
        T = solve(points, frame.K[level], T, errors=replace(applied, bias=Gaussian())).T
        applied = replace(applied, velocity=model.velocity(T))
    matcher = _Matcher(frame, settings, applied)
    own, in_view = matcher.match(newest, T)
    if len(own) < min_inliers:
        return None
    others = [
        matcher.match(key_frame, T, inverse(newest.T) @ key_frame.T)[0]
        for key_frame in key_frames[:-1]
        if len(key_frame.pixels)
    ]
    points = rescale_covariances(concatenate([own, *others]), K, T, applied)
    solution = solve(points, K, T, 1.0, applied, image_cells(points.pixels, frame.grey.shape))
    errors = model.errors
    if errors.bias.variance > 0 or errors.readout_time.variance > 0:
        # from the newest key frame alone: the poses of the others depend on the errors assumed so far
        prior = replace(errors, velocity=model.velocity(solution.T))
        points = rescale_covariances(own, K, T, applied)
        found = solve(points, K, solution.T, 1.0, prior, iterations=ERROR_ITERATIONS)
        errors = replace(errors, bias=found.bias, readout_time=found.readout_time)
    is_inlier = (solution.squared_mahalanobis < MAX_SQUARED_MAHALANOBIS) & (
        solution.reprojection_error < settings.max_reprojection_error
    )
    inliers = int(is_inlier[: len(own)].sum())
    return Alignment(solution, newest, inliers, inliers / max(in_view, min_inliers), errors)


@dataclass(frozen=True)
class _Matcher:
    """Matches the patches of key frames in a frame on one pyramid level. errors: fixed corrections."""

    frame: PreparedFrame
    settings: OdometrySettings
    errors: SystematicErrors
    level: int = 0

    def match(
        self, key_frame: KeyFrame, T_new_newest: np.ndarray, T_newest_key: np.ndarray | None = None
    ) -> tuple[Correspondences, int]:
        """Matched points of a key frame, and how many of its patches are in view.

        T_new_newest: (4, 4) predicted motion from the newest key frame to the frame. T_newest_key: (4, 4) from
        `key_frame` to the newest one, the identity if None.
        """
        T_newest_key = np.eye(4) if T_newest_key is None else T_newest_key
        T_new_key = T_new_newest @ T_newest_key
        frame, level, errors = self.frame, self.level, self.errors
        height, step, K = frame.grey.shape[0], 2**level, frame.K[level]
        indices, patches = key_frame.indices(level), key_frame.patches[level]
        rays, rho = patches.centre_rays, key_frame.inverse_depth[indices]
        velocity = errors.velocity if key_frame.frame.velocity is None else key_frame.frame.velocity
        readout_jacobian = -row_times(key_frame.pixels[indices, 1], height) * ray_velocity(
            rays, rho, velocity
        )
        shift = np.zeros((len(rays), 2))
        if readout_time := errors.readout_time.mean:
            pixels = project_points(rays, rho, T_new_key, K)
            delay = readout_time * row_times(pixels[:, 1] * step, height)
            moved_rays = rays + readout_time * readout_jacobian
            shift = project_points(moved_rays, rho, T_new_key, K, delay, errors.velocity) - pixels
        matches = match_patches(patches, frame.levels[level], K, T_new_key, shift)
        in_view = frame.is_usable(matches.pixels * step)
        kept = in_view & (matches.correlation > self.settings.min_correlation)
        pixels = matches.pixels[kept]
        new_rho, new_variance = np.full(len(pixels), np.nan), np.ones(len(pixels))
        if level == 0:
            new_rho, new_variance = frame.inverse_depth_at(pixels)
        R, origin = T_newest_key[:3, :3], T_newest_key[:3, 3]
        points = Correspondences(
            rays[kept] @ R.T, np.broadcast_to(origin, (len(pixels), 3)), rho[kept],
            key_frame.variance[indices][kept], pixels,
            matches.covariance[kept] + self.settings.pixel_std**2 * np.eye(2), new_rho, new_variance,
            readout_jacobian[kept] @ R.T, row_times(pixels[:, 1] * step, height)[:, 0],
        )  # fmt: skip
        return points, int(in_view.sum())


def image_cells(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(N,) index of the cell, of CELLS x CELLS in an image (H, W), that contains each of the pixels (N, 2)."""
    column, row = np.clip(pixels * CELLS / [shape[1], shape[0]], 0, CELLS - 1).astype(int).T
    return row * CELLS + column


def row_times(rows: np.ndarray, height: int) -> np.ndarray:
    """(N, 1) exposure times of rows (N,) from the middle of the readout, as fractions of the readout time."""
    return np.clip((rows[:, None] + 0.5) / height - 0.5, -0.5, 0.5)


def project_points(
    rays: np.ndarray,
    inverse_depth: np.ndarray,
    T_new_key: np.ndarray,
    K: np.ndarray,
    delay: np.ndarray | None = None,
    velocity: np.ndarray | None = None,
) -> np.ndarray:
    """(N, 2) px of points after T_new_key (4, 4), then moved for `delay` s (N, 1) at `velocity` (3, 4)."""
    points = rays @ T_new_key[:3, :3].T + inverse_depth[:, None] * T_new_key[:3, 3]
    if delay is not None and velocity is not None:
        points = points + delay * ray_velocity(points, inverse_depth, velocity)
    return (points @ K.T)[:, :2] / np.maximum(points[:, 2:], 1e-3)
