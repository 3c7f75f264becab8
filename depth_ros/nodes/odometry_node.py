"""Depth images in, the motion of the robot out: the ROS face of OdometryEstimator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry as OdometryMessage
from nav_msgs.msg import Path
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from depth_ros.datatypes import Depth
from depth_ros.errors import DepthRosError
from depth_ros.estimators.odometry.base_frame import BaseTrack
from depth_ros.estimators.odometry.scale import Scale, ScaleSettings, in_metres
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.geometry import T_BODY_OPTICAL
from depth_ros.nodes import life_cycle
from depth_ros.nodes.base_odometry import BaseOdometry
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.downstream import Follower, hand_on, wanted
from depth_ros.nodes.inputs.rgbd import RgbdInput
from depth_ros.nodes.inputs.set_pose import SetPose
from depth_ros.nodes.odometry_settings import OdometryNodeSettings
from depth_ros.nodes.outputs.odometry import OdometryOutput, PathMessage
from depth_ros.nodes.parameters import Parameters


class OdometryNode(LifecycleNode):
    """Life-cycle node. In: `depth/image_rect`, `depth/camera_info`, `image`, `camera_info`, `set_pose`,
    and on request `imu`, `wheel_odom`.

    Out: `odom` (`odom_up_to_scale` as long as metres are unknown), `path`, `odometry/status`, on request /tf.
    Services: `reset_odom`, `pause_odom`, `resume_odom`. Results have the stamp of the depth. One thread; nothing is
    computed that nobody wants. estimator: OdometryEstimator or what is called and behaves like it. topics: False where
    a node of this process hands its depth to `take`. `followers` are handed depth and odometry of every frame in
    metres. others: as of Parameters.
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
        self.parameters = Parameters(
            self, OdometryNodeSettings, OdometrySettings, ScaleSettings, others=others
        )
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
        if settings.publish_tf and not settings.scaled:
            raise DepthRosError(
                "publish_tf is true and depth_scale 'up_to_scale': a transform has to be in metres; give "
                "camera_height, use_wheels or use_imu, or set publish_tf false"
            )
        if settings.two_d and not settings.base_frame:
            raise DepthRosError("two_d holds z, roll and pitch of base_frame, which is empty: name a frame")
        self._estimator = self._make_estimator(motion)
        # Without a base the odom frame lies in the camera, nevertheless as REP-103 has bodies: x forward, z up.
        start = np.eye(4) if settings.base_frame else T_BODY_OPTICAL
        longest = motion.extrapolate_for if motion.when_lost == "extrapolate" else 0.0
        self._track = BaseTrack(start, settings.two_d, longest)
        if settings.scaled:
            self._outputs["odom"] = self._advertise(OdometryMessage, "odom")
        if settings.depth_scale != "metric":
            self._outputs["unscaled"] = self._advertise(OdometryMessage, "odom_up_to_scale")
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
            self, self._estimator, self._track, settings, self.parameters.read(ScaleSettings),
            self.diagnostics.complain,
        )  # fmt: skip
        self._set_pose = SetPose(self, settings.odom_frame, self._on_pose, self.diagnostics.complain)
        source = "depth of this process"
        if self._topics:
            self._input = RgbdInput(
                self, settings.image_transport, settings.rectified, settings.sync_tolerance, self._on_pair,
                self.diagnostics.complain,
            )  # fmt: skip
            source = f"'{self._input.depth_image.topic}' and '{self._input.image.topic}'"
        self.diagnostics.awake()
        odom = self._outputs["odom" if settings.scaled else "unscaled"]
        self.get_logger().info(f"{source} -> '{odom.topic_name}'")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_shutdown(state)

    def _close_input(self) -> None:
        if self._odometry:
            self._set_pose.destroy()
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
            decoded = replace(decoded, baseline=self._settings.baseline or decoded.baseline)
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
        scale, base = self._odometry.scale, self._odometry.base_of(depth)
        if scale is None:
            self.diagnostics.complain("the depth has no absolute scale: `odom_up_to_scale` is not in metres")
        self._output.publish(found, state, base, scale is not None, self._status_values(scale))
        self.diagnostics.published(depth.stamp, started, estimated)
        if scale:
            hand_on(self.followers, in_metres(depth, scale), found)

    def _status_values(self, scale: Scale | None) -> dict[str, object]:
        """What the status says of the shutter, and of depth that is up to scale."""
        assert self._odometry
        readout = self._odometry.readout
        values: dict[str, object] = {
            "readout (ms)": f"{1e3 * readout.mean:.1f}",
            "readout std (ms)": f"{1e3 * readout.variance**0.5:.1f}",
        }
        if self._settings.depth_scale == "metric":
            return values
        if scale is None:
            return {**values, "scale": "unknown"}
        known = {"scale": f"{scale.value:.4f}", "scale std": f"{scale.std:.4f}", "scale from": scale.source}
        return values | known

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

    def _on_pose(self, T: np.ndarray, covariance: np.ndarray) -> None:
        self._begin()
        self._track.place(T, covariance)

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
    from depth_ros.estimators.odometry.estimator import OdometryEstimator

    return life_cycle.run("odometry_node", lambda: [OdometryNode(OdometryEstimator)], args)


if __name__ == "__main__":
    raise SystemExit(main())
