"""Static transforms between frames, from /tf_static."""

from __future__ import annotations

import threading

import numpy as np
from geometry_msgs.msg import Transform
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from tf2_msgs.msg import TFMessage

from depth_ros.geometry import pose_from
from depth_ros.messages.transform_tree import TF_STATIC, TransformTree

LATCHED = QoSProfile(
    depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
)


class StaticTransforms(ManagedEntity):
    """Subscription to /tf_static. Transforms are received in the executor's thread and may be read in another one."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._subscription: Subscription | None = None
        self._lock = threading.Lock()
        self._tree = TransformTree()

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._tree = TransformTree()
        self._subscription = self._node.create_subscription(TFMessage, TF_STATIC, self._receive, LATCHED)
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._subscription:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        return TransitionCallbackReturn.SUCCESS

    def _receive(self, message: TFMessage) -> None:
        with self._lock:
            ignored = self._tree.add(message.transforms)
        for each in ignored:
            self._node.get_logger().error(
                f"transform {each} on /tf_static ignored: it is not finite, or the norm of its quaternion is not 1"
            )

    def parent(self, frame: str) -> str:
        """Parent of `frame`; empty if /tf_static has none."""
        with self._lock:
            return self._tree.parent(frame)

    def ancestors(self, frame: str) -> list[str]:
        """`frame` and the frames above it in /tf_static, nearest first."""
        with self._lock:
            return self._tree.ancestors(frame)

    def between(self, a: str, b: str) -> np.ndarray | None:
        """(4, 4) T_a_b, or None if no chain of static transforms connects the frames."""
        with self._lock:
            return self._tree.between(a, b)


def matrix_of(transform: Transform) -> np.ndarray:
    """(4, 4) matrix of a Transform message."""
    t, q = transform.translation, transform.rotation
    return pose_from(np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w]))
