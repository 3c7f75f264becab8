"""Messages whose stamp is zero, as of a driver that does not set it: rejected and named, not a jump of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleState
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, Imu

from depth_ros.datatypes import Camera
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_camera_info, fill_header
from depth_ros.nodes.inputs.camera import CameraInput, CameraSettings
from depth_ros.nodes.inputs.imu import ImuInput
from depth_ros.nodes.inputs.labels import LabelInput
from depth_ros.nodes.inputs.odometry import OdometryInput

STATE = LifecycleState("", 0)
GOOD = (5_000_000_000, 5_010_000_000)
"""ns, stamps before and after the messages without one."""
Stamps = Callable[[], list[int]]
"""Stamps, ns, of the messages that an input has accepted."""


class Warnings(list[str]):
    """Warnings, and the number of frames rejected with them."""

    rejected = 0

    def add(self, text: str, /, *, rejected: int = 0) -> None:
        self.append(text)
        self.rejected += rejected


def camera_input(node: Node, warnings: Warnings) -> tuple[CameraInput, Stamps]:
    images: list[Image] = []
    part = CameraInput(node, CameraSettings(), images.append, warnings.add)
    info = CameraInfo()
    fill_camera_info(info, Camera.pinhole(64, 48, 50.0, 50.0, 32.0, 24.0))  # its stamp is zero, too
    part._receive_info(info)
    return part, lambda: [stamp_ns(image.header) for image in images]


def label_input(node: Node, warnings: Warnings) -> tuple[LabelInput, Stamps]:
    images: list[Image] = []
    part = LabelInput(node, images.append, warnings.add)
    return part, lambda: [stamp_ns(image.header) for image in images]


def imu_input(node: Node, warnings: Warnings) -> tuple[ImuInput, Stamps]:
    part = ImuInput(node, warnings.add)
    return part, lambda: [stamp for stamp, _ in part._accelerations]


def odometry_input(node: Node, warnings: Warnings) -> tuple[OdometryInput, Stamps]:
    part = OdometryInput(node, 1.0, lambda: None, warnings.add)
    return part, lambda: [pose.stamp for pose in part._poses]


INPUTS: dict[str, tuple[type, Callable[[Node, Warnings], tuple[Any, Stamps]], int]] = {
    "image": (Image, camera_input, 2),
    "labels": (Image, label_input, 2),
    "imu": (Imu, imu_input, 0),
    "odom": (Odometry, odometry_input, 0),
}
"""Topic: message, input, and the number of rejected frames that it has to report."""


@pytest.mark.parametrize("topic", INPUTS)
def test_messages_without_a_stamp_are_rejected_and_their_publisher_is_named(host, topic: str):
    kind, make, rejected = INPUTS[topic]
    warnings = Warnings()
    publisher = host.node.create_publisher(kind, topic, 10)
    part, stamps = make(host.node, warnings)
    part.on_activate(STATE)
    host.connect(publisher)
    for stamp in (GOOD[0], 0, -7, GOOD[1]):
        message = kind()
        fill_header(message.header, stamp, "sensor")
        if topic == "odom":
            message.pose.pose.orientation.w = 1.0
        publisher.publish(message)
        done = len(stamps()) + len(warnings) + 1  # one by one: the queue of images holds one
        host.spin_until(lambda done=done: len(stamps()) + len(warnings) == done)
    assert stamps() == list(GOOD) and warnings.rejected == rejected
    assert (
        warnings
        == [
            f"message on '/{topic}' rejected: header.stamp is zero, which is no time; set it in the driver "
            "(published by input_host)"
        ]
        * 2
    )
