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

from depth_ros.geometry import inverse, pose_from
from depth_ros.nodes.inputs.poses import finite_pose

LATCHED = QoSProfile(
    depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
)
MAX_CHAIN = 64
"""Maximum number of frames in a chain; a longer one is a loop."""


class StaticTransforms(ManagedEntity):
    """Subscription to /tf_static. Transforms are received in the executor's thread and may be read in another one."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._subscription: Subscription | None = None
        self._lock = threading.Lock()
        self._parents: dict[str, tuple[str, np.ndarray]] = {}  # child -> parent, T_parent_child

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._parents = {}
        self._subscription = self._node.create_subscription(TFMessage, "/tf_static", self._receive, LATCHED)
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._subscription:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        return TransitionCallbackReturn.SUCCESS

    def _receive(self, message: TFMessage) -> None:
        parents = {}
        for each in message.transforms:
            T = finite_pose(each.transform.translation, each.transform.rotation)
            if T is None:  # tf2 ignores it, too
                self._node.get_logger().error(
                    f"transform '{each.header.frame_id}' -> '{each.child_frame_id}' on /tf_static ignored: it is not "
                    "finite, or the norm of its quaternion is not 1"
                )
                continue
            parents[each.child_frame_id] = (each.header.frame_id, T)
        with self._lock:
            self._parents.update(parents)

    def parent(self, frame: str) -> str:
        """Parent of `frame`; empty if /tf_static has none."""
        with self._lock:
            return self._parents[frame][0] if frame in self._parents else ""

    def between(self, a: str, b: str) -> np.ndarray | None:
        """(4, 4) T_a_b, or None if no chain of static transforms connects the frames."""
        with self._lock:
            ancestors_a, ancestors_b = self._ancestors(a), self._ancestors(b)
        root = next((frame for frame in ancestors_a if frame in ancestors_b), None)
        return None if root is None else inverse(ancestors_a[root]) @ ancestors_b[root]

    def _ancestors(self, frame: str) -> dict[str, np.ndarray]:
        """{ancestor: T_ancestor_frame}, nearest first, starting with the frame itself."""
        found, T = {frame: np.eye(4)}, np.eye(4)
        while frame in self._parents and len(found) < MAX_CHAIN:
            frame, T_parent = self._parents[frame]
            T = T_parent @ T
            found[frame] = T
        return found


def matrix_of(transform: Transform) -> np.ndarray:
    """(4, 4) matrix of a Transform message."""
    t, q = transform.translation, transform.rotation
    return pose_from(np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w]))
