"""Camera input over DDS: images that are decoded later, and the state after a new activation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rclpy.lifecycle import LifecycleState
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.messages.fill import fill_camera_info, fill_header, fill_image
from depth_ros.nodes.inputs import camera
from depth_ros.nodes.inputs.camera import CameraInput, CameraSettings

STATE = LifecycleState("", 0)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class CameraDriver:
    """Publishes images with their camera_info, as a driver does."""

    def __init__(self, host, infos=None, image_topic: str = "image") -> None:
        self.images = host.node.create_publisher(Image, image_topic, 10)
        self.infos = infos or host.node.create_publisher(CameraInfo, "camera_info", 10)
        self.host = host

    def connect(self) -> None:
        self.host.connect(self.images)
        self.host.connect(self.infos)

    def publish_info(self, stamp: int, width: int, height: int, fx: float = 50.0) -> None:
        self.publish_camera(stamp, Camera.pinhole(width, height, fx, fx, width / 2, height / 2))

    def publish_camera(self, stamp: int, calibrated: Camera) -> None:
        info = CameraInfo()
        fill_header(info.header, stamp, "optical")
        fill_camera_info(info, calibrated)
        self.infos.publish(info)

    def publish_image(self, stamp: int, width: int, height: int, value: int = 90) -> None:
        image = Image()
        fill_header(image.header, stamp, "optical")
        fill_image(image, np.full((height, width, 3), value, np.uint8), "rgb8")
        self.images.publish(image)


def test_an_image_is_decoded_with_the_camera_info_of_its_stamp_even_after_the_size_has_changed(host):
    received: list[Image] = []
    part = CameraInput(host.node, CameraSettings(), received.append, host.warnings.append)
    driver = CameraDriver(host)
    part.on_activate(STATE)
    driver.connect()
    for stamp, (width, height) in enumerate([(64, 48), (32, 24)], start=1):
        driver.publish_info(stamp, width, height)
        host.spin_until(lambda: part.has_camera_info)
        host.spin(0.3)
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
    host.spin(0.3)
    with pytest.raises(DepthRosError, match="not calibrated"):
        part.frame(received[0])
    driver.publish_info(3, 64, 48)
    host.spin(0.3)
    assert part.frame(received[0]).camera.width == 64


def test_a_new_activation_keeps_the_newest_camera_info_and_counts_anew(host):
    part = CameraInput(host.node, CameraSettings(), print, host.warnings.append)
    driver = CameraDriver(host)
    part.on_activate(STATE)
    driver.connect()
    driver.publish_info(1, 64, 48)
    driver.publish_image(1, 64, 48)
    host.spin_until(lambda: part.has_camera_info and part.received)
    part.on_deactivate(STATE)
    part.on_activate(STATE)
    assert part.has_camera_info and part.received == 0


def test_a_camera_info_that_was_published_once_and_latched_is_received(host):
    infos = host.node.create_publisher(CameraInfo, "camera_info", LATCHED)
    driver = CameraDriver(host, infos)
    driver.publish_info(1, 64, 48)
    received: list[Image] = []
    part = CameraInput(host.node, CameraSettings(), received.append, host.warnings.append)
    part.on_activate(STATE)
    host.spin_until(lambda: received, action=lambda: driver.publish_image(2, 64, 48))
    assert part.frame(received[0]).camera.width == 64 and host.warnings == []


def test_durability_of_camera_info_can_be_overridden_with_a_parameter(host):
    name = "qos_overrides./camera_info.subscription.durability"
    part = CameraInput(host.node, CameraSettings(), print, host.warnings.append)
    part.on_activate(STATE)
    assert host.node.get_parameter(name).value == "volatile"


def test_camera_info_that_ceases_is_warned_about_but_not_a_latched_one(host, monkeypatch):
    monkeypatch.setattr(camera, "STALE_AFTER", 0.5)
    received: list[Image] = []
    part = CameraInput(host.node, CameraSettings(), received.append, host.warnings.append)
    driver = CameraDriver(host)
    part.on_activate(STATE)
    driver.connect()
    for _ in range(2):  # the second subscription to a latched one receives it again
        driver.publish_info(1, 64, 48)
    host.spin_until(lambda: part.has_camera_info)
    host.spin(0.8)
    driver.publish_image(2, 64, 48)
    host.spin_until(lambda: received)
    assert host.warnings == []
    for stamp in (3, 4, 5):
        driver.publish_info(stamp, 64, 48)
        host.spin(0.1)
    host.spin(0.8)
    driver.publish_image(6, 64, 48)
    host.spin_until(lambda: len(received) == 2)
    assert "no camera_info on '/camera_info' for 1 s while images arrive" in host.warnings[0]


@pytest.mark.parametrize("topic, is_rectified", [("image_rect_color", True), ("image_raw", False)])
def test_a_topic_of_rectified_images_is_described_by_p(host, topic, is_rectified):
    received: list[Image] = []
    part = CameraInput(host.node, CameraSettings(), received.append, host.warnings.append, image_topic=topic)
    driver = CameraDriver(host, image_topic=topic)
    part.on_activate(STATE)
    driver.connect()
    pinhole = Camera.pinhole(64, 48, 50, 50, 32, 24)
    driver.publish_camera(1, replace(pinhole, distortion=(-0.1, 0.0, 0.0, 0.0, 0.0)))
    host.spin_until(lambda: part.has_camera_info)
    driver.publish_image(1, 64, 48)
    host.spin_until(lambda: received)
    assert part.frame(received[0]).camera.is_rectified == is_rectified


def test_doubts_name_the_topic_they_are_about(host):
    received: list[Image] = []
    part = CameraInput(host.node, CameraSettings(), received.append, host.warnings.append)
    driver = CameraDriver(host)
    part.on_activate(STATE)
    driver.connect()
    driver.publish_info(1, 64, 48, fx=1.0)
    host.spin_until(lambda: part.has_camera_info)
    driver.publish_image(1, 64, 48)
    host.spin_until(lambda: received)
    part.frame(received[0])
    assert host.warnings[0].startswith("'/camera_info': the focal length 1 px of K")
    driver.publish_image(2, 64, 48, value=0)
    host.spin_until(lambda: len(received) == 2)
    part.frame(received[1])
    assert host.warnings[-1] == "'/image': the image is black: every pixel is 0; check the camera"
