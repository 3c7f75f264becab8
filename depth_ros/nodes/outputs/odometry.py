"""Odometry output: pose and twist, path, and the status of each frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry as OdometryMessage
from nav_msgs.msg import Path

from depth_ros.datatypes import Pose
from depth_ros.estimators.odometry.base_frame import BaseState
from depth_ros.messages.fill import fill_header, fill_odometry, fill_pose, fill_twist
from depth_ros.nodes.base_odometry import BaseOdometryResult
from depth_ros.nodes.outputs.publishers import Publishers
from depth_ros.nodes.outputs.transform import TransformOutput
from depth_ros.nodes.topics import Topic

ODOMETRY_TOPICS = (
    Topic(
        "odom", OdometryMessage, "out", "Pose of base_frame in odom_frame, m, and its twist.",
        "depth_scale: metric, or a source of the scale",
    ),
    Topic(
        "odom_up_to_scale", OdometryMessage, "out", "The same in the unit of the depth, until the scale is known.",
        "depth_scale: up_to_scale",
    ),
    Topic("path", Path, "out", "The last poses, at some distance from each other."),
    Topic("odometry/status", DiagnosticStatus, "out", "State, inliers and run times of each frame."),
)  # fmt: skip
LEVELS = {"tracking": DiagnosticStatus.OK, "starting": DiagnosticStatus.WARN, "lost": DiagnosticStatus.ERROR}
LOST = {
    "stop": "nothing is published until it is found again",
    "extrapolate": "the pose is extrapolated for a limited time (extrapolation_timeout)",
    "null": "a null pose with a covariance of 9999 is published",
}
"""Consequence of a loss by `when_lost` of OdometrySettings."""


class OdometryOutput:
    """Fills and publishes those messages that have subscribers, and the transform if there is one.

    when_lost: of OdometrySettings. state: of the last frame. lost: number of lost frames.
    """

    def __init__(
        self,
        publishers: Publishers,
        odom_frame: str,
        when_lost: str,
        path: PathMessage,
        transform: TransformOutput | None,
        warn: Callable[[str], None],
    ) -> None:
        self._publishers, self._odom_frame, self._when_lost = publishers, odom_frame, when_lost
        self._path, self._transform, self._warn = path, transform, warn
        self._start = 0
        self.state, self.lost = "starting", 0

    def publish(self, result: BaseOdometryResult) -> None:
        """Publish one frame."""
        odometry, state = result.odometry, result.state
        if result.start != self._start:
            self._path.clear()
            self._start = result.start
        self.state = odometry.state
        topic = "odom" if result.scale else "odom_up_to_scale"
        is_lost = odometry.state == "lost"
        if is_lost:
            self.lost += 1
            self._warn(f"odometry is lost: {LOST[self._when_lost]}")
            if self._when_lost == "null" and self._publishers.has_subscribers(topic):
                self._publishers.publish(
                    topic, null_message(state.stamp, self._odom_frame, result.base_frame)
                )
        if not is_lost or (self._when_lost == "extrapolate" and result.is_valid):
            self._publish_pose(state, result.base_frame, topic)
        if self._publishers.has_subscribers("odometry/status"):
            self._publishers.publish("odometry/status", status_message(result, self.lost))

    def _publish_pose(self, state: BaseState, base_frame: str, topic: str) -> None:
        if self._publishers.has_subscribers(topic):
            self._publishers.publish(topic, odometry_message(state, self._odom_frame, base_frame))
        if topic == "odom" and self._transform:
            self._transform.publish(state, base_frame)
        self._path.add(state, self._odom_frame)
        if self._publishers.has_subscribers("path"):
            self._publishers.publish("path", self._path.message())


def odometry_message(state: BaseState, odom_frame: str, base_frame: str) -> OdometryMessage:
    """Pose in `odom_frame`, twist in `base_frame`, and both covariances."""
    message = OdometryMessage()
    fill_odometry(message, Pose(state.stamp, state.T, state.covariance), odom_frame, base_frame)
    fill_twist(message.twist, state.twist, state.twist_covariance)
    return message


def null_message(stamp: int, odom_frame: str, base_frame: str) -> OdometryMessage:
    """Odometry that is lost, as in rtabmap_ros: all zero, the quaternion too, with UNKNOWN_VARIANCE."""
    message = odometry_message(BaseState(stamp), odom_frame, base_frame)
    message.pose.pose.orientation.w = 0.0
    return message


def status_message(result: BaseOdometryResult, lost: int) -> DiagnosticStatus:
    """State, inliers, readout time, scale and run times of one frame. lost: number of lost frames."""
    odometry, readout = result.odometry, result.readout_time
    pairs: dict[str, object] = {
        "stamp (ns)": odometry.stamp,
        "inliers (%)": f"{100 * odometry.inlier_ratio:.1f}",
        "readout (ms)": f"{1e3 * readout.mean:.1f}",
        "readout std (ms)": f"{1e3 * readout.variance**0.5:.1f}",
        **scale_values(result),
        "frames lost": lost,
    }
    pairs |= {f"{stage} (ms)": f"{value:.2f}" for stage, value in odometry.milliseconds.items()}
    return DiagnosticStatus(
        level=LEVELS[odometry.state], name="odometry", message=odometry.state, hardware_id="depth_ros",
        values=[KeyValue(key=key, value=str(value)) for key, value in pairs.items()],
    )  # fmt: skip


def scale_values(result: BaseOdometryResult) -> dict[str, object]:
    """Estimated scale of up-to-scale depth; empty for metric depth."""
    scale = result.scale
    if scale is None:
        return {"scale": "unknown"}
    if scale.source == "depth":
        return {}
    return {"scale": f"{scale.value:.4f}", "scale std": f"{scale.std:.4f}", "scale from": scale.source}


class PathMessage:
    """The last `max_poses` poses that are at least `spacing` m apart, and the current one."""

    def __init__(self, max_poses: int, spacing: float) -> None:
        self._poses: deque[PoseStamped] = deque(maxlen=max_poses)
        self._spacing = spacing
        self.clear()

    def clear(self) -> None:
        """Remove all poses."""
        self._poses.clear()
        self._last_position: np.ndarray = np.full(3, np.inf)

    def add(self, state: BaseState, odom_frame: str) -> None:
        """Set the current pose."""
        self._current = PoseStamped()
        fill_header(self._current.header, state.stamp, odom_frame)
        fill_pose(self._current.pose, state.T)
        if not np.linalg.norm(state.T[:3, 3] - self._last_position) < self._spacing:
            self._poses.append(self._current)
            self._last_position = state.T[:3, 3].copy()

    def message(self) -> Path:
        """The path up to the current pose."""
        poses = list(self._poses)
        if poses[-1] is not self._current:
            poses.append(self._current)
        return Path(header=self._current.header, poses=poses)
