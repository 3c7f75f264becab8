"""Transform output: odom_frame to base_frame on /tf, with a check for other publishers of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from geometry_msgs.msg import TransformStamped
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from tf2_msgs.msg import TFMessage

from depth_ros.estimators.odometry.base_frame import BaseState
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_header, fill_transform
from depth_ros.nodes.inputs.transforms import tf2_ros
from depth_ros.nodes.outputs.publishers import Publishers
from depth_ros.nodes.topics import Topic

TRANSFORM_TOPIC = Topic("/tf", TFMessage, "out", "Pose of base_frame in odom_frame.", "publish_tf", depth=100)
TRANSFORMS_KEPT = 200
"""Published transforms that are recognized when they arrive on /tf."""


class TransformOutput(ManagedEntity):
    """Publishes the transform, by tf2_ros where it is installed, else with the publisher of /tf.

    Other publishers of the transform are passed to `warn`.
    """

    def __init__(
        self, node: Node, publishers: Publishers, odom_frame: str, warn: Callable[[str], None]
    ) -> None:
        self._node, self._publishers, self._odom_frame, self._warn = node, publishers, odom_frame, warn
        self._subscription: Subscription | None = None
        self._broadcaster: tf2_ros.TransformBroadcaster | None = None
        self._lock = threading.Lock()
        self._base_frame = ""
        self._published: deque[tuple[int, float, float]] = deque(maxlen=TRANSFORMS_KEPT)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        if tf2_ros:
            self._broadcaster = tf2_ros.TransformBroadcaster(self._node)
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._broadcaster:
            self._node.destroy_publisher(self._broadcaster.pub_tf)
        self._broadcaster = None
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._subscription = self._node.create_subscription(
            TFMessage, "/tf", self._receive, QoSProfile(depth=100)
        )
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._subscription:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        return TransitionCallbackReturn.SUCCESS

    def publish(self, state: BaseState, base_frame: str) -> None:
        """Publish the pose of `base_frame` as a transform."""
        transform = TransformStamped(child_frame_id=base_frame)
        fill_header(transform.header, state.stamp, self._odom_frame)
        fill_transform(transform.transform, state.T)
        with self._lock:
            self._base_frame = base_frame
            self._published.append(_key(transform))
        if self._broadcaster:
            self._broadcaster.sendTransform(transform)
        else:
            self._publishers.publish("/tf", TFMessage(transforms=[transform]))

    def _receive(self, message: TFMessage) -> None:
        with self._lock:
            others = [
                each
                for each in message.transforms
                if each.child_frame_id == self._base_frame
                and not (each.header.frame_id == self._odom_frame and _key(each) in self._published)
            ]
        for each in others:
            self._warn(self._conflict_text(each))

    def _conflict_text(self, transform: TransformStamped) -> str:
        publishers = self._node.get_publishers_info_by_topic("/tf")
        others = sorted({each.node_name for each in publishers} - {self._node.get_name()})
        return (
            f"another node also publishes the transform '{transform.header.frame_id}' -> '{transform.child_frame_id}' "
            f"(publishers of /tf: {', '.join(others)}): the robot's pose alternates between the two; set publish_tf to "
            "false in one of them"
        )


def _key(transform: TransformStamped) -> tuple[int, float, float]:
    """Values that tell the own transforms from others."""
    return (
        stamp_ns(transform.header),
        transform.transform.translation.x,
        transform.transform.rotation.z,
    )
