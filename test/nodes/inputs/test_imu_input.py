"""IMU input: rotation and accelerations between two stamps."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rclpy.lifecycle import LifecycleState
from sensor_msgs.msg import Imu

from depth_ros.geometry import matrix_from_quaternion
from depth_ros.messages.fill import fill_header
from depth_ros.nodes.inputs.imu import ImuInput, integrate_rotation

STATE = LifecycleState("", 0)


def test_angular_velocities_are_integrated_between_two_stamps():
    """A velocity that grows by 0.5 rad/s^2 about z, over 0.3 s that begin and end between two samples."""
    samples = [(i * 7_000_000, np.array([0.0, 0.0, 0.5 * i * 0.007])) for i in range(100)]
    R = integrate_rotation(samples, 100_000_000, 400_000_000)
    yaw = 0.25 * (0.4**2 - 0.1**2)
    expected = matrix_from_quaternion(np.array([0, 0, np.sin(yaw / 2), np.cos(yaw / 2)]))
    assert pytest.approx(expected, abs=1e-9) == R
    assert integrate_rotation(samples, -1, 400_000_000) is None
    assert integrate_rotation(samples, 0, 900_000_000) is None


def imu_message(stamp: int, yaw_rate: float) -> Imu:
    message = Imu()
    fill_header(message.header, stamp, "imu_link")
    message.angular_velocity.z, message.linear_acceleration.z = yaw_rate, 9.81
    return message


def test_one_callback_receives_all_messages_that_wait(host):
    """100 samples at 400 Hz, published while the executor is busy, are there after one turn of the executor."""
    part = ImuInput(host.node, host.warnings.append)
    publisher = host.node.create_publisher(Imu, "imu", 200)
    part.on_activate(STATE)
    host.connect(publisher)
    for i in range(100):
        publisher.publish(imu_message(1_000_000_000 + i * 2_500_000, 0.4))
    time.sleep(0.5)
    host.spin_until(lambda: part.frame_id)
    R = part.rotation(1_000_000_000, 1_247_500_000)
    assert R is not None and np.arctan2(R[1, 0], R[0, 0]) == pytest.approx(0.4 * 0.2475)
    stamps, accelerations = part.accelerations(1_101_000_000)
    assert (stamps[0], stamps[-1]) == (1_100_000_000, 1_247_500_000)
    assert accelerations.shape == (len(stamps), 3) and np.all(accelerations == [0, 0, 9.81])


def test_samples_are_cleared_when_time_goes_back(host):
    part = ImuInput(host.node, host.warnings.append)
    publisher = host.node.create_publisher(Imu, "imu", 200)
    part.on_activate(STATE)
    host.connect(publisher)
    for stamp in (5_000_000_000, 5_010_000_000, 1_000_000_000):
        publisher.publish(imu_message(stamp, 0.1))
    host.spin_until(lambda: part.accelerations(0)[0].tolist() == [1_000_000_000])
