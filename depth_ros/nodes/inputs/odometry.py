"""Odometry input: camera motion between two images, from the `nav_msgs/Odometry` of another node."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from depth_ros.datatypes import Motion
from depth_ros.estimators.odometry.base_frame import UNKNOWN_VARIANCE, lever_arm_jacobian
from depth_ros.geometry import inverse, se3_exp, se3_log
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.poses import finite_pose
from depth_ros.nodes.inputs.stamps import missing_stamp_text
from depth_ros.nodes.inputs.transforms import Transforms

POSES_KEPT = 2000
"""10 s at 200 Hz."""
DEFAULT_COVARIANCE = np.diag([0.01**2] * 3 + [0.002**2] * 3)
"""(6, 6) covariance, m and rad, of the motion between two images if the publisher gives no covariance."""


class BasePose(NamedTuple):
    """Pose of the base. stamp: ns. T: (4, 4) T_odom_base. twist_covariance: (6, 6), m/s and rad/s, in its frame."""

    stamp: int
    T: np.ndarray
    twist_covariance: np.ndarray


class OdometryInput(ManagedEntity):
    """Best-effort subscription to `topic`: poses of a base frame, related to the camera by TF.

    `on_pose` is called for each pose, in the executor's thread; `motion` may be called in another one. max_gap: s,
    longest interval between two poses that is interpolated. Missing transforms, covariances and stamps are passed to
    `warn`.
    """

    def __init__(
        self, node: Node, max_gap: float, on_pose: Callable[[], None], warn: Callable[[str], None],
        topic: str = "odom",
    ) -> None:  # fmt: skip
        self._node, self._max_gap, self._on_pose, self._warn = node, max_gap, on_pose, warn
        self.topic = node.resolve_topic_name(topic)
        self._relative_topic = topic
        self._transforms = Transforms(node)
        self._subscription: Subscription | None = None
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._poses: deque[BasePose] = deque(maxlen=POSES_KEPT)
        self._base_frame = ""

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._reset()
        self._subscription = self._node.create_subscription(
            Odometry, self._relative_topic, self._receive,
            QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        return self._transforms.on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._subscription:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        return self._transforms.on_deactivate(state)

    @property
    def oldest_stamp(self) -> float:
        """Stamp, ns, of the oldest pose kept; infinite if there is none."""
        with self._lock:
            return self._poses[0].stamp if self._poses else np.inf

    def _receive(self, message: Odometry) -> None:
        stamp = stamp_ns(message.header)
        if stamp <= 0:
            self._warn(missing_stamp_text(self._node, self.topic))
            return
        covariance = np.array(message.twist.covariance).reshape(6, 6)
        T = finite_pose(message.pose.pose.position, message.pose.pose.orientation)
        is_known = max(covariance.max(), message.pose.covariance[0]) < UNKNOWN_VARIANCE
        if is_known and T is None:
            self._warn(
                f"pose on '{self.topic}' ignored: it is not finite, or the norm of its quaternion is not 1"
            )
        with self._lock:
            time_went_back = bool(self._poses) and stamp <= self._poses[-1].stamp
            if time_went_back or not is_known or T is None:
                self._poses.clear()
            if not is_known or T is None:
                return
            self._base_frame = message.child_frame_id
            self._poses.append(BasePose(stamp, T, covariance))
        self._on_pose()

    def motion(self, camera_frame: str, old: int, new: int) -> Motion | None:
        """Motion of a camera frame between two stamps, ns.

        None until the poses cover the interval, or if TF has no transform between camera and base.
        """
        with self._lock:
            poses, base_frame = list(self._poses), self._base_frame
        first, last = self._interpolate(poses, old), self._interpolate(poses, new)
        if first is None or last is None:
            return None
        T_old = self._base_to_camera(base_frame, camera_frame, old)
        T_new = self._base_to_camera(base_frame, camera_frame, new)
        if T_old is None or T_new is None:
            self._warn(self._transforms.missing_transform_text(base_frame, camera_frame))
            return None
        T_base = inverse(first.T) @ last.T
        T_camera_base = inverse(T_old)
        covariance = last.twist_covariance * (1e-9 * (new - old)) ** 2
        if not covariance.any():
            self._warn(f"'{self.topic}' has no twist covariance: 1 cm and 2 mrad per image are assumed")
            covariance = DEFAULT_COVARIANCE
        J = lever_arm_jacobian(T_camera_base[:3, :3], T_base[:3, :3], T_camera_base)
        return Motion(old, new, T_camera_base @ T_base @ T_new, J @ covariance @ J.T)

    def _base_to_camera(self, base_frame: str, camera_frame: str, stamp: int) -> np.ndarray | None:
        """(4, 4) T_base_camera."""
        if base_frame in ("", camera_frame):
            return np.eye(4)
        return self._transforms.between(base_frame, camera_frame, stamp)

    def _interpolate(self, poses: list[BasePose], stamp: int) -> BasePose | None:
        """Pose at `stamp`, ns, between the poses before and after it, with the latter's twist covariance."""
        after = next((i for i, pose in enumerate(poses) if pose.stamp >= stamp), None)
        if after is None:
            return None
        newer = poses[after]
        if newer.stamp == stamp:
            return newer
        if after == 0:
            return None
        older = poses[after - 1]
        interval = newer.stamp - older.stamp
        if interval > 1e9 * self._max_gap:
            return None
        T = older.T @ se3_exp((stamp - older.stamp) / interval * se3_log(inverse(older.T) @ newer.T))
        return BasePose(stamp, T, newer.twist_covariance)
