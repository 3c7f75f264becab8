"""`set_pose` input: the pose of the base set from outside, as in robot_localization and by RViz's pose tool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.subscription import Subscription

from depth_ros.messages.poses import finite_pose


class PoseCallback(Protocol):
    """Callback for a pose."""

    def __call__(self, T_odom_base: np.ndarray, covariance: np.ndarray, /) -> None: ...


class SetPose(ManagedEntity):
    """Subscription to `set_pose`. T_odom_base (4, 4) and its covariance (6, 6) are passed to `on_pose`.

    odom_frame: frame that the poses have to be in. Poses that are ignored are passed to `warn`, with the reason.
    """

    def __init__(
        self, node: Node, odom_frame: str, on_pose: PoseCallback, warn: Callable[[str], None]
    ) -> None:
        self._node, self._odom_frame, self._on_pose, self._warn = node, odom_frame, on_pose, warn
        self._subscription: Subscription | None = None

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._subscription = self._node.create_subscription(
            PoseWithCovarianceStamped, "set_pose", self._receive, 1
        )
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._subscription:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        return TransitionCallbackReturn.SUCCESS

    def _receive(self, message: PoseWithCovarianceStamped) -> None:
        frame, pose = message.header.frame_id, message.pose.pose
        T, covariance = finite_pose(pose.position, pose.orientation), np.array(message.pose.covariance)
        if frame not in ("", self._odom_frame):
            self._warn(
                f"pose on set_pose ignored: its frame_id is '{frame}' and has to be '{self._odom_frame}' or empty"
            )
        elif T is None or not np.isfinite(covariance).all():
            self._warn("pose on set_pose ignored: it is not finite, or the norm of its quaternion is not 1")
        else:
            self._on_pose(T, covariance.reshape(6, 6))
