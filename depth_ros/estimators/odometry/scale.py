"""How many metres a unit of up-to-scale depth is: from the ground, from wheels, from an IMU, each with uncertainty.

A `Scale` is metres per unit, with its standard deviation. `ScaleEstimator` gathers them; depth and the way found with
it are then multiplied by its value. Logarithms are what errs alike everywhere, so they are what is averaged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Motion
from depth_ros.geometry import back_project

UP = np.array([0.0, -1.0, 0.0])
"""Of a level camera, in its optical frame."""
GRAVITY = 9.81
HYPOTHESES = 200
SEED = 0


@dataclass(frozen=True)
class Scale:
    """value: metres per unit. std: of it, in the same unit. source: ground, wheels or imu.

    common: the part of std that every measurement of the source shares, which no averaging takes away.
    """

    value: float
    std: float
    source: str
    common: float = 0.0


@dataclass(frozen=True)
class ScaleSettings:
    """How scales are found and gathered."""

    height_std: float = setting(0.02, "standard deviation of the camera's height, as a share", "", 0.0, 1.0)
    ground_tilt: float = setting(20.0, "largest angle between the ground and what is level", "deg", 1.0, 60.0)
    ground_tolerance: float = setting(
        0.03, "distance from the ground, as a share of the height, to be on it", "", 0.001, 0.2
    )
    least_ground: float = setting(0.05, "share of the image that has to be ground", "", 0.001, 1.0)
    wheels_std: float = setting(
        0.02, "standard deviation of the wheels' way, as a share of it, beside their covariance", "", 0.0, 1.0
    )
    least_way: float = setting(0.1, "shortest way of the wheels that says anything", "m", 0.001, 10.0)
    accelerometer_std: float = setting(0.05, "standard deviation of an acceleration", "m/s^2", 1e-4, 10.0)
    scale_drift: float = setting(
        0.01, "how much the scale changes from one measurement to the next, as a share", "", 0.0, 1.0
    )
    scale_gate: float = setting(
        4.0, "standard deviations beyond which a measurement of the scale is not believed", "", 1.0, 100.0
    )


def in_metres(depth: Depth, scale: Scale) -> Depth:
    """Depth in units as depth in metres. Its std stays that of a pixel: the scale's error is no pixel's own."""
    if scale.value == 1:
        return depth
    std = None if depth.std is None else depth.std * np.float32(scale.value)
    return replace(depth, depth=depth.depth * np.float32(scale.value), std=std)


def ground_scale(
    depth: Depth, height: float, up: np.ndarray = UP, settings: ScaleSettings = ScaleSettings()
) -> Scale | None:
    """From the camera's height over the ground, m; None where no ground is seen.

    The ground is the plane below the camera that most pixels lie on, found by RANSAC among those level but for
    `ground_tilt`, and fitted again to all of them. up: (3,) in the optical frame, from extrinsics or an IMU.
    """
    step = max(1, round(math.sqrt(depth.depth.size / 4000)))
    points = back_project(depth.depth, depth.camera)[::step, ::step].reshape(-1, 3).astype(float)
    count = len(points)
    points = points[np.isfinite(points[:, 2])]
    low = points[points @ up < 0]
    if len(low) < 30:
        return None
    random, level = np.random.default_rng(SEED), math.cos(math.radians(settings.ground_tilt))
    a, b, c = (low[random.integers(0, len(low), HYPOTHESES)] for _ in range(3))
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(length, 1e-12)[:, None] * np.sign(normals @ up)[:, None]
    fine = (length > 1e-12) & (normals @ up > level)
    if not fine.any():
        return None
    normals, offsets = normals[fine], -(normals[fine] * a[fine]).sum(1)
    near = np.abs(low @ normals.T + offsets) < settings.ground_tolerance * offsets
    inliers = low[near[:, near.sum(0).argmax()]]
    # a depth wrong by a share moves its point by that share of the height: n . ray * depth / offset = -1 errs evenly
    for _ in range(3):
        plane = np.linalg.lstsq(inliers, -np.ones(len(inliers)), rcond=None)[0]
        inliers = low[np.abs(low @ plane + 1) < settings.ground_tolerance]
        if len(inliers) < max(30.0, settings.least_ground * count):
            return None
    size = float(np.linalg.norm(plane))
    covariance = np.linalg.inv(inliers.T @ inliers) * float((inliers @ plane + 1).var())
    spread = math.sqrt(max(float(plane @ covariance @ plane), 0.0)) / size**2  # share of the offset
    value = height * size  # the offset is 1 / size
    common = value * settings.height_std
    return Scale(
        value, math.hypot(common, value * spread, value * settings.ground_tolerance / 4), "ground", common
    )


def wheel_scale(moved: Motion, rolled: Motion, settings: ScaleSettings = ScaleSettings()) -> Scale | None:
    """From the motion of the camera that the wheels say, `rolled`, m; None where it is too short.

    moved: the motion that was seen over the same time, in units. What the camera moves because it sits beside the
    turning point of the base is part of the way compared.
    """
    truly, seen = rolled.T_old_new[:3, 3], moved.T_old_new[:3, 3]
    way, length = float(np.linalg.norm(truly)), float(np.linalg.norm(seen))
    if way < settings.least_way or length < 1e-9 or truly @ seen < 0.8 * way * length:
        return None
    value, common = way / length, settings.wheels_std * way / length
    shares = [_share(each) for each in (moved, rolled)]
    return Scale(value, math.hypot(common, value * shares[0], value * shares[1]), "wheels", common)


def _share(motion: Motion) -> float:
    """Standard deviation of the length of a way, as a share of it."""
    way = motion.T_old_new[:3, 3]
    return math.sqrt(max(float(way @ motion.covariance[:3, :3] @ way), 0.0)) / float(way @ way)


def inertial_scale(
    poses: np.ndarray,
    stamps: np.ndarray,
    times: np.ndarray,
    accelerations: np.ndarray,
    T_camera_imu: np.ndarray,
    settings: ScaleSettings = ScaleSettings(),
) -> Scale | None:
    """From accelerations (M, 3) m/s^2 at `times` (M,) s along poses (N, 4, 4), in units, at `stamps` (N,) s.

    What the accelerometer says, turned by the camera's rotation and summed twice, is the way less gravity and the
    speed at the start: scale, gravity and that speed follow by least squares from all poses together (Martinelli,
    IJCV 2014). None where gravity comes out wrong or motion was too even to tell, as at constant speed.
    T_camera_imu: (4, 4), m. At least five poses.
    """
    inside = (times >= stamps[0]) & (times <= stamps[-1])
    times, accelerations = times[inside], accelerations[inside]
    if len(poses) < 5 or len(times) < 2 * len(poses):
        return None
    turned = _rotations(poses, stamps, times) @ T_camera_imu[:3, :3]
    force = np.einsum("nij,nj->ni", turned, accelerations)
    gaps = np.diff(times, prepend=stamps[0])[:, None]
    speed = np.cumsum(force * gaps, axis=0)
    way = np.cumsum((speed - force * gaps / 2) * gaps, axis=0)
    t = stamps - stamps[0]
    felt = np.column_stack([np.interp(stamps, times, way[:, axis]) for axis in range(3)])
    lever = np.einsum("nij,j->ni", poses[:, :3, :3], T_camera_imu[:3, 3])
    # scale (p - p0) = speed t + gravity t^2 / 2 + felt - (lever - lever0)
    eye = np.eye(3)
    seen = poses[:, :3, 3] - poses[0, :3, 3]
    rows = [np.column_stack([seen[i], -t[i] * eye, -0.5 * t[i] ** 2 * eye]) for i in range(1, len(poses))]
    A, y = np.concatenate(rows), (felt - (lever - lever[0]))[1:].ravel()
    unit = 1 / np.maximum(np.linalg.norm(A, axis=0), 1e-12)
    x = unit * np.linalg.lstsq(A * unit, y, rcond=None)[0]
    value, gravity = float(x[0]), float(np.linalg.norm(x[4:7]))
    spread = (unit[:, None] * np.linalg.pinv((A * unit).T @ (A * unit)) * unit)[0, 0]
    drifted = settings.accelerometer_std * float(t[-1]) ** 2 / math.sqrt(12)  # a bias, and noise far below it
    noise = max(float(np.std(y - A @ x)), drifted / len(poses))
    std = noise * math.sqrt(max(float(spread), 0.0))
    if value <= 0 or abs(gravity - GRAVITY) > 0.05 * GRAVITY or std > 0.5 * value:
        return None
    return Scale(value, std, "imu")


def _rotations(poses: np.ndarray, stamps: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(M, 3, 3) rotations at times between those of the poses, each from its neighbours, made orthonormal."""
    after = np.clip(np.searchsorted(stamps, times), 1, len(stamps) - 1)
    share = ((times - stamps[after - 1]) / (stamps[after] - stamps[after - 1]))[:, None, None]
    U, _, Vt = np.linalg.svd((1 - share) * poses[after - 1, :3, :3] + share * poses[after, :3, :3])
    return U @ Vt


class ScaleEstimator:
    """Gathers scales: a Kalman filter of one logarithm. What lies beyond the gate is let alone, unless it persists."""

    PATIENCE = 5

    def __init__(self, settings: ScaleSettings = ScaleSettings()) -> None:
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget all of them."""
        self._log, self._variance, self._refused = 0.0, math.inf, 0
        self._source, self._common = "", 0.0  # of the last measurement; as a share

    @property
    def scale(self) -> Scale | None:
        """What is known so far."""
        if math.isinf(self._variance):
            return None
        value = math.exp(self._log)
        std = value * math.hypot(math.sqrt(self._variance), self._common)
        return Scale(value, std, self._source, value * self._common)

    def add(self, measured: Scale | None) -> Scale | None:
        """Take a measurement into account; returns what is known then."""
        if measured is None or not measured.value > 0:
            return self.scale
        log = math.log(measured.value)
        variance = max((measured.std**2 - measured.common**2) / measured.value**2, 1e-12)
        self._variance += self.settings.scale_drift**2
        common = measured.common / measured.value
        both = 0.0 if measured.source == self._source else common**2 + self._common**2
        off = (log - self._log) ** 2 / (self._variance + variance + both)
        if off > self.settings.scale_gate**2 and self._refused < self.PATIENCE:
            self._refused += 1
            return self.scale
        if off > self.settings.scale_gate**2:  # again and again: the world is right
            self._variance = math.inf
        gain = 1.0 if math.isinf(self._variance) else self._variance / (self._variance + variance)
        self._log += gain * (log - self._log)
        self._variance = variance if gain == 1.0 else (1 - gain) * self._variance
        self._refused, self._source = 0, measured.source
        self._common += gain * (common - self._common)
        return self.scale
