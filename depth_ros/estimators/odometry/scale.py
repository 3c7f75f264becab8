"""Metric scale of up-to-scale depth and odometry: the value with its uncertainty, its settings and its filter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Depth


@dataclass(frozen=True)
class Scale:
    """Metres per unit. std: its standard deviation. source: ground, wheels, imu, or depth for metric depth.

    systematic_std: the part of std that all measurements of the source share and that averaging does not reduce.
    """

    value: float
    std: float
    source: str
    systematic_std: float = 0.0


METRIC = Scale(1.0, 0.0, "depth")
"""Scale of metric depth."""


@dataclass(frozen=True)
class ScaleSettings:
    """Settings of the metric-scale sources and of their fusion."""

    camera_height_std: float = setting(
        0.02, "Standard deviation of camera_height, as a fraction of it.", "", 0.0, 1.0
    )
    max_ground_tilt: float = setting(
        20.0, "Maximum angle between the ground plane and the horizontal.", "deg", 1.0, 60.0
    )
    ground_tolerance: float = setting(
        0.03, "Maximum distance of a ground point from the ground plane, as a fraction of the height.", "", 0.001, 0.2
    )  # fmt: skip
    min_ground_fraction: float = setting(
        0.05, "Minimum fraction of the image that shows the ground; with less the image gives no scale.", "", 0.001, 1.0
    )  # fmt: skip
    wheel_odometry_std: float = setting(
        0.02, "Standard deviation of the distance from wheel odometry, as a fraction of it; added to its covariance.",
        "", 0.0, 1.0,
    )  # fmt: skip
    min_wheel_distance: float = setting(
        0.1, "Minimum distance from wheel odometry that gives a scale.", "m", 0.001, 10.0
    )
    accelerometer_std: float = setting(
        0.05, "Standard deviation of the accelerometer, including its bias.", "m/s^2", 1e-4, 10.0
    )
    scale_drift: float = setting(
        0.01, "Standard deviation of the change of scale between two measurements, as a fraction of it.", "", 0.0, 1.0
    )  # fmt: skip
    scale_gate: float = setting(
        4.0, "Gate of the scale filter: reject measurements farther off than this number of standard deviations.",
        "", 1.0, 100.0,
    )  # fmt: skip


def in_metres(depth: Depth, scale: Scale) -> Depth:
    """Depth in units converted to metres.

    The error of the scale is common to all pixels and is not added to `std`, which has independent errors.
    """
    if scale.value == 1:
        return depth
    std = None if depth.std is None else depth.std * np.float32(scale.value)
    return replace(depth, depth=depth.depth * np.float32(scale.value), std=std)


class ScaleEstimator:
    """Kalman filter of the logarithm of the scale, since errors of a scale are relative.

    Measurements outside the gate are rejected; after MAX_REJECTIONS in a row the filter is reinitialised.
    """

    MAX_REJECTIONS = 5

    def __init__(self, settings: ScaleSettings = ScaleSettings()) -> None:
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget all measurements."""
        self._log, self._variance, self._rejections = 0.0, math.inf, 0
        self._source, self._systematic = "", 0.0  # of the last measurement; relative

    @property
    def scale(self) -> Scale | None:
        """The estimate; None before the first measurement."""
        if math.isinf(self._variance):
            return None
        value = math.exp(self._log)
        std = value * math.hypot(math.sqrt(self._variance), self._systematic)
        return Scale(value, std, self._source, value * self._systematic)

    def update(self, measured: Scale | None) -> Scale | None:
        """Fuse a measurement, if there is one, and return the estimate."""
        if measured is None or not measured.value > 0:
            return self.scale
        log = math.log(measured.value)
        variance = max((measured.std**2 - measured.systematic_std**2) / measured.value**2, 1e-12)
        self._variance += self.settings.scale_drift**2
        systematic = measured.systematic_std / measured.value
        both = 0.0 if measured.source == self._source else systematic**2 + self._systematic**2
        squared_mahalanobis = (log - self._log) ** 2 / (self._variance + variance + both)
        if squared_mahalanobis > self.settings.scale_gate**2:
            if self._rejections < self.MAX_REJECTIONS:
                self._rejections += 1
                return self.scale
            self._variance = math.inf
        gain = 1.0 if math.isinf(self._variance) else self._variance / (self._variance + variance)
        self._log += gain * (log - self._log)
        self._variance = variance if gain == 1.0 else (1 - gain) * self._variance
        self._rejections, self._source = 0, measured.source
        self._systematic += gain * (systematic - self._systematic)
        return self.scale
