"""Where frames are relative to each other: fixed ones by /tf_static, those of moving joints by tf2_ros."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time

from depth_ros.nodes.inputs.static_transforms import StaticTransforms, matrix_of

try:
    import tf2_ros
except ImportError:  # every robot has it; a test machine with ROS from PyPI has not
    tf2_ros = None


class Transforms:
    """Listens to /tf_static for `node`, and to /tf only once a chain that is asked for is not static.

    /tf can bring a thousand messages a second, which a Python process had better not read without need.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.static = StaticTransforms(node)
        self._buffer: Any = None
        self._listener: Any = None

    def destroy(self) -> None:
        self.static.destroy()
        if self._listener:
            self._listener.unregister()
        self._buffer = self._listener = None

    def between(self, a: str, b: str, stamp: int) -> np.ndarray | None:
        """(4, 4) T_a_b at `stamp`, ns, or None where no chain connects the frames.

        Joints whose state of that time has not come yet are taken where they were last seen.
        """
        T = self.static.between(a, b)
        if T is not None or tf2_ros is None:
            return T
        if self._buffer is None:
            self._buffer = tf2_ros.Buffer(node=self._node)
            self._listener = tf2_ros.TransformListener(self._buffer, self._node, spin_thread=False)
        for time in (Time(nanoseconds=stamp), Time()):
            try:
                return matrix_of(self._buffer.lookup_transform(a, b, time).transform)
            except tf2_ros.ExtrapolationException:
                continue
            except tf2_ros.TransformException:
                return None
        return None

    def problem(self, a: str, b: str) -> str:
        """Why `between` finds nothing, and what to do."""
        joints = "" if tf2_ros else "; /tf is not read, because tf2_ros is not installed"
        return (
            f"no transform from '{a}' to '{b}' on /tf_static{' and /tf' if tf2_ros else ''}{joints}: start "
            f"robot_state_publisher, or ros2 run tf2_ros static_transform_publisher --frame-id {a} --child-frame-id {b}"
        )
