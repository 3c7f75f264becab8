"""Odometry input: the poses of a base frame as motion of the camera on it."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleState
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from depth_ros.datatypes import Pose
from depth_ros.estimators.odometry.base_frame import UNKNOWN_VARIANCE
from depth_ros.geometry import T_BODY_OPTICAL, inverse, se3_exp
from depth_ros.messages.fill import fill_header, fill_odometry, fill_transform
from depth_ros.nodes.inputs.odometry import DEFAULT_COVARIANCE, OdometryInput

STATE = LifecycleState("", 0)
T_BASE_CAMERA = se3_exp(np.array([0.3, -0.1, 0.2, 0.0, 0.1, -0.3])) @ T_BODY_OPTICAL
TWIST = np.array([0.4, 0.0, 0.0, 0.0, 0.0, 0.2])
"""m/s and rad/s in the base frame."""
PERIOD = 50_000_000
"""ns between two poses."""


@pytest.fixture
def robot(host):
    """An active OdometryInput with static transform, `publish(stamp, variance)` and the poses it has received."""

    class Robot:
        poses = 0

        def received(self) -> None:
            self.poses += 1

        def publish(self, stamp: int, variance: float) -> None:
            message = Odometry()
            T = se3_exp(1e-9 * stamp * TWIST)
            fill_odometry(message, Pose(stamp, T, np.zeros((6, 6))), "odom", "base_link")
            message.twist.covariance = np.diag([variance] * 6).ravel()
            publisher.publish(message)

    robot = Robot()
    robot.input = OdometryInput(host.node, 0.1, robot.received, host.warnings.append)
    publisher = host.node.create_publisher(Odometry, "odom", 50)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = host.node.create_publisher(TFMessage, "/tf_static", latched)
    transform = TransformStamped(child_frame_id="camera")
    fill_header(transform.header, 0, "base_link")
    fill_transform(transform.transform, T_BASE_CAMERA)
    static.publish(TFMessage(transforms=[transform]))
    robot.input.on_activate(STATE)
    host.connect(publisher)
    host.spin_until(lambda: robot.input._transforms.static.parent("camera"))
    return robot


def test_motion_of_the_camera_is_interpolated_between_poses(host, robot):
    """A constant twist, from 20 ms after one pose to 30 ms after another."""
    for i in range(1, 8):
        robot.publish(i * PERIOD, 0.01)
    host.spin_until(lambda: robot.poses == 7)
    old, new = PERIOD + 20_000_000, 5 * PERIOD + 30_000_000
    motion = robot.input.motion("camera", old, new)
    expected = inverse(T_BASE_CAMERA) @ se3_exp(1e-9 * (new - old) * TWIST) @ T_BASE_CAMERA
    np.testing.assert_allclose(motion.T_old_new, expected, atol=1e-9)
    assert (motion.stamp_old, motion.stamp_new) == (old, new)
    assert motion.covariance[3, 3] == pytest.approx(0.01 * (1e-9 * (new - old)) ** 2)
    assert robot.input.motion("camera", old, 8 * PERIOD) is None and not host.warnings


def test_no_motion_across_a_gap_between_the_poses(host, robot):
    for i in (1, 2, 5, 6):
        robot.publish(i * PERIOD, 0.01)
    host.spin_until(lambda: robot.poses == 4)
    assert robot.input.motion("camera", PERIOD, 3 * PERIOD) is None
    assert robot.input.motion("camera", 2 * PERIOD, 5 * PERIOD) is not None


def test_poses_before_a_loss_of_odometry_are_forgotten(host, robot):
    robot.publish(PERIOD, 0.01)
    robot.publish(2 * PERIOD, UNKNOWN_VARIANCE)
    robot.publish(3 * PERIOD, 0.01)
    host.spin_until(lambda: robot.poses == 2)
    assert robot.input.oldest_stamp == 3 * PERIOD


def test_default_covariance_and_a_warning_without_twist_covariance(host, robot):
    for i in (1, 2):
        robot.publish(i * PERIOD, 0.0)
    host.spin_until(lambda: robot.poses == 2)
    motion = robot.input.motion("base_link", PERIOD, 2 * PERIOD)
    np.testing.assert_allclose(np.trace(motion.covariance), np.trace(DEFAULT_COVARIANCE), rtol=1e-3)
    assert "no twist covariance" in host.warnings[0]


def test_a_missing_transform_is_reported(host, robot):
    for i in (1, 2):
        robot.publish(i * PERIOD, 0.01)
    host.spin_until(lambda: robot.poses == 2)
    assert robot.input.motion("other_camera", PERIOD, 2 * PERIOD) is None
    assert host.warnings[0].startswith("no transform from 'base_link' to 'other_camera'")
