"""odometry_node with up-to-scale depth, over DDS: scale from the ground, wheel odometry or an IMU."""

from __future__ import annotations

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from node_client import values_of
from odometry_client import (
    PERIOD,
    ROOM,
    T_BASE_CAMERA,
    TOLERANCE,
    OdometryClient,
    command,
    ground_truth,
    matrix,
)
from sensor_msgs.msg import Imu

from depth_ros.datatypes import Pose
from depth_ros.geometry import inverse
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_header, fill_odometry, fill_twist
from depth_ros.playback.play import node_process

UNIT = 0.4
"""m, of the depth images."""
TOPICS = ("odom", "odom_up_to_scale", "odometry/status", "/tf")
HEIGHT = float(ROOM.pose(0)[2, 3])
T_WORLD_BASE = ROOM.pose(0) @ inverse(T_BASE_CAMERA)


class ScaledClient(OdometryClient):
    """An OdometryClient with up-to-scale depth."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        self.unit = UNIT
        self.publish_mounting_pose()
        self.subscribe(*TOPICS)

    def last_values(self) -> dict[str, str]:
        return values_of(self.received["odometry/status"][-1])


def check_drive(robot: ScaledClient, first: Odometry, start: int, counts: range, source: str) -> None:
    """The path is right in metres, within the uncertainty of the scale. first: odometry after `start` steps."""
    messages = robot.drive(*counts)
    values = robot.last_values()
    assert values["scale from"] == source
    scale, std = float(values["scale"]), float(values["scale std"])
    assert scale == pytest.approx(UNIT, abs=3 * std) and std < 0.1 * UNIT
    expected = inverse(ground_truth(start)) @ ground_truth(counts[-1])
    motion = inverse(matrix(first)) @ matrix(messages[-1])
    distance = np.linalg.norm(expected[:3, 3])
    assert np.linalg.norm((motion - expected)[:3, 3]) < TOLERANCE + 3 * std / UNIT * distance
    assert np.sqrt(messages[-1].pose.covariance[0]) > 0.8 * std / UNIT * matrix(messages[-1])[0, 3]
    up_to_scale = {stamp_ns(m.header) for m in robot.received["odom_up_to_scale"]}
    assert not {stamp_ns(m.header) for m in messages} & up_to_scale


def test_scale_from_the_ground_is_known_in_the_first_image():
    """Nothing is published on odom_up_to_scale, and the transform is published."""
    options = f"camera_height:={HEIGHT}", "depth_scale:=up_to_scale", "publish_tf:=true"
    with node_process(command(*options)) as (_, namespace):
        robot = ScaledClient(namespace)
        check_drive(robot, robot.wait_until_tracking(), 0, range(1, 11), "ground")
        assert not robot.received["odom_up_to_scale"]
        robot.wait_until(lambda: robot.received["/tf"])
        robot.close()


def test_scale_from_wheel_odometry_and_before_it_odometry_in_units_that_is_never_a_transform():
    """Once the scale is known, odometry restarts from its initial pose, in metres."""
    options = "use_wheel_odometry:=true", "depth_scale:=up_to_scale", "publish_tf:=true"
    with node_process(command(*options)) as (_, namespace):
        robot = ScaledClient(namespace)
        wheels = robot.node.create_publisher(Odometry, "wheel_odom", 10)

        def step_to(count: int) -> int:
            """Publish the wheel odometry of a step, in a frame of its own, then the view after it."""
            for fraction in (0.5, 1.0):
                message, stamp = Odometry(), robot.stamp + round(fraction * PERIOD)
                T = ground_truth(7) @ ground_truth(count - 1 + fraction)
                fill_odometry(message, Pose(stamp, T, 1e-4 * np.eye(6)), "wheels", "base_link")
                fill_twist(message.twist, np.zeros(6), 1e-4 * np.eye(6))
                wheels.publish(message)
            robot.spin(0.05)
            return robot.publish_view(count)

        robot.odom_topic = "odom_up_to_scale"
        robot.wait_until_tracking()
        distance = np.linalg.norm(matrix(robot.drive(1, 2, 3)[-1])[:3, 3])
        expected = np.linalg.norm(ground_truth(3)[:3, 3]) / UNIT
        assert distance == pytest.approx(expected, rel=0.25)  # the mounting pose is in metres
        assert robot.last_values()["scale"] == "unknown"
        assert not robot.received["odom"] and not robot.received["/tf"]
        robot.wait_for_warning("odom_up_to_scale is not in metres", lambda: robot.publish_view(3))
        robot.odom_topic, count = "odom", 3
        while not robot.received["odom"] and count < 40:
            count += 1
            robot.wait_for_frame(step_to(count))
            robot.spin(0.1)
        first = robot.received["odom"][0]
        assert matrix(first) == pytest.approx(np.eye(4)) and first.twist.covariance[0] == 9999
        robot.subscribe(*TOPICS)
        for each in range(count + 1, count + 9):
            robot.wait_for_frame(step_to(each))
        check_drive(robot, first, count, range(count + 9, count + 11), "wheels")
        robot.wait_until(lambda: robot.received["/tf"])
        robot.close()


def test_scale_from_an_imu():
    """The robot drives back and forth for some seconds."""
    with node_process(command("use_imu:=true", "depth_scale:=up_to_scale")) as (_, namespace):
        robot = ScaledClient(namespace)
        imu = robot.node.create_publisher(Imu, "imu", 500)
        begin = robot.stamp

        def count(t: float) -> float:
            """Number of steps along the arc at time t, s."""
            return 3 - 3 * np.cos(5 * t)

        def pose(t: float) -> np.ndarray:
            return T_WORLD_BASE @ ground_truth(count(t))

        def step() -> int:
            """Publish the samples of an IMU in base_link until the next frame, then the view."""
            h = 1e-3
            for stamp in range(robot.stamp, robot.stamp + PERIOD + 1, PERIOD // 20):
                t = 1e-9 * (stamp - begin)
                T, before, after = pose(t), pose(t - h), pose(t + h)
                force = (after + before - 2 * T)[:3, 3] / h**2 + [0, 0, 9.81]
                rotation = (before[:3, :3].T @ after[:3, :3] - after[:3, :3].T @ before[:3, :3]) / (4 * h)
                sample = Imu()
                fill_header(sample.header, stamp, "base_link")
                a, w = sample.linear_acceleration, sample.angular_velocity
                a.x, a.y, a.z = map(float, T[:3, :3].T @ force)
                w.x, w.y, w.z = float(rotation[2, 1]), float(rotation[0, 2]), float(rotation[1, 0])
                imu.publish(sample)
            robot.spin(0.05)
            return robot.publish_view(count(1e-9 * (robot.stamp + PERIOD - begin)))

        robot.wait_until(lambda: robot.received["odometry/status"], step)
        for _ in range(60):
            robot.wait_for_frame(step())
        values = robot.last_values()
        assert values["scale from"] == "imu"
        scale, std = float(values["scale"]), float(values["scale std"])
        assert scale == pytest.approx(UNIT, abs=3 * std) and std < 0.1 * UNIT
        assert robot.received["odom"] and robot.received["odom_up_to_scale"]
        robot.close()
