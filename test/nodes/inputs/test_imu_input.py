"""IMU input: rotation and accelerations between two stamps."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rclpy.lifecycle import LifecycleState
from sensor_msgs.msg import Imu

from depth_ros.messages.fill import fill_header
from depth_ros.nodes.inputs.imu import ImuInput

STATE = LifecycleState("", 0)


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
