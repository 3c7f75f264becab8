"""What odometry publishes: `odom`, `path`, `odometry/status`, and on request the transform odom -> base_link."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, TransformStamped
from nav_msgs.msg import Odometry as OdometryMessage
from nav_msgs.msg import Path
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tf2_msgs.msg import TFMessage

from depth_ros import messages
from depth_ros.datatypes import Odometry, Pose
from depth_ros.estimators.odometry.base_frame import BaseState, BaseTrack

LEVELS = {"tracking": DiagnosticStatus.OK, "starting": DiagnosticStatus.WARN, "lost": DiagnosticStatus.ERROR}
LOST = {
    "stop": "nothing is published until it is found again",
    "extrapolate": "the last velocity holds for a while (extrapolate_for)",
    "null": "zeros with a covariance of 9999 are published",
}
"""What comes of `odom` by the policies of OdometrySettings."""
REMEMBERED = 200
"""Transforms sent, among which what comes back on /tf is looked for."""


def odometry_message(state: BaseState, frame: str, child: str) -> OdometryMessage:
    """Pose in `frame`, twist in `child`, and both covariances."""
    message = OdometryMessage()
    messages.fill_odometry(message, Pose(state.stamp, state.T, state.covariance), frame, child)
    messages.fill_twist(message.twist, state.twist, state.twist_covariance)
    return message


def null_message(stamp: int, frame: str, child: str) -> OdometryMessage:
    """Odometry that says it is lost as rtabmap_ros does: zeros, the quaternion too, with UNKNOWN covariance."""
    message = odometry_message(BaseState(stamp), frame, child)
    message.pose.pose.orientation.w = 0.0
    return message


def status_message(found: Odometry, values: dict[str, object]) -> DiagnosticStatus:
    """State, inliers and the time of each stage of one frame."""
    pairs: dict[str, object] = {
        "stamp (ns)": found.stamp,
        "inliers (%)": f"{100 * found.inliers:.1f}",
        **values,
    }
    pairs |= {f"{stage} (ms)": f"{value:.2f}" for stage, value in found.milliseconds.items()}
    return DiagnosticStatus(
        level=LEVELS[found.state], name="odometry", message=found.state, hardware_id="depth_ros",
        values=[KeyValue(key=key, value=str(value)) for key, value in pairs.items()],
    )  # fmt: skip


class OdometryOutput:
    """Fills and publishes what somebody subscribes to, by the publishers `outputs`: odom (in metres) or
    unscaled or both, path, status and perhaps tf.

    frame: the odom frame. policy: `when_lost` of OdometrySettings.
    """

    def __init__(
        self, node: Node, outputs: dict[str, Any], frame: str, policy: str, track: BaseTrack,
        path: PathMessage, complain: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._node, self._outputs, self._frame, self._policy = node, outputs, frame, policy
        self.track, self.path, self.complain = track, path, complain
        self.state, self.lost = "starting", 0
        self._transform: TransformOutput | None = None

    def close(self) -> None:
        """Stop listening to /tf."""
        if self._transform:
            self._transform.destroy()
        self._transform = None

    def heard(self, *names: str) -> bool:
        """Whether somebody subscribes to one of the outputs; all, if none is named."""
        return any(self._outputs[name].get_subscription_count() for name in names or self._outputs)

    def publish(
        self, found: Odometry, state: BaseState, base: str, metric: bool, values: dict[str, object]
    ) -> None:
        """state: of `base`, after `found`. metric: whether it is in metres. values: of the status, besides."""
        self.state = found.state
        odom = "odom" if metric else "unscaled"
        lost = found.state == "lost"
        if lost:
            self.lost += 1
            self.complain(f"odometry is lost: {LOST[self._policy]}")
            if self._policy == "null" and self.heard(odom):
                self._outputs[odom].publish(null_message(state.stamp, self._frame, base))
        if not lost or (self._policy == "extrapolate" and self.track.known(state.stamp)):
            self._publish(state, base, odom)
        if self.heard("status"):
            self._outputs["status"].publish(status_message(found, {"frames lost": self.lost, **values}))

    def _publish(self, state: BaseState, base: str, odom: str) -> None:
        if self.heard(odom):
            self._outputs[odom].publish(odometry_message(state, self._frame, base))
        if odom == "odom" and "tf" in self._outputs:
            self._send(state, base)
        self.path.add(state, self._frame)
        if self.heard("path"):
            self._outputs["path"].publish(self.path.message())

    def _send(self, state: BaseState, base: str) -> None:
        if self._transform is None:
            self._transform = TransformOutput(
                self._node, self._outputs["tf"], self._frame, base, self.complain
            )
        self._transform.send(state)


class PathMessage:
    """The last `poses` poses that lie at least `spacing` m apart, and the present one."""

    def __init__(self, poses: int, spacing: float) -> None:
        self._poses: deque[PoseStamped] = deque(maxlen=poses)
        self._spacing = spacing
        self.clear()

    def clear(self) -> None:
        self._poses.clear()
        self._place: np.ndarray = np.full(3, np.inf)

    def add(self, state: BaseState, frame: str) -> None:
        self._last = PoseStamped()
        messages.fill_header(self._last.header, state.stamp, frame)
        messages.fill_pose(self._last.pose, state.T)
        if not np.linalg.norm(state.T[:3, 3] - self._place) < self._spacing:
            self._poses.append(self._last)
            self._place = state.T[:3, 3].copy()

    def message(self) -> Path:
        poses = list(self._poses)
        return Path(
            header=self._last.header, poses=poses if poses[-1] is self._last else [*poses, self._last]
        )


class TransformOutput:
    """Publishes `frame` -> `child` by `publisher` on /tf, and complains where somebody else does too."""

    def __init__(
        self, node: Node, publisher: Any, frame: str, child: str, complain: Callable[[str], None]
    ) -> None:
        self._node, self._publisher, self.complain = node, publisher, complain
        self._frame, self._child = frame, child
        self._sent: deque[tuple[int, float, float]] = deque(maxlen=REMEMBERED)
        self._subscription = node.create_subscription(TFMessage, "/tf", self._receive, QoSProfile(depth=100))

    def destroy(self) -> None:
        self._node.destroy_subscription(self._subscription)

    def send(self, state: BaseState) -> None:
        transform = TransformStamped(child_frame_id=self._child)
        messages.fill_header(transform.header, state.stamp, self._frame)
        messages.fill_transform(transform.transform, state.T)
        self._sent.append(_key(transform))
        self._publisher.publish(TFMessage(transforms=[transform]))

    def _receive(self, message: TFMessage) -> None:
        for each in message.transforms:
            if each.child_frame_id != self._child:
                continue
            if each.header.frame_id == self._frame and _key(each) in self._sent:
                continue
            self.complain(self._rivalry(each.header.frame_id))

    def _rivalry(self, parent: str) -> str:
        publishers = self._node.get_publishers_info_by_topic("/tf")
        others = sorted({each.node_name for each in publishers} - {self._node.get_name()})
        return (
            f"another node publishes the transform '{parent}' -> '{self._child}' too (on /tf: {', '.join(others)}): "
            "robots would jump between the two; set publish_tf false here or there"
        )


def _key(transform: TransformStamped) -> tuple[int, float, float]:
    """What tells our transforms from others."""
    return (
        messages.stamp_ns(transform.header),
        transform.transform.translation.x,
        transform.transform.rotation.z,
    )
