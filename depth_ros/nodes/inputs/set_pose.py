"""A pose that is set from outside, as of robot_localization and of RViz's pose tool: the base is there now."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node

from depth_ros.geometry import pose_from


class SetPose:
    """Subscribes `set_pose` of `node`. T_odom_base (4, 4) and its covariance (6, 6) go to `place`.

    frame: the odom frame, which poses have to be in. What is left out is said to `complain`.
    """

    def __init__(
        self, node: Node, frame: str, place: Callable[[np.ndarray, np.ndarray], None],
        complain: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._node, self._frame, self._place, self._complain = node, frame, place, complain
        self._subscription = node.create_subscription(PoseWithCovarianceStamped, "set_pose", self._receive, 1)

    def destroy(self) -> None:
        self._node.destroy_subscription(self._subscription)

    def _receive(self, message: PoseWithCovarianceStamped) -> None:
        frame, p, q = message.header.frame_id, message.pose.pose.position, message.pose.pose.orientation
        if frame not in ("", self._frame):
            self._complain(f"set_pose is in frame '{frame}' and is left out; '{self._frame}' is needed")
        elif abs(np.linalg.norm([q.x, q.y, q.z, q.w]) - 1) > 0.01:
            self._complain("set_pose has a quaternion whose length is not 1 and is left out")
        else:
            T = pose_from(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))
            self._place(T, np.array(message.pose.covariance).reshape(6, 6))
