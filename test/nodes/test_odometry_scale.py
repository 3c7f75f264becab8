"""odometry_node on depth whose unit is not the metre, over DDS: the ground, wheels or an IMU say how long it is."""

from __future__ import annotations

import numpy as np
import pytest
from nav_msgs.msg import Odometry
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
"""m, of the depth that the robot gives."""
HEIGHT = float(ROOM.pose(0)[2, 3])
T_WORLD_BASE = ROOM.pose(0) @ inverse(T_BASE_CAMERA)


class ScaledClient(OdometryClient):
    """The robot of `odometry_client` with depth in units, listening to what is in metres and what is not."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        self.unit = UNIT
        self.publish_mounting_pose()
        self.subscribe("odom", "odom_up_to_scale", "odometry/status", "/tf")

    def listen_again(self) -> None:
        self.subscribe("odom", "odom_up_to_scale", "odometry/status", "/tf")

    def values(self) -> dict[str, str]:
        """Of the last status."""
        return {pair.key: pair.value for pair in self.received["odometry/status"][-1].values}


def spread(message: Odometry) -> float:
    """Standard deviation, m, of x."""
    return float(np.sqrt(message.pose.covariance[0]))


def check_way(robot: ScaledClient, first: int, places: range, source: str) -> list[Odometry]:
    """The way from place `first` through `places` is right in metres, within what is said of its scale."""
    found = robot.drive(*places)
    values = robot.values()
    assert values["scale from"] == source
    scale, std = float(values["scale"]), float(values["scale std"])
    assert scale == pytest.approx(UNIT, abs=3 * std) and std < 0.1 * UNIT
    way = inverse(ground_truth(first)) @ ground_truth(places[-1])
    done = inverse(matrix(robot.last)) @ matrix(found[-1])
    assert np.linalg.norm((done - way)[:3, 3]) < TOLERANCE + 3 * std / UNIT * np.linalg.norm(way[:3, 3])
    assert spread(found[-1]) > 0.8 * std / UNIT * matrix(found[-1])[0, 3]
    assert not {stamp_ns(m.header) for m in found} & {
        stamp_ns(m.header) for m in robot.received["odom_up_to_scale"]
    }
    return found


def test_the_ground():
    """Known in the first image: nothing is ever published in units, and TF may be sent."""
    options = f"camera_height:={HEIGHT}", "depth_scale:=up_to_scale", "publish_tf:=true"
    with node_process(command(*options)) as (_, namespace):
        robot = ScaledClient(namespace)
        robot.last = robot.wait_until_tracking()
        check_way(robot, 0, range(1, 11), "ground")
        assert not robot.received["odom_up_to_scale"]
        robot.wait_until(lambda: robot.received["/tf"])
        robot.close()


def test_wheels_and_before_them_units_that_never_get_to_tf():
    """What the wheels have not told yet is published in units; then odometry starts anew where it began, in metres."""
    options = "use_wheels:=true", "depth_scale:=up_to_scale", "publish_tf:=true"
    with node_process(command(*options)) as (_, namespace):
        robot = ScaledClient(namespace)
        wheels = robot.node.create_publisher(Odometry, "wheel_odom", 10)

        def roll(place: int) -> int:
            """What the wheels say on the way to a place, in a frame of their own, then the image there."""
            for share in (0.5, 1.0):
                message, stamp = Odometry(), robot.stamp + round(share * PERIOD)
                T = ground_truth(7) @ ground_truth(place - 1 + share)
                fill_odometry(message, Pose(stamp, T, 1e-4 * np.eye(6)), "wheels", "base_link")
                fill_twist(message.twist, np.zeros(6), 1e-4 * np.eye(6))
                wheels.publish(message)
            robot.spin(0.05)
            return robot.publish_view(place)

        robot.odom_topic = "odom_up_to_scale"
        robot.wait_until_tracking()
        units = robot.drive(1, 2, 3)[-1]
        moved = np.linalg.norm(matrix(units)[:3, 3])
        assert moved == pytest.approx(
            np.linalg.norm(ground_truth(3)[:3, 3]) / UNIT, rel=0.25
        )  # the arm is in metres
        assert (
            robot.values()["scale"] == "unknown" and not robot.received["odom"] and not robot.received["/tf"]
        )
        robot.wait_for_warning("`odom_up_to_scale` is not in metres", lambda: robot.publish_view(3))
        robot.odom_topic, place = "odom", 3
        while not robot.received["odom"] and place < 40:
            place += 1
            robot.wait_for_frame(roll(place))
            robot.spin(0.1)
        first = robot.received["odom"][0]
        assert matrix(first) == pytest.approx(np.eye(4)) and first.twist.covariance[0] == 9999
        robot.last = first
        robot.listen_again()
        for each in range(place + 1, place + 9):
            robot.wait_for_frame(roll(each))
        check_way(robot, place, range(place + 9, place + 11), "wheels")
        robot.wait_until(lambda: robot.received["/tf"])
        robot.close()


def test_an_imu():
    """Known as soon as the robot was shaken for two seconds."""
    with node_process(command("use_imu:=true", "depth_scale:=up_to_scale")) as (_, namespace):
        robot = ScaledClient(namespace)
        imu = robot.node.create_publisher(Imu, "imu", 500)
        begin = robot.stamp

        def place(t: float) -> float:
            """Back and forth along the arc."""
            return 3 - 3 * np.cos(5 * t)

        def at(t: float) -> np.ndarray:
            return T_WORLD_BASE @ ground_truth(place(t))

        def shake() -> int:
            """One frame later, with what an IMU in the axes of base_link felt on the way, in g's direction down."""
            h = 1e-3
            for stamp in range(robot.stamp, robot.stamp + PERIOD + 1, PERIOD // 20):
                t = 1e-9 * (stamp - begin)
                T, before, after = at(t), at(t - h), at(t + h)
                force = (after + before - 2 * T)[:3, 3] / h**2 + [0, 0, 9.81]
                turn = (before[:3, :3].T @ after[:3, :3] - after[:3, :3].T @ before[:3, :3]) / (4 * h)
                sample = Imu()
                fill_header(sample.header, stamp, "base_link")
                felt, rate = sample.linear_acceleration, sample.angular_velocity
                felt.x, felt.y, felt.z = map(float, T[:3, :3].T @ force)
                rate.x, rate.y, rate.z = float(turn[2, 1]), float(turn[0, 2]), float(turn[1, 0])
                imu.publish(sample)
            robot.spin(0.05)
            return robot.publish_view(place(1e-9 * (robot.stamp + PERIOD - begin)))

        robot.wait_until(lambda: robot.received["odometry/status"], shake)
        for _ in range(60):
            robot.wait_for_frame(shake())
        values = robot.values()
        assert values["scale from"] == "imu"
        scale, std = float(values["scale"]), float(values["scale std"])
        assert scale == pytest.approx(UNIT, abs=3 * std) and std < 0.1 * UNIT
        assert robot.received["odom"] and robot.received["odom_up_to_scale"]
        robot.close()
