"""Poses of messages: NaN, or a quaternion of zeros, as of a message that was not filled in, is no pose."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from depth_ros.geometry import pose_from

QUATERNION_TOLERANCE = 0.01
"""Maximum difference of the norm from 1, as in tf2."""


class Vector(Protocol):
    """geometry_msgs/Point or Vector3."""

    x: float
    y: float
    z: float


class Quaternion(Vector, Protocol):
    """geometry_msgs/Quaternion."""

    w: float


def finite_pose(translation: Vector, rotation: Quaternion) -> np.ndarray | None:
    """(4, 4) pose; None if it is not finite or its quaternion is not normalised."""
    p = np.array([translation.x, translation.y, translation.z])
    q = np.array([rotation.x, rotation.y, rotation.z, rotation.w])
    if not (np.isfinite(p).all() and abs(np.linalg.norm(q) - 1) <= QUATERNION_TOLERANCE):
        return None
    return pose_from(p, q)
