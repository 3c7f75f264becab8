"""Where frames are relative to each other, as /tf_static says: what never moves, such as two eyes of a camera."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from tf2_msgs.msg import TFMessage

from depth_ros.geometry import inverse, pose_from

_LATCHED = QoSProfile(
    depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
)
_LONGEST = 64
"""Frames in a chain; a longer one is a loop."""


class StaticTransforms:
    """Listens to /tf_static for `node`."""

    def __init__(self, node: Node) -> None:
        self._parents: dict[str, tuple[str, np.ndarray]] = {}
        self._node = node
        self._subscription = node.create_subscription(TFMessage, "/tf_static", self._receive, _LATCHED)

    def destroy(self) -> None:
        self._node.destroy_subscription(self._subscription)

    def _receive(self, message: TFMessage) -> None:
        for each in message.transforms:
            self._parents[each.child_frame_id] = (each.header.frame_id, matrix_of(each.transform))

    def parent(self, frame: str) -> str:
        """The frame that `frame` is fixed to; empty where none is known."""
        return self._parents[frame][0] if frame in self._parents else ""

    def between(self, a: str, b: str) -> np.ndarray | None:
        """(4, 4) T_a_b, or None where no chain of static transforms connects the frames."""
        from_a, from_b = self._chain(a), self._chain(b)
        root = next((frame for frame in from_a if frame in from_b), None)
        return None if root is None else inverse(from_a[root]) @ from_b[root]

    def _chain(self, frame: str) -> dict[str, np.ndarray]:
        """{ancestor: T_ancestor_frame}, nearest first, the frame itself included."""
        found, T = {frame: np.eye(4)}, np.eye(4)
        while frame in self._parents and len(found) < _LONGEST:
            frame, T_parent = self._parents[frame][0], self._parents[frame][1]
            T = T_parent @ T
            found[frame] = T
        return found


def matrix_of(transform: Any) -> np.ndarray:
    """(4, 4) of a geometry_msgs/Transform."""
    t, q = transform.translation, transform.rotation
    return pose_from(np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w]))
