"""Conversion of up-to-scale odometry to metres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from depth_ros.datatypes import Odometry
from depth_ros.estimators.odometry.scale import Scale
from depth_ros.geometry import inverse, orthonormal


class MetricTrajectory:
    """Odometry in units -> odometry in metres, frame by frame.

    Each step is scaled by the scale at its time, so a changing scale does not move earlier poses.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Return to the origin. The estimator has to be reset, too."""
        self._T_units, self._T_metres = np.eye(4), np.eye(4)

    def update(self, odometry: Odometry, scale: Scale) -> Odometry:
        """The odometry in metres. Its covariances include the error of the scale, which all steps share."""
        if odometry.state != "lost":
            step = _scale_translation(inverse(self._T_units) @ odometry.pose.T, scale.value)
            self._T_units, self._T_metres = odometry.pose.T, orthonormal(self._T_metres @ step)
        covariance = _metric_covariance(odometry.pose.covariance, self._T_metres, scale)
        pose = replace(odometry.pose, T=self._T_metres.copy(), covariance=covariance)
        if odometry.motion is None:
            return replace(odometry, pose=pose)
        T = _scale_translation(odometry.motion.T_old_new, scale.value)
        covariance = _metric_covariance(odometry.motion.covariance, T, scale)
        return replace(
            odometry, pose=pose, motion=replace(odometry.motion, T_old_new=T, covariance=covariance)
        )


def _scale_translation(T: np.ndarray, factor: float) -> np.ndarray:
    """T (4, 4) with its translation multiplied by `factor`."""
    return np.column_stack([T[:, :3], [*(factor * T[:3, 3]), 1.0]])


def _metric_covariance(covariance: np.ndarray, T: np.ndarray, scale: Scale) -> np.ndarray:
    """(6, 6) covariance of T (4, 4), m, from that in units: a relative error of the scale moves the position by that
    fraction of the translation."""
    unit = np.diag([scale.value] * 3 + [1.0] * 3)
    along = np.append(T[:3, 3] * scale.std / scale.value, np.zeros(3))
    return unit @ covariance @ unit + np.outer(along, along)
