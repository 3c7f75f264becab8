"""Camera input: images with their camera_info, raw or compressed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Frame
from depth_ros.errors import DepthRosError
from depth_ros.messages.calibration import Calibration, calibration_from, names_rectified_images
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.frames import depth_frame_from, frame_from
from depth_ros.nodes.inputs.stamps import missing_stamp_text
from depth_ros.nodes.topics import others_of_type
from depth_ros.nodes.transport import SHARED_MEMORY_LIMIT, transport_problem

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

ImageMessage: TypeAlias = "Image | CompressedImage"

CALIBRATIONS_KEPT = 64
"""Calibrations kept to match images that are decoded later: 2 s at 30 Hz."""
STALE_AFTER = 5.0
"""Seconds without a camera_info, or three of its periods, after which it is stale. One that came once is latched."""
OVERRIDABLE = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
)
"""QoS policies that can be set with parameters: qos_overrides./camera_info.subscription.durability."""
LATCHED_CHECK_PERIOD = 0.5
"""Seconds between two searches for a publisher of latched camera_info."""


class ImageCallback(Protocol):
    """Callback for one image."""

    def __call__(self, image: ImageMessage, /) -> None: ...


class Warn(Protocol):
    """Callback for a warning. rejected: number of frames that were rejected for the reason given."""

    def __call__(self, text: str, /, *, rejected: int = 0) -> None: ...


class QosEvent(Protocol):
    """Incompatible-QoS event of a publisher or subscription."""

    @property
    def last_policy_kind(self) -> int: ...


@dataclass(frozen=True)
class CameraSettings:
    """Parameters of every node that subscribes to images."""

    image_transport: str = setting(
        "raw",
        "Transport of the images: subscribe to `image` or to `image/compressed`.",
        choices=("raw", "compressed"),
    )
    rectified: bool = setting(
        False,
        "The images are already rectified: P of camera_info describes them and D is ignored. Not needed for topics "
        "named so, such as image_rect.",
    )


class CameraInput(ManagedEntity):
    """Best-effort subscriptions to `image` (or `image/compressed`) and `camera_info`.

    Once a camera_info has arrived, every image is passed to `on_image`; `frame` or `depth` decodes it, in any thread.
    Images without a stamp are rejected. Problems other than decoding errors are passed to `warn`. namespace: prefix of
    both topics, e.g. "left". queue_depth: images that the middleware holds while a callback runs; 1 unless older images
    have to be paired.
    """

    def __init__(
        self, node: Node, settings: CameraSettings, on_image: ImageCallback, warn: Warn,
        namespace: str = "", image_topic: str = "image", queue_depth: int = 1,
    ) -> None:  # fmt: skip
        self._node, self._settings, self._queue_depth = node, settings, queue_depth
        self._on_image, self._warn = on_image, warn
        # A remapping of `image` must carry over to `image/compressed`, as with image_transport.
        suffix = "/compressed" if settings.image_transport == "compressed" else ""
        prefix = f"{namespace}/" if namespace else ""
        self.topic = node.resolve_topic_name(prefix + image_topic) + suffix
        self.info_topic = node.resolve_topic_name(prefix + "camera_info")
        self._image_type = CompressedImage if suffix else Image
        self._is_rectified = settings.rectified or names_rectified_images(self.topic)
        self._subscriptions: list[Subscription] = []
        self._lock = threading.Lock()
        self._calibrations: dict[int, Calibration] = {}  # by stamp, in order of arrival
        self._calibration_problem = ""
        self._reset()

    def _reset(self) -> None:
        self.received = self.dropped = 0
        with self._lock:  # the newest is kept: a latched one comes only once
            self._calibrations = dict(list(self._calibrations.items())[-1:])
        self._info_times: list[float] = []  # of the last two
        self._last_info_stamp: Time | None = None
        self._next_latched_check = 0.0
        self._last_stamp = 0
        self._last_sequence: tuple[bytes | None, int] = (b"", 0)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._reset()
        # Humble does not pass message info to callbacks.
        receive = self._receive_counted if hasattr(Subscription, "CallbackType") else self._receive
        self._subscriptions = [
            self._subscribe(CameraInfo, self.info_topic, self._receive_info, 1),
            self._subscribe(self._image_type, self.topic, receive, self._queue_depth),
        ]
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        return TransitionCallbackReturn.SUCCESS

    def _subscribe(
        self, message_type: type, topic: str, callback: Callable[..., None], queue_depth: int
    ) -> Subscription:
        def on_incompatible_qos(event: QosEvent) -> None:
            self._warn(incompatible_qos_text(topic, "publisher", event))

        return self._node.create_subscription(
            message_type, topic, callback,
            QoSProfile(depth=queue_depth, reliability=ReliabilityPolicy.BEST_EFFORT),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=on_incompatible_qos),
            qos_overriding_options=QoSOverridingOptions(OVERRIDABLE),
        )  # fmt: skip

    def _subscribe_latched(self) -> None:
        """Subscribe to a camera_info that was published once, before this node existed.

        Not from the start: a driver that does not latch would log an incompatible durability.
        """
        now = time.monotonic()
        if now < self._next_latched_check:
            return
        self._next_latched_check = now + LATCHED_CHECK_PERIOD
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        publishers = self._node.get_publishers_info_by_topic(self.info_topic)
        if any(p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers):
            self._subscriptions.append(
                self._node.create_subscription(CameraInfo, self.info_topic, self._receive_info, latched)
            )
            self._next_latched_check = math.inf

    @property
    def has_camera_info(self) -> bool:
        """Whether a camera_info has arrived, valid or not. Images are ignored before that."""
        return bool(self._calibrations or self._calibration_problem)

    def frame(self, message: ImageMessage) -> Frame:
        """Decode an image. Raises DepthRosError if the image or its camera_info is invalid."""
        return frame_from(message, self._calibration_of(message), self._warn_about_image)

    def depth(self, message: Image) -> Depth:
        """Decode a depth image. Raises DepthRosError if it or its camera_info is invalid."""
        return depth_frame_from(message, self._calibration_of(message), self._warn_about_image)

    def _warn_about_image(self, doubt: str) -> None:
        self._warn(f"'{self.topic}': {doubt}")

    def _calibration_of(self, message: ImageMessage) -> Calibration:
        """Calibration of an image: that of the camera_info with the same stamp, otherwise the newest.

        Raises DepthRosError if the newest camera_info is invalid.
        """
        with self._lock:
            if not self._calibrations:
                raise DepthRosError(self._calibration_problem or f"no camera_info on '{self.info_topic}'")
            newest = next(reversed(self._calibrations.values()))
            return self._calibrations.get(stamp_ns(message.header), newest)

    def _receive_info(self, info: CameraInfo) -> None:
        if info.header.stamp != self._last_info_stamp:  # a latched one may come twice
            self._info_times = [*self._info_times[-1:], time.monotonic()]
            self._last_info_stamp = info.header.stamp
        problem, calibration = "", None
        try:
            calibration = calibration_from(info, self._is_rectified)
        except DepthRosError as error:
            problem = str(error)
        with self._lock:
            self._calibration_problem = problem
            if calibration is None:
                self._calibrations.clear()
                return
            stamp = stamp_ns(info.header)
            self._calibrations.pop(stamp, None)
            self._calibrations[stamp] = calibration
            if len(self._calibrations) > CALIBRATIONS_KEPT:
                del self._calibrations[next(iter(self._calibrations))]
        for doubt in calibration.doubts:
            self._warn(f"'{self.info_topic}': {doubt}")

    def _check_stale_info(self) -> None:
        if len(self._info_times) < 2:
            return  # latched
        first, last = self._info_times
        age = time.monotonic() - last
        if age > max(STALE_AFTER, 3 * (last - first)):
            self._warn(
                f"no camera_info on '{self.info_topic}' for {age:.0f} s while images arrive: the last one is used"
            )

    def _receive_counted(self, message: ImageMessage, info: dict[str, Any]) -> None:
        publisher = info.get("publisher_gid", {}).get("data")  # Jazzy and older do not report the publisher
        number = info.get("publication_sequence_number", 0)
        last_publisher, last_number = self._last_sequence
        if last_publisher == publisher and number and last_number:
            self.dropped += max(number - last_number - 1, 0)
        self._last_sequence = (publisher, number)
        self._receive(message)

    def _receive(self, message: ImageMessage) -> None:
        self.received += 1
        stamp = stamp_ns(message.header)
        if stamp <= 0:
            self._warn(missing_stamp_text(self._node, self.topic), rejected=1)
            return
        if stamp < self._last_stamp:
            seconds = (self._last_stamp - stamp) / 1e9
            self._warn(
                f"time went back by {seconds:.3f} s on '{self.topic}': a recording started again, the clock was set, "
                "or the frame before had a wrong stamp"
            )
        self._last_stamp = stamp
        is_first = self.received == 1
        if is_first and len(message.data) > SHARED_MEMORY_LIMIT and (problem := transport_problem()):
            self._warn(problem)
        if self.has_camera_info:
            self._check_stale_info()
            self._on_image(message)
        else:  # `no_input_reason` reports it
            self._subscribe_latched()

    def no_input_reason(self) -> str:
        """Reason why no images arrive, as far as this node can see; for use after some time without any."""
        only_images = self.received and not self.has_camera_info
        topic, message_type = (self.info_topic, CameraInfo) if only_images else (self.topic, self._image_type)
        expected = f"sensor_msgs/msg/{message_type.__name__}"
        publishers = self._node.get_publishers_info_by_topic(topic)
        if not publishers:
            available = others_of_type(self._node, expected)
            return f"no messages on '{topic}': it has no publisher; check name and namespace: {available}"
        wrong = {p.topic_type for p in publishers} - {expected}
        if wrong:
            return (
                f"no messages on '{topic}': its type is {wrong.pop()} and has to be {expected}; "
                "check the parameter image_transport"
            )
        offered = ", ".join(
            f"{p.node_name} ({p.qos_profile.reliability.name}, {p.qos_profile.durability.name})"
            for p in publishers
        )
        advice = transport_problem()
        return f"no messages on '{topic}' although it is published by {offered}{advice and '; '}{advice}"


def incompatible_qos_text(topic: str, endpoint: str, event: QosEvent) -> str:
    """Warning for an incompatible-QoS event. endpoint: the other side, "publisher" or "subscription"."""
    policy = qos_policy_name_from_kind(event.last_policy_kind)
    return f"a {endpoint} of '{topic}' has an incompatible QoS policy ({policy}): no messages are exchanged with it"
