"""Conversion of up-to-scale odometry to metres."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.datatypes import Motion, Odometry, Pose
from depth_ros.estimators.odometry.metric_trajectory import MetricTrajectory
from depth_ros.estimators.odometry.scale import Scale
from depth_ros.geometry import se3_exp


def odometry_at(x: float, state: str = "tracking") -> Odometry:
    """Odometry in units after steps of one unit along x."""
    T = se3_exp(np.array([x, 0, 0, 0, 0, 0.0]))
    step = Motion(0, 1, se3_exp(np.array([1.0, 0, 0, 0, 0, 0])), 1e-4 * np.eye(6))
    return Odometry(0, state, Pose(0, T, 1e-4 * x * np.eye(6)), step if state == "tracking" else None)


def test_a_step_and_its_covariance_are_scaled():
    trajectory, scale = MetricTrajectory(), Scale(0.5, 0.05, "ground")
    trajectory.update(odometry_at(0, "starting"), scale)
    odometry = trajectory.update(odometry_at(1), scale)
    assert odometry.pose.T[0, 3] == pytest.approx(0.5)
    assert odometry.motion.T_old_new[0, 3] == pytest.approx(0.5)
    assert odometry.motion.covariance[0, 0] == pytest.approx(1e-4 * 0.25 + 0.05**2)
    assert odometry.motion.covariance[1, 1] == pytest.approx(1e-4 * 0.25)
    assert odometry.motion.covariance[5, 5] == pytest.approx(1e-4)


def test_a_change_of_scale_does_not_move_earlier_poses():
    """0.5 m and then 0.6 m per unit; the error of the scale is common to both steps."""
    trajectory, scale = MetricTrajectory(), Scale(0.5, 0.05, "ground")
    trajectory.update(odometry_at(0, "starting"), scale)
    trajectory.update(odometry_at(1), scale)
    odometry = trajectory.update(odometry_at(2), Scale(0.6, 0.06, "ground"))
    assert odometry.pose.T[0, 3] == pytest.approx(1.1)
    assert odometry.pose.covariance[0, 0] == pytest.approx(2e-4 * 0.36 + (0.1 * 1.1) ** 2)


def test_a_lost_frame_keeps_the_pose_and_reset_returns_to_the_origin():
    trajectory, scale = MetricTrajectory(), Scale(0.5, 0.05, "ground")
    trajectory.update(odometry_at(0, "starting"), scale)
    trajectory.update(odometry_at(1), scale)
    assert trajectory.update(odometry_at(9, "lost"), scale).pose.T[0, 3] == pytest.approx(0.5)
    trajectory.reset()
    assert pytest.approx(np.eye(4)) == trajectory.update(odometry_at(0, "starting"), scale).pose.T
