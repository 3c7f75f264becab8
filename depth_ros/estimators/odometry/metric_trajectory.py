"""Odometry whose unit of length is unknown, in metres as soon as a scale is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from depth_ros.datatypes import Odometry
from depth_ros.estimators.odometry.scale import Scale
from depth_ros.geometry import inverse, orthonormal


class ScaledWay:
    """Odometry in units -> odometry in metres, frame by frame. A scale that changes bends the way from there on: what
    lies behind stays where it is."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """The estimator begins anew."""
        self._units, self._metres = np.eye(4), np.eye(4)

    def metres(self, found: Odometry, scale: Scale) -> Odometry:
        """The same in metres; the scale's own error, which the whole way shares, is part of the covariances."""
        if found.state != "lost":
            step = _times(inverse(self._units) @ found.pose.T, scale.value)
            self._units, self._metres = found.pose.T, orthonormal(self._metres @ step)
        covariance = _in_metres(found.pose.covariance, self._metres, scale)
        pose = replace(found.pose, T=self._metres.copy(), covariance=covariance)
        if found.motion is None:
            return replace(found, pose=pose)
        T = _times(found.motion.T_old_new, scale.value)
        motion = replace(found.motion, T_old_new=T, covariance=_in_metres(found.motion.covariance, T, scale))
        return replace(found, pose=pose, motion=motion)


def _times(T: np.ndarray, value: float) -> np.ndarray:
    """T (4, 4) with `value` times its translation."""
    return np.column_stack([T[:, :3], [*(value * T[:3, 3]), 1.0]])


def _in_metres(covariance: np.ndarray, T: np.ndarray, scale: Scale) -> np.ndarray:
    """(6, 6) of T (4, 4), m, from that in units: a scale wrong by a share moves its place by that share of the way."""
    unit = np.diag([scale.value] * 3 + [1.0] * 3)
    along = np.append(T[:3, 3] * scale.std / scale.value, np.zeros(3))
    return unit @ covariance @ unit + np.outer(along, along)
