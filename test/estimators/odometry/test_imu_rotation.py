"""Rotation from angular velocities."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.estimators.odometry.imu_rotation import integrate_rotation
from depth_ros.geometry import matrix_from_quaternion


def test_angular_velocities_are_integrated_between_two_stamps():
    """A velocity that grows by 0.5 rad/s^2 about z, over 0.3 s that begin and end between two samples."""
    stamps = 7_000_000 * np.arange(100)
    velocities = np.zeros((100, 3))
    velocities[:, 2] = 0.5 * 0.007 * np.arange(100)
    R = integrate_rotation(stamps, velocities, 100_000_000, 400_000_000)
    yaw = 0.25 * (0.4**2 - 0.1**2)
    expected = matrix_from_quaternion(np.array([0, 0, np.sin(yaw / 2), np.cos(yaw / 2)]))
    assert pytest.approx(expected, abs=1e-9) == R
    assert integrate_rotation(stamps, velocities, -1, 400_000_000) is None
    assert integrate_rotation(stamps, velocities, 0, 900_000_000) is None
    assert integrate_rotation(stamps[:0], velocities[:0], 0, 1) is None
