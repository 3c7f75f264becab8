"""Metric-scale sources for up-to-scale odometry: camera height, wheel odometry and IMU, each with its uncertainty."""

from __future__ import annotations

import math

import numpy as np

from depth_ros.datatypes import Depth, Motion
from depth_ros.estimators.odometry.scale import Scale, ScaleSettings
from depth_ros.geometry import back_project

DEFAULT_SETTINGS = ScaleSettings()
UP = np.array([0.0, -1.0, 0.0])
"""Upward direction in the optical frame of a level camera."""
GRAVITY = 9.81
"""m/s^2"""
GROUND_POINTS = 4000
"""Approximate number of points among which the ground is searched."""
MIN_GROUND_POINTS = 30
RANSAC_HYPOTHESES = 200
SEED = 0
MIN_DIRECTION_COSINE = 0.8
"""Minimum cosine of the angle between the translations of camera and wheel odometry."""
MAX_GRAVITY_ERROR = 0.05
"""Maximum relative error of the estimated gravity."""
MAX_INERTIAL_STD = 0.5
"""Maximum relative standard deviation of a scale from the IMU."""


def ground_scale(
    depth: Depth, height: float, up: np.ndarray = UP, settings: ScaleSettings = DEFAULT_SETTINGS
) -> Scale | None:
    """Scale from the camera's height above the ground, m; None if no ground is visible. up: as in `ground_plane`."""
    found = ground_plane(depth, up, settings)
    if found is None:
        return None
    plane, inliers = found
    norm = float(np.linalg.norm(plane))
    covariance = np.linalg.inv(inliers.T @ inliers) * float((inliers @ plane + 1).var())
    relative_std = math.sqrt(max(float(plane @ covariance @ plane), 0.0)) / norm**2
    value = height * norm  # the plane's offset is 1 / norm
    systematic = value * settings.camera_height_std
    std = math.hypot(systematic, value * relative_std, value * settings.ground_tolerance / 4)
    return Scale(value, std, "ground", systematic)


def ground_plane(
    depth: Depth, up: np.ndarray = UP, settings: ScaleSettings = DEFAULT_SETTINGS
) -> tuple[np.ndarray, np.ndarray] | None:
    """The ground as normal / offset (3,), upwards, so that points on it have plane . X = -1, and its inliers (N, 3).

    It is the plane below the camera with most inliers, found by RANSAC among planes within `max_ground_tilt` of the
    horizontal, then refitted; None if no ground is visible. up: (3,) upward direction in the optical frame, from
    extrinsics or an IMU.
    """
    step = max(1, round(math.sqrt(depth.depth.size / GROUND_POINTS)))
    points = back_project(depth.depth, depth.camera)[::step, ::step].reshape(-1, 3).astype(float)
    count = len(points)
    points = points[np.isfinite(points[:, 2])]
    below = points[points @ up < 0]
    if len(below) < MIN_GROUND_POINTS:
        return None
    inliers = _ground_inliers(below, up, settings)
    # A relative depth error displaces a point by that fraction of the height: the residual n . point / offset + 1 has
    # the same standard deviation everywhere.
    min_inliers = max(float(MIN_GROUND_POINTS), settings.min_ground_fraction * count)
    for _ in range(3):
        if not len(inliers):
            return None
        plane = np.linalg.lstsq(inliers, -np.ones(len(inliers)), rcond=None)[0]  # normal / offset
        inliers = below[np.abs(below @ plane + 1) < settings.ground_tolerance]
        if len(inliers) < min_inliers:
            return None
    return plane, inliers


def _ground_inliers(points: np.ndarray, up: np.ndarray, settings: ScaleSettings) -> np.ndarray:
    """(M, 3) of the points (N, 3) that lie on the best of random planes; none if all planes are too steep."""
    random, min_cosine = np.random.default_rng(SEED), math.cos(math.radians(settings.max_ground_tilt))
    a, b, c = (points[random.integers(0, len(points), RANSAC_HYPOTHESES)] for _ in range(3))
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(length, 1e-12)[:, None] * np.sign(normals @ up)[:, None]
    level = (length > 1e-12) & (normals @ up > min_cosine)
    if not level.any():
        return points[:0]
    normals, offsets = normals[level], -(normals[level] * a[level]).sum(1)
    near = np.abs(points @ normals.T + offsets) < settings.ground_tolerance * offsets
    return points[near[:, near.sum(0).argmax()]]


def wheel_scale(visual: Motion, wheels: Motion, settings: ScaleSettings = DEFAULT_SETTINGS) -> Scale | None:
    """Scale from wheel odometry; None if the distance is too short or the directions disagree.

    visual: motion of the camera in units. wheels: motion of the camera over the same time, m, from wheel odometry and
    extrinsics: a camera beside the base's centre of rotation also moves when the base only rotates.
    """
    t_wheels, t_visual = wheels.T_old_new[:3, 3], visual.T_old_new[:3, 3]
    distance, length = float(np.linalg.norm(t_wheels)), float(np.linalg.norm(t_visual))
    if distance < settings.min_wheel_distance or length < 1e-9:
        return None
    if t_wheels @ t_visual < MIN_DIRECTION_COSINE * distance * length:
        return None
    value, systematic = distance / length, settings.wheel_odometry_std * distance / length
    stds = [value * _relative_length_std(motion) for motion in (visual, wheels)]
    return Scale(value, math.hypot(systematic, *stds), "wheels", systematic)


def _relative_length_std(motion: Motion) -> float:
    """Standard deviation of the length of a translation, as a fraction of it."""
    t = motion.T_old_new[:3, 3]
    return math.sqrt(max(float(t @ motion.covariance[:3, :3] @ t), 0.0)) / float(t @ t)


def inertial_scale(
    poses: np.ndarray,
    stamps: np.ndarray,
    times: np.ndarray,
    accelerations: np.ndarray,
    T_camera_imu: np.ndarray,
    settings: ScaleSettings = DEFAULT_SETTINGS,
) -> Scale | None:
    """Scale from accelerations (M, 3), m/s^2, at `times` (M,), s, along poses (N, 4, 4), in units, at `stamps` (N,), s.

    Accelerations, rotated by the camera's rotation and integrated twice, give the translation without the parts of
    gravity and initial velocity. Scale, gravity and initial velocity are the least-squares solution over all poses
    (Martinelli, IJCV 2014). None if the estimated gravity is wrong or the scale is not observable, as at constant
    velocity. T_camera_imu: (4, 4), m. Needs at least five poses.
    """
    inside = (times >= stamps[0]) & (times <= stamps[-1])
    times, accelerations = times[inside], accelerations[inside]
    if len(poses) < 5 or len(times) < 2 * len(poses):
        return None
    t = stamps - stamps[0]
    rotations = _interpolate_rotations(poses, stamps, times) @ T_camera_imu[:3, :3]
    integrated = _integrate_twice(np.einsum("nij,nj->ni", rotations, accelerations), times, stamps)
    lever_arm = np.einsum("nij,j->ni", poses[:, :3, :3], T_camera_imu[:3, 3])
    # scale (p - p0) = velocity t + gravity t^2 / 2 + integrated - (lever_arm - lever_arm0)
    eye = np.eye(3)
    visual = poses[:, :3, 3] - poses[0, :3, 3]
    rows = [np.column_stack([visual[i], -t[i] * eye, -0.5 * t[i] ** 2 * eye]) for i in range(1, len(poses))]
    A, y = np.concatenate(rows), (integrated - (lever_arm - lever_arm[0]))[1:].ravel()
    unit = 1 / np.maximum(np.linalg.norm(A, axis=0), 1e-12)
    x = unit * np.linalg.lstsq(A * unit, y, rcond=None)[0]
    value, gravity = float(x[0]), float(np.linalg.norm(x[4:7]))
    variance_factor = (unit[:, None] * np.linalg.pinv((A * unit).T @ (A * unit)) * unit)[0, 0]
    # a constant bias of the accelerometer; its noise averages to far less
    drift = settings.accelerometer_std * float(t[-1]) ** 2 / math.sqrt(12)
    noise = max(float(np.std(y - A @ x)), drift / len(poses))
    std = noise * math.sqrt(max(float(variance_factor), 0.0))
    if value <= 0 or abs(gravity - GRAVITY) > MAX_GRAVITY_ERROR * GRAVITY or std > MAX_INERTIAL_STD * value:
        return None
    return Scale(value, std, "imu")


def _integrate_twice(accelerations: np.ndarray, times: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """(N, 3) integral of the integral of accelerations (M, 3) at `times` (M,), interpolated at `stamps` (N,)."""
    gaps = np.diff(times, prepend=stamps[0])[:, None]
    velocity = np.cumsum(accelerations * gaps, axis=0)
    position = np.cumsum((velocity - accelerations * gaps / 2) * gaps, axis=0)
    return np.column_stack([np.interp(stamps, times, position[:, axis]) for axis in range(3)])


def _interpolate_rotations(poses: np.ndarray, stamps: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(M, 3, 3) rotations of poses (N, 4, 4) at `times` (M,), interpolated linearly and orthonormalised."""
    after = np.clip(np.searchsorted(stamps, times), 1, len(stamps) - 1)
    fraction = ((times - stamps[after - 1]) / (stamps[after] - stamps[after - 1]))[:, None, None]
    U, _, Vt = np.linalg.svd((1 - fraction) * poses[after - 1, :3, :3] + fraction * poses[after, :3, :3])
    return U @ Vt
