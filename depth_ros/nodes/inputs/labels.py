"""Label input: instance label images."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from depth_ros.messages.decode import stamp_ns
from depth_ros.nodes.inputs.camera import Warn
from depth_ros.nodes.inputs.stamps import missing_stamp_text


class LabelInput(ManagedEntity):
    """Best-effort subscription to `labels`. Messages are passed to `on_labels`; those without a stamp are rejected and
    passed to `warn`."""

    def __init__(self, node: Node, on_labels: Callable[[Image], None], warn: Warn) -> None:
        self._node, self._on_labels, self._warn = node, on_labels, warn
        self._subscription: Subscription | None = None

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._subscription = self._node.create_subscription(
            Image, "labels", self._receive, QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._subscription:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        return TransitionCallbackReturn.SUCCESS

    def _receive(self, message: Image) -> None:
        if stamp_ns(message.header) > 0:
            self._on_labels(message)
        else:
            self._warn(missing_stamp_text(self._node, self._node.resolve_topic_name("labels")), rejected=1)
