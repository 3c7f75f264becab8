"""Images with their camera_info from a topic, raw or compressed: the newest frame wins."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.errors import DepthRosError
from depth_ros.messages import camera_from, depth_from, frame_from, stamp_ns

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


def newest(kept: int = 1) -> QoSProfile:
    """While a callback works, the middleware replaces the images that it holds: no queue, no thread of ours."""
    return QoSProfile(depth=kept, reliability=ReliabilityPolicy.BEST_EFFORT)


NEWEST = newest()

LARGE = 500_000
"""Bytes; larger messages are lost in Fast DDS's default shared memory segment of 512 KiB."""


class CameraInput:
    """Subscribes `image` (or `image/compressed`) and `camera_info`, best effort, of `node`; below `eye`, if given.

    Every image goes to `on_image`; `frame` or `depth` then decodes it. What is wrong with the input, short of the
    decoding, is said to `complain`. rectified: the image is so already, camera_info's P describes it. image: the
    name of its topic. kept: images that wait while a callback works; the newest, unless an older one is to be paired.
    """

    def __init__(
        self,
        node: Node,
        transport: str,
        rectified: bool,
        on_image: Callable[[Any], None],
        complain: Callable[[str], None],
        eye: str = "",
        image: str = "image",
        kept: int = 1,
    ) -> None:
        self.node, self.rectified = node, rectified
        self.on_image, self.complain = on_image, complain
        self.received = self.dropped = 0
        self.camera: Camera | None = None
        self._stamp = 0
        self._sequence: tuple[bytes | None, int] = (b"", 0)
        self._camera_problem = ""
        # A remapping of `image` must carry over to `image/compressed`, as with image_transport.
        suffix = "/compressed" if transport == "compressed" else ""
        below = f"{eye}/" if eye else ""
        self.topic = node.resolve_topic_name(below + image) + suffix
        self.info_topic = node.resolve_topic_name(below + "camera_info")
        # Humble's callbacks are not told the sequence number.
        receive = self._receive_counted if hasattr(Subscription, "CallbackType") else self._receive
        self.kind = CompressedImage if suffix else Image
        self._subscriptions = [
            self._subscribe(CameraInfo, self.info_topic, self._receive_info, NEWEST),
            self._subscribe(self.kind, self.topic, receive, newest(kept)),
        ]

    def _subscribe(
        self, kind: type, topic: str, callback: Callable[..., None], qos: QoSProfile
    ) -> Subscription:
        def incompatible(event: Any) -> None:
            self.complain(incompatible_text(topic, "publisher", event))

        return self.node.create_subscription(
            kind, topic, callback, qos,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip

    @property
    def ready(self) -> bool:
        """Whether a camera_info has come, usable or not: before that images are of no use."""
        return bool(self.camera or self._camera_problem)

    def destroy(self) -> None:
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)

    def frame(self, message: Any) -> Frame:
        """The decoded frame. Raises DepthRosError where image or camera_info are unusable."""
        return frame_from(message, self.usable_camera())

    def depth(self, message: Any, image: np.ndarray | None = None) -> Depth:
        """A depth image with its camera, and the image (H, W, 3) it belongs to; grey where none is given.

        Raises DepthRosError where depth image and camera_info do not fit.
        """
        pixels = depth_from(message)
        camera = self.usable_camera()
        if (camera.width, camera.height) != pixels.shape[::-1]:
            raise DepthRosError(
                f"depth is {pixels.shape[1]}x{pixels.shape[0]} but camera_info describes "
                f"{camera.width}x{camera.height}: give camera_info of the same stream"
            )
        if not camera.is_rectified:
            raise DepthRosError(
                "camera_info of the depth has distortion: give rectified depth, or set rectified"
            )
        grey = np.full((*pixels.shape, 3), 128, np.uint8) if image is None else image
        stamp, frame, baseline = stamp_ns(message.header), message.header.frame_id, abs(camera.baseline)
        return Depth(stamp, frame, pixels, camera, grey, baseline=baseline)

    def usable_camera(self) -> Camera:
        """The camera of the last camera_info. Raises DepthRosError saying what is wrong with it."""
        if self.camera is None:
            raise DepthRosError(self._camera_problem)
        return self.camera

    def _receive_info(self, info: CameraInfo) -> None:
        try:
            camera = camera_from(info)
            self.camera = camera.rectified() if self.rectified else camera
        except DepthRosError as error:
            self.camera, self._camera_problem = None, str(error)

    def _receive_counted(self, message: Any, info: dict[str, Any]) -> None:
        publisher = info.get("publisher_gid", {}).get("data")  # Jazzy and older do not say who sent it
        number = info.get("publication_sequence_number", 0)
        if self._sequence[0] == publisher and number and self._sequence[1]:
            self.dropped += max(number - self._sequence[1] - 1, 0)
        self._sequence = (publisher, number)
        self._receive(message)

    def _receive(self, message: Any) -> None:
        self.received += 1
        stamp = stamp_ns(message.header)
        if stamp < self._stamp:
            self.complain(
                f"time went back by {(self._stamp - stamp) / 1e9:.3f} s on '{self.topic}': a bag looped?"
            )
        self._stamp = stamp
        if self.received == 1 and len(message.data) > LARGE and transport_is_small():
            self.complain(small_transport_text())
        if self.ready:  # else `silence` tells
            self.on_image(message)

    def silence(self) -> str:
        """Why nothing comes, as far as can be seen from here, for when nothing came for some time."""
        only_images = self.received and not self.camera and not self._camera_problem
        topic, kind = (self.info_topic, CameraInfo) if only_images else (self.topic, self.kind)
        wanted = f"sensor_msgs/msg/{kind.__name__}"
        publishers = self.node.get_publishers_info_by_topic(topic)
        if not publishers:
            return f"nothing on '{topic}': nobody publishes it; check name and namespace (ros2 topic list)"
        wrong = {p.topic_type for p in publishers} - {wanted}
        if wrong:
            return (
                f"nothing on '{topic}': it carries {wrong.pop()}, not {wanted}; see parameter image_transport"
            )
        offers = ", ".join(
            f"{p.node_name} ({p.qos_profile.reliability.name}, {p.qos_profile.durability.name})"
            for p in publishers
        )
        hint = f"; {small_transport_text()}" if transport_is_small() else ""
        return f"nothing on '{topic}', though published by {offers}{hint}"


def incompatible_text(topic: str, other: str, event: Any) -> str:
    """An incompatible QoS event in words. other: who is at the far end, publisher or subscriber."""
    from rclpy.qos import qos_policy_name_from_kind

    policy = qos_policy_name_from_kind(event.last_policy_kind)
    return f"a {other} of '{topic}' has an incompatible QoS policy, {policy}: nothing passes between us"


def transport_is_small() -> bool:
    """Whether Fast DDS runs with its default transports, which lose large images."""
    profiles = (
        "FASTDDS_BUILTIN_TRANSPORTS",
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "FASTRTPS_DEFAULT_PROFILES_FILE",
    )
    fast = "fastrtps" in get_rmw_implementation_identifier()
    return fast and not any(os.environ.get(name) for name in profiles)


def small_transport_text() -> str:
    return (
        "images over 0.5 MB are mostly lost with Fast DDS's default transports: "
        "set FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA for the camera's node and this one"
    )
