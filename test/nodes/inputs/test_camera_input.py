"""Camera input over DDS: images that are decoded later, and the state after a new activation."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.lifecycle import LifecycleState
from sensor_msgs.msg import CameraInfo, Image

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.messages.fill import fill_camera_info, fill_header, fill_image
from depth_ros.nodes.inputs.camera import CameraInput, CameraSettings

STATE = LifecycleState("", 0)


class CameraDriver:
    """Publishes images with their camera_info, as a driver does."""

    def __init__(self, host) -> None:
        self.images = host.node.create_publisher(Image, "image", 10)
        self.infos = host.node.create_publisher(CameraInfo, "camera_info", 10)
        self.host = host

    def connect(self) -> None:
        self.host.connect(self.images)
        self.host.connect(self.infos)

    def publish_info(self, stamp: int, width: int, height: int, fx: float = 50.0) -> None:
        info = CameraInfo()
        fill_header(info.header, stamp, "optical")
        fill_camera_info(info, Camera.pinhole(width, height, fx, fx, width / 2, height / 2))
        self.infos.publish(info)

    def publish_image(self, stamp: int, width: int, height: int) -> None:
        image = Image()
        fill_header(image.header, stamp, "optical")
        fill_image(image, np.zeros((height, width, 3), np.uint8), "rgb8")
        self.images.publish(image)


def width_of_newest_camera(part: CameraInput) -> int | None:
    """Width of the newest camera_info; None if there is none or it is invalid."""
    try:
        return part.camera_of(Image()).width if part.has_camera_info else None
    except DepthRosError:
        return None


def test_an_image_is_decoded_with_the_camera_info_of_its_stamp_even_after_the_size_has_changed(host):
    received: list[Image] = []
    part = CameraInput(host.node, CameraSettings(), received.append, host.warnings.append)
    driver = CameraDriver(host)
    part.on_activate(STATE)
    driver.connect()
    for stamp, (width, height) in enumerate([(64, 48), (32, 24)], start=1):
        driver.publish_info(stamp, width, height)
        host.spin_until(lambda w=width: width_of_newest_camera(part) == w)
        driver.publish_image(stamp, width, height)
        host.spin_until(lambda n=stamp: len(received) == n)
    frames = [part.frame(message) for message in received]
    assert [(f.stamp, f.camera.width, f.image.shape) for f in frames] == [
        (1, 64, (48, 64, 3)),
        (2, 32, (24, 32, 3)),
    ]
    driver.publish_image(3, 32, 24)  # its camera_info was lost: the newest one is used
    host.spin_until(lambda: len(received) == 3)
    assert part.frame(received[2]).camera.width == 32


def test_an_invalid_camera_info_is_reported_until_a_valid_one_arrives(host):
    received: list[Image] = []
    part = CameraInput(host.node, CameraSettings(), received.append, host.warnings.append)
    driver = CameraDriver(host)
    part.on_activate(STATE)
    driver.connect()
    driver.publish_info(1, 64, 48)
    host.spin_until(lambda: part.has_camera_info)
    driver.publish_image(1, 64, 48)
    host.spin_until(lambda: received)
    assert part.frame(received[0]).camera.width == 64
    driver.publish_info(2, 64, 48, fx=0.0)
    host.spin_until(lambda: width_of_newest_camera(part) is None)
    with pytest.raises(DepthRosError, match="not calibrated"):
        part.frame(received[0])
    driver.publish_info(3, 64, 48)
    host.spin_until(lambda: width_of_newest_camera(part))
    assert part.frame(received[0]).camera.width == 64


def test_a_new_activation_forgets_camera_info_and_counts(host):
    part = CameraInput(host.node, CameraSettings(), print, host.warnings.append)
    driver = CameraDriver(host)
    part.on_activate(STATE)
    driver.connect()
    driver.publish_info(1, 64, 48)
    driver.publish_image(1, 64, 48)
    host.spin_until(lambda: part.has_camera_info and part.received)
    part.on_deactivate(STATE)
    part.on_activate(STATE)
    assert not part.has_camera_info and part.received == 0
