"""The motion of the camera between two images as another node's `nav_msgs/Odometry` says it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from depth_ros.datatypes import Motion
from depth_ros.estimators.odometry.base_frame import UNKNOWN, to_base
from depth_ros.geometry import exponential, inverse, logarithm, pose_from
from depth_ros.messages import stamp_ns
from depth_ros.nodes.inputs.transforms import Transforms

KEPT = 2000
"""Poses: 10 s at 200 Hz."""
UNSAID = np.diag([0.01**2] * 3 + [0.002**2] * 3)
"""Covariance (6, 6), m and rad, of a motion between two images of which the publisher says none."""


class OdomInput:
    """Subscribes `topic` of `node`: poses of a base, placed by TF relative to the camera. `on_pose` is called for each.

    What is missing is said to `complain`. longest_gap: s between two poses that may be interpolated.
    """

    def __init__(
        self, node: Node, longest_gap: float, on_pose: Callable[[], None], complain: Callable[[str], None],
        topic: str = "odom",
    ) -> None:  # fmt: skip
        self._node, self._gap, self._on_pose, self._complain = node, longest_gap, on_pose, complain
        self._transforms = Transforms(node)
        self._poses: deque[tuple[int, np.ndarray, np.ndarray]] = deque(maxlen=KEPT)
        self._base = ""
        self._subscription = node.create_subscription(
            Odometry, topic, self._receive, QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip

    @property
    def topic(self) -> str:
        return str(self._subscription.topic_name)

    @property
    def oldest(self) -> float:
        """Stamp, ns, of the first pose that is kept."""
        return self._poses[0][0] if self._poses else np.inf

    def destroy(self) -> None:
        self._transforms.destroy()
        self._node.destroy_subscription(self._subscription)

    def _receive(self, message: Odometry) -> None:
        stamp, p, q = stamp_ns(message.header), message.pose.pose.position, message.pose.pose.orientation
        if self._poses and stamp <= self._poses[-1][0]:  # time went back
            self._poses.clear()
        covariance = np.array(message.twist.covariance).reshape(6, 6)
        if max(covariance.max(), message.pose.covariance[0]) >= UNKNOWN:  # just started, or lost
            self._poses.clear()
            return
        self._base = message.child_frame_id
        T = pose_from(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))
        self._poses.append((stamp, T, covariance))
        self._on_pose()

    def motion(self, camera: str, older: int, newer: int) -> Motion | None:
        """Of a camera frame from one stamp, ns, to the next; None as long as the poses do not cover them or TF does not
        place the camera."""
        first, last = self._at(older), self._at(newer)
        if first is None or last is None:
            return None
        placed = [self._place(camera, stamp) for stamp in (older, newer)]
        if placed[0] is None or placed[1] is None:
            self._complain(self._transforms.problem(self._base, camera))
            return None
        T_base = inverse(first[0]) @ last[0]
        T = inverse(placed[0]) @ T_base @ placed[1]
        seconds = 1e-9 * (newer - older)
        if not last[1].any():
            self._complain(f"'{self.topic}' says no covariance of its twist: 1 cm and 2 mrad are taken")
        of_base = last[1] * seconds**2 if last[1].any() else UNSAID
        T_camera_base = inverse(placed[0])
        J = to_base(T_camera_base[:3, :3], T_base[:3, :3], T_camera_base)  # to_camera, rather
        return Motion(older, newer, T, J @ of_base @ J.T)

    def _place(self, camera: str, stamp: int) -> np.ndarray | None:
        """(4, 4) T_base_camera."""
        if self._base in ("", camera):
            return np.eye(4)
        return self._transforms.between(self._base, camera, stamp)

    def _at(self, stamp: int) -> tuple[np.ndarray, np.ndarray] | None:
        """T_odom_base (4, 4) at `stamp`, ns, between the poses before and after it, and the twist's covariance."""
        after = next((i for i, pose in enumerate(self._poses) if pose[0] >= stamp), None)
        if after is None:
            return None
        time, T, covariance = self._poses[after]
        if time == stamp:
            return T, covariance
        if after == 0:
            return None
        before, T_before, _ = self._poses[after - 1]
        if time - before > 1e9 * self._gap:
            return None
        share = (stamp - before) / (time - before)
        return T_before @ exponential(share * logarithm(inverse(T_before) @ T)), covariance
