"""Depth images in, the motion of the robot out: the ROS face of OdometryEstimator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry as OdometryMessage
from nav_msgs.msg import Path
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from depth_ros.config import setting
from depth_ros.datatypes import Depth
from depth_ros.errors import DepthRosError
from depth_ros.estimators.odometry import OdometrySettings
from depth_ros.geometry import T_BODY_OPTICAL, pose_from
from depth_ros.nodes import life_cycle
from depth_ros.nodes.base_odometry import BaseOdometry
from depth_ros.nodes.base_track import BaseTrack
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.followers import Follower, hand_on, wanted
from depth_ros.nodes.odometry_output import OdometryOutput, PathMessage
from depth_ros.nodes.parameters import Parameters
from depth_ros.nodes.rgbd_input import RgbdInput


@dataclass(frozen=True)
class OdometryNodeSettings:
    """Parameters of odometry_node; those of OdometrySettings join them."""

    image_transport: str = setting(
        "raw", "how images come: `image` or `image/compressed`", choices=("raw", "compressed")
    )
    rectified: bool = setting(
        False, "images and depth are rectified already: P of camera_info describes them, D is ignored"
    )
    sync_tolerance: float = setting(
        0.02, "stamps of depth and image may differ by so much; the nearest are taken", "s", 0.0, 0.5
    )
    odom_frame: str = setting("odom", "frame that poses are given in")
    base_frame: str = setting(
        "base_link", "frame whose motion is given, placed by TF; empty: the camera's optical frame"
    )
    publish_tf: bool = setting(
        False, "publish the transform odom_frame -> base_frame; a robot has one publisher of it, often an EKF"
    )
    two_d: bool = setting(False, "the robot moves in a plane: z, roll and pitch stay zero")
    depth_scale: str = setting(
        "metric",
        "of the depth that comes; up_to_scale: poses go to odom_up_to_scale, and never to TF",
        choices=("metric", "up_to_scale"),
    )
    longest_gap: float = setting(
        2.0, "after so long without a frame odometry starts anew, at its last pose", "s", 0.05, 60.0
    )
    use_imu: bool = setting(False, "start from the rotation that `imu` measures between two frames")
    unwatched: bool = setting(False, "go on while nobody subscribes to the results", dynamic=True)
    path_poses: int = setting(500, "poses that `path` holds", "", 1, 100000)
    path_spacing: float = setting(0.1, "distance of the poses on `path`", "m", 0.0, 100.0)
    autostart: bool = setting(True, "configure and activate at start, without a life-cycle manager")


class OdometryNode(LifecycleNode):
    """Life-cycle node. In: `depth/image_rect`, `depth/camera_info`, `image`, `camera_info`, `imu`, `set_pose`.

    Out: `odom` (or `odom_up_to_scale`), `path`, `odometry/status`, on request /tf. Services: `reset_odom`,
    `pause_odom`, `resume_odom`. Results have the stamp of the depth. One thread; nothing is computed that nobody wants.
    estimator: OdometryEstimator or what is called and behaves like it. topics: False where a node of this process
    hands its depth to `take`. `followers` are handed depth and odometry of every frame. others: as of Parameters.
    """

    def __init__(
        self, estimator: Callable[..., Any], name: str = "odometry_node", topics: bool = True,
        others: Iterable[str] = (), **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **options)
        self._make_estimator, self._topics = estimator, topics
        self._estimator: Any = None
        self._outputs: dict[str, LifecyclePublisher] = {}
        self._input: RgbdInput | None = None
        self._odometry: BaseOdometry | None = None
        self._paused = False
        self.followers: list[Follower] = []
        self.parameters = Parameters(self, OdometryNodeSettings, OdometrySettings, others=others)
        self.diagnostics = Diagnostics(self, "odometry", self._values, self._silence)
        self.parameters.name_unknown(self.diagnostics.complain)

    def start(self) -> None:
        """Configure and activate, unless `autostart` leaves that to a life-cycle manager."""
        life_cycle.start(self, self.parameters.read(OdometryNodeSettings).autostart)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return life_cycle.configured(self, self._configure, self.diagnostics)

    def _configure(self) -> None:
        self._settings = settings = self.parameters.read(OdometryNodeSettings)
        motion = self.parameters.read(OdometrySettings)
        metric = settings.depth_scale == "metric"
        if settings.publish_tf and not metric:
            raise DepthRosError(
                "publish_tf is true and depth_scale 'up_to_scale': a transform has to be in metres; give a source of "
                "scale, or set publish_tf false"
            )
        if settings.two_d and not settings.base_frame:
            raise DepthRosError("two_d holds z, roll and pitch of base_frame, which is empty: name a frame")
        self._estimator = self._make_estimator(motion)
        # Without a base the odom frame lies in the camera, nevertheless as REP-103 has bodies: x forward, z up.
        start = np.eye(4) if settings.base_frame else T_BODY_OPTICAL
        longest = motion.extrapolate_for if motion.when_lost == "extrapolate" else 0.0
        self._track = BaseTrack(start, settings.two_d, longest)
        if metric:
            self._outputs["odom"] = self._advertise(OdometryMessage, "odom")
        else:
            self._outputs["odom"] = self._advertise(OdometryMessage, "odom_up_to_scale")
            self.diagnostics.complain("the depth has no absolute scale: `odom_up_to_scale` is not in metres")
        self._outputs["path"] = self._advertise(Path, "path")
        self._outputs["status"] = self._advertise(DiagnosticStatus, "odometry/status")
        if settings.publish_tf:
            self._outputs["tf"] = self._advertise(TFMessage, "/tf", 100)
        path = PathMessage(settings.path_poses, settings.path_spacing)
        self._output = OdometryOutput(
            self,
            self._outputs,
            settings.odom_frame,
            motion.when_lost,
            self._track,
            path,
            self.diagnostics.complain,
        )
        self._offered = [
            self.create_service(Trigger, "reset_odom", self._reset),
            self.create_service(Trigger, "pause_odom", self._pause),
            self.create_service(Trigger, "resume_odom", self._resume),
        ]
        self.parameters.locked = True

    def _advertise(self, kind: type, topic: str, kept: int = 1) -> LifecyclePublisher:
        return life_cycle.advertise(self, kind, topic, self.diagnostics.complain, kept)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        settings = self._settings
        self._odometry = BaseOdometry(
            self, self._estimator, self._track, settings.base_frame, settings.longest_gap, settings.use_imu,
            self.diagnostics.complain,
        )  # fmt: skip
        self._set_pose = self.create_subscription(PoseWithCovarianceStamped, "set_pose", self._on_pose, 1)
        source = "depth of this process"
        if self._topics:
            self._input = RgbdInput(
                self, settings.image_transport, settings.rectified, settings.sync_tolerance, self._on_pair,
                self.diagnostics.complain,
            )  # fmt: skip
            source = f"'{self._input.depth_image.topic}' and '{self._input.image.topic}'"
        self.diagnostics.awake()
        self.get_logger().info(f"{source} -> '{self._outputs['odom'].topic_name}'")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_shutdown(state)

    def _close_input(self) -> None:
        if self._odometry:
            self.destroy_subscription(self._set_pose)
            self._output.close()
            self._odometry.destroy()
        if self._input:
            self._input.destroy()
        self._input = self._odometry = None

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        for service in self._offered:
            self.destroy_service(service)
        self._estimator, self._outputs, self.parameters.locked = None, {}, False
        return TransitionCallbackReturn.SUCCESS

    def wanted(self) -> bool:
        """Whether a frame would be worked on now."""
        if not self._odometry or self._paused:
            return False
        always = "tf" in self._outputs or self.parameters.read(OdometryNodeSettings).unwatched
        return always or self._output.heard() or wanted(self.followers)

    def _on_pair(self, image: Any, depth: Any) -> None:
        self.diagnostics.awake()
        if not (self._input and self._odometry and self.wanted()):
            return
        started = time.perf_counter()
        try:
            decoded = self._input.depth(image, depth)
        except DepthRosError as error:
            self._odometry.reject(str(error))
            return
        self.take(decoded, started)

    def take(self, depth: Depth, started: float | None = None) -> None:
        """Odometry of one frame, published. started: time.perf_counter() when it was received."""
        self.diagnostics.awake()
        if not (self._odometry and self.wanted()):
            return
        decoded, begun = time.perf_counter(), self._odometry.begun
        started = started or decoded
        try:
            result = self._odometry.estimate(depth)
        except DepthRosError as error:
            self._odometry.reject(str(error))
            return
        if result is None:
            return
        estimated = time.perf_counter()
        found, state = result
        if self._odometry.begun > begun:
            self._output.path.clear()
        found = replace(found, milliseconds={"receive": 1000 * (decoded - started), **found.milliseconds})
        self._output.publish(found, state, self._odometry.base_of(depth))
        self.diagnostics.published(depth.stamp, started, estimated)
        hand_on(self.followers, depth, found)

    def _reset(self, request: Any, response: Any) -> Any:
        self._begin(at_start=True)
        response.success, response.message = True, "odometry starts anew, at its first pose"
        return response

    def _pause(self, request: Any, response: Any) -> Any:
        self._paused = True
        response.success, response.message = True, "paused: frames are left out until resume_odom"
        return response

    def _resume(self, request: Any, response: Any) -> Any:
        response.success = self._paused
        response.message = "goes on from the last pose" if self._paused else "was not paused"
        if self._paused:
            self._paused = False
            self._begin()
        return response

    def _begin(self, at_start: bool = False) -> None:
        """Start anew, at the first pose or at the last. An inactive node starts anew when it is activated."""
        self._output.path.clear()
        if self._odometry:
            self._odometry.begin(at_start)
        elif at_start:
            self._track.place()

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        """`set_pose`, as robot_localization has it and RViz's pose tool sends it: the base is there now."""
        frame, p, q = message.header.frame_id, message.pose.pose.position, message.pose.pose.orientation
        if frame not in ("", self._settings.odom_frame):
            self.diagnostics.complain(
                f"set_pose is in frame '{frame}' and is left out; '{self._settings.odom_frame}' is needed"
            )
        elif abs(np.linalg.norm([q.x, q.y, q.z, q.w]) - 1) > 0.01:
            self.diagnostics.complain("set_pose has a quaternion whose length is not 1 and is left out")
        else:
            self._begin()
            T = pose_from(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))
            self._track.place(T, np.array(message.pose.covariance).reshape(6, 6))

    def _silence(self) -> str:
        return self._input.silence() if self._input and not self._paused else ""

    def _values(self) -> dict[str, object]:
        """What the status says beside the figures. Called once a second."""
        values: dict[str, object] = {}
        if self._odometry:
            values |= {
                "state": "paused" if self._paused else self._output.state,
                "frames lost": self._output.lost,
            }
            values |= {"odometry began": self._odometry.begun, "rejected frames": self._odometry.rejected}
        if self._input:
            values |= {"dropped frames": self._input.dropped, "depth without an image": self._input.unpaired}
        return values


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop. 1 if a parameter given at start is not allowed."""
    from depth_ros.estimators.odometry import OdometryEstimator

    return life_cycle.run("odometry_node", lambda: [OdometryNode(OdometryEstimator)], args)


if __name__ == "__main__":
    raise SystemExit(main())
