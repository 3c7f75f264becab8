"""Transforms between frames: static ones from /tf_static, those of moving joints from tf2_ros."""

from __future__ import annotations

import threading

import numpy as np
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.time import Time

from depth_ros.nodes.inputs.static_transforms import StaticTransforms, matrix_of

try:
    import tf2_ros
except ImportError:  # installed on every robot, but not part of ROS from PyPI
    tf2_ros = None


class Transforms(ManagedEntity):
    """Subscription to /tf_static, and to /tf once a requested chain is not static.

    /tf can carry a thousand messages a second, which a Python process should not receive without need.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.static = StaticTransforms(node)
        self._lock = threading.Lock()
        self._active = False
        self._buffer: tf2_ros.Buffer | None = None
        self._listener: tf2_ros.TransformListener | None = None

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = True
        return self.static.on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._lock:
            self._active = False
            if self._listener:
                self._listener.unregister()
            self._buffer = self._listener = None
        return self.static.on_deactivate(state)

    def between(self, a: str, b: str, stamp: int) -> np.ndarray | None:
        """(4, 4) T_a_b at `stamp`, ns, or None if no chain of transforms connects the frames.

        A moving joint without a transform at that time is taken at its latest transform.
        """
        T = self.static.between(a, b)
        if T is not None or tf2_ros is None:
            return T
        with self._lock:
            if not self._active:
                return None
            if self._buffer is None:
                self._buffer = tf2_ros.Buffer(node=self._node)
                self._listener = tf2_ros.TransformListener(self._buffer, self._node, spin_thread=False)
            buffer = self._buffer
        for time in (Time(nanoseconds=stamp), Time()):
            try:
                return matrix_of(buffer.lookup_transform(a, b, time).transform)
            except tf2_ros.ExtrapolationException:
                continue
            except tf2_ros.TransformException:
                return None
        return None

    def missing_transform_text(self, a: str, b: str) -> str:
        """Warning for a missing transform, with what to do about it."""
        topics = "/tf_static and /tf" if tf2_ros else "/tf_static"
        note = "" if tf2_ros else " (/tf is ignored because tf2_ros is not installed)"
        return (
            f"no transform from '{a}' to '{b}' on {topics}{note}: start robot_state_publisher, or "
            f"ros2 run tf2_ros static_transform_publisher --frame-id {a} --child-frame-id {b}"
        )
