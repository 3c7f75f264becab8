"""Odometry node: pose and velocity of the robot from depth images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.lifecycle import LifecycleNode, ManagedEntity
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu
from tf2_msgs.msg import TFMessage

from depth_ros.datatypes import Depth, Motion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.odometry.base_frame import BaseFramePose
from depth_ros.estimators.odometry.scale import Scale, ScaleSettings, in_metres
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.geometry import T_BODY_OPTICAL
from depth_ros.nodes import life_cycle
from depth_ros.nodes.base_odometry import BaseOdometry, BaseOdometryResult, OdometryEstimatorLike
from depth_ros.nodes.diagnostics import Diagnostics, Timing
from depth_ros.nodes.downstream import (
    DepthSource,
    DepthWithOdometry,
    Downstream,
    forward_to,
    is_needed,
    restart,
)
from depth_ros.nodes.inputs.camera import CameraSettings, ImageMessage
from depth_ros.nodes.inputs.rgbd import RgbdInput
from depth_ros.nodes.inputs.set_pose import SetPose
from depth_ros.nodes.life_cycle import LifeCycle, LifeCycleSettings
from depth_ros.nodes.odometry_services import OdometryServices
from depth_ros.nodes.odometry_settings import OdometryNodeSettings
from depth_ros.nodes.outputs.odometry import ODOMETRY_TOPICS, OdometryOutput, PathMessage
from depth_ros.nodes.outputs.publishers import Publishers
from depth_ros.nodes.outputs.transform import TRANSFORM_TOPIC, TransformOutput, tf2_ros
from depth_ros.nodes.parameters import Parameters
from depth_ros.nodes.topics import Topic
from depth_ros.nodes.worker import FrameProcessor, Worker

TOPICS = (
    Topic("depth/image_rect", Image, "in", "Depth images, 32FC1 in m or 16UC1 in mm."),
    Topic("depth/camera_info", CameraInfo, "in", "Calibration of the depth images."),
    Topic("image", Image, "in", "Images of the same view.", "image_transport: raw"),
    Topic("image/compressed", CompressedImage, "in", "Compressed images of the same view.",
          "image_transport: compressed"),
    Topic("camera_info", CameraInfo, "in", "Calibration of the images."),
    Topic("set_pose", PoseWithCovarianceStamped, "in", "Pose of base_frame in odom_frame, to continue from."),
    Topic("imu", Imu, "in", "Angular velocities and accelerations.", "use_imu"),
    Topic("wheel_odom", OdometryMessage, "in", "Wheel odometry.", "use_wheel_odometry"),
    Topic("/tf_static", TFMessage, "in", "Mounting poses of camera and IMU."),
    Topic("/tf", TFMessage, "in", "The same for moving joints."),
    *ODOMETRY_TOPICS,
    TRANSFORM_TOPIC,
)  # fmt: skip

SETTINGS = (OdometryNodeSettings, CameraSettings, OdometrySettings, ScaleSettings, LifeCycleSettings)
"""The parameters of odometry_node are the fields of these."""


class OdometryNode(LifecycleNode):
    """Life-cycle node with the topics `TOPICS` and the services `reset_odom`, `pause_odom` and `resume_odom`.

    Results have the stamp of the depth image. Nothing is computed without a subscriber or a node downstream that needs
    it. `downstream` receives depth and odometry of every frame in metres. is_needed_upstream: whether a node upstream
    needs `scale` or `motion` now. make_estimator: OdometryEstimator or a function like it. other_parameters: as in
    Parameters. Raises DepthRosError if a parameter is started with an invalid value.
    """

    def __init__(
        self, make_estimator: Callable[[OdometrySettings], OdometryEstimatorLike], worker: Worker,
        name: str = "odometry_node", source: DepthSource = DepthSource.TOPICS, other_parameters: Iterable[str] = (),
        parameter_overrides: list[Parameter] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            name,
            automatically_declare_parameters_from_overrides=True,
            parameter_overrides=parameter_overrides,
        )
        self._make_estimator, self._source = make_estimator, source
        self._input: RgbdInput | None = None
        self._odometry: BaseOdometry | None = None
        self.downstream: list[Downstream[DepthWithOdometry]] = []
        self.is_needed_upstream: Callable[[], bool] = lambda: False
        self._motion: Motion | None = None
        self.parameters = Parameters(self, *SETTINGS, other_parameters=other_parameters)
        self.diagnostics = Diagnostics(self, "odometry", self._values, self._no_input_reason)
        self.parameters.warn_about_unknown(self.diagnostics.warn)
        self._processor = FrameProcessor(
            worker, self.diagnostics, self._publish, self._forward, begin=self._restart
        )
        self._odometry_services = OdometryServices(
            self,
            on_reset=lambda: self._processor.command(self._reset),
            on_pause=self._processor.discard,
            on_resume=lambda: self._processor.command(self._restart),
        )
        self.life_cycle = LifeCycle(self, self.parameters, self.diagnostics, self._configure, self._release)

    def _configure(self) -> list[ManagedEntity]:
        self._settings = settings = self.parameters.read(OdometryNodeSettings)
        motion, warn = self.parameters.read(OdometrySettings), self.diagnostics.warn
        _check_consistency(settings)
        # Without a base_frame the odom frame starts in the camera, with the axes of a body (REP-103): x forward, z up.
        initial = np.eye(4) if settings.base_frame else T_BODY_OPTICAL
        max_extrapolation = motion.extrapolation_timeout if motion.when_lost == "extrapolate" else 0.0
        pose = BaseFramePose(initial, settings.two_d_mode, max_extrapolation)
        self._odometry = odometry = BaseOdometry(
            self, self._make_estimator(motion), pose, settings, self.parameters.read(ScaleSettings), warn
        )
        self._outputs = Publishers(self, _published_topics(settings), warn)
        transforms = []
        if settings.publish_tf:
            transforms.append(TransformOutput(self, self._outputs, settings.odom_frame, warn))
        path = PathMessage(settings.path_poses, settings.path_spacing)
        self._output = OdometryOutput(
            self._outputs,
            settings.odom_frame,
            motion.when_lost,
            path,
            transforms[0] if transforms else None,
            warn,
        )
        set_pose = SetPose(self, settings.odom_frame, self._on_pose, warn)
        parts = [
            self._outputs,
            *transforms,
            *odometry.inputs,
            self._processor,
            self._odometry_services,
            set_pose,
        ]
        if self._source is DepthSource.UPSTREAM_NODE:
            return parts
        self._input = RgbdInput(
            self,
            self.parameters.read(CameraSettings),
            settings.approximate_sync_tolerance_seconds,
            self._on_pair,
            warn,
        )
        self.get_logger().info(
            f"odometry of '{self._input.depth_image.topic}' and '{self._input.image.topic}'"
        )
        return [*parts, self._input]

    def _release(self) -> None:
        self._odometry = self._input = None

    def is_needed(self) -> bool:
        """Whether a frame would be processed now."""
        if not self.life_cycle.is_active or self._odometry_services.is_paused:
            return False
        always = (
            self._settings.publish_tf or self.parameters.read(OdometryNodeSettings).run_without_subscribers
        )
        is_needed_here = always or self._outputs.has_subscribers() or self.is_needed_upstream()
        return is_needed_here or is_needed(self.downstream)

    @property
    def scale(self) -> Scale | None:
        """Metres per unit of depth; None while it is unknown, and while no frames are processed."""
        is_processing = self.life_cycle.is_active and not self._odometry_services.is_paused
        return self._odometry.scale if is_processing and self._odometry else None

    def motion(self, camera_frame: str, old: int, new: int) -> Motion | None:
        """Motion of the camera, m, if it is that between the last two frames; read in the worker thread."""
        found = self._motion
        return found if found and (found.stamp_old, found.stamp_new) == (old, new) else None

    def restart(self) -> None:
        """Begin anew at the last pose: later depth comes from another model."""
        self._processor.command(self._restart)
        restart(self.downstream)

    def take(self, result: Depth) -> None:
        """Process the depth of a node upstream, in the worker thread."""
        self.diagnostics.frame_received()
        self._processor.run(partial(self._estimate, result))

    def _on_pair(self, image: ImageMessage, depth: Image) -> None:
        self.diagnostics.frame_received()
        if self.is_needed():
            self._processor.submit(partial(self._estimate_pair, image, depth, time.perf_counter()))

    def _estimate_pair(self, image: ImageMessage, depth: Image, received: float) -> BaseOdometryResult:
        assert self._input
        decoded = self._input.depth(image, depth)
        decoded = replace(decoded, baseline=self._settings.baseline or decoded.baseline)
        return self._estimate(decoded, 1000 * (time.perf_counter() - received))

    def _estimate(self, depth: Depth, receive_milliseconds: float = 0.0) -> BaseOdometryResult:
        assert self._odometry
        self._motion = None
        result = self._odometry.estimate(depth)
        self._motion = result.odometry.motion if result.scale else None
        milliseconds = {"receive": receive_milliseconds, **result.odometry.milliseconds}
        return replace(result, odometry=replace(result.odometry, milliseconds=milliseconds))

    def _publish(self, result: BaseOdometryResult, timing: Timing) -> None:
        if self.life_cycle.is_too_old(result.odometry.stamp):
            return
        if result.scale is None:
            self.diagnostics.warn("the scale of the depth is unknown: odom_up_to_scale is not in metres")
        self._output.publish(result)
        self.diagnostics.published(result.odometry.stamp, timing)

    def _forward(self, result: BaseOdometryResult) -> None:
        if result.scale:
            depth = in_metres(result.depth, result.scale)
            forward_to(self.downstream, DepthWithOdometry(depth, result.odometry))

    def _on_pose(self, T_odom_base: np.ndarray, covariance: np.ndarray) -> None:
        if self._odometry:
            self._processor.command(partial(self._odometry.set_pose, T_odom_base, covariance))

    def _reset(self) -> None:
        if self._odometry:
            self._odometry.reset()

    def _restart(self) -> None:
        if self._odometry:
            self._odometry.restart()

    def _no_input_reason(self) -> str:
        if not (self.life_cycle.is_active and self._input) or self._odometry_services.is_paused:
            return ""
        return self._input.no_input_reason()

    def _values(self) -> dict[str, object]:
        """Values of the status, once a second."""
        if not (self.life_cycle.is_active and self._odometry):
            return {}
        values: dict[str, object] = {
            "state": "paused" if self._odometry_services.is_paused else self._output.state,
            "frames lost": self._output.lost,
            "odometry starts": self._odometry.starts,
        }
        if self._input:
            values["dropped frames"] = self._input.dropped + self._processor.dropped
            values["depth images without an image"] = self._input.unpaired
        return values | self._outputs.latency_values()


def _check_consistency(settings: OdometryNodeSettings) -> None:
    """Raises DepthRosError if parameters contradict each other."""
    if settings.publish_tf and not settings.has_metric_scale:
        raise DepthRosError(
            "publish_tf is true and depth_scale is 'up_to_scale', but transforms have to be in metres: set "
            "camera_height, use_wheel_odometry or use_imu, or set publish_tf to false"
        )
    if settings.two_d_mode and not settings.base_frame:
        raise DepthRosError("two_d_mode constrains the motion of base_frame, which is empty: set base_frame")


def _published_topics(settings: OdometryNodeSettings) -> list[Topic]:
    """The topics whose condition is met."""
    conditions = {
        "odom": settings.has_metric_scale,
        "odom_up_to_scale": settings.depth_scale != "metric",
        "/tf": settings.publish_tf and not tf2_ros,  # which has its own publisher
    }
    return [topic for topic in TOPICS if conditions.get(topic.name, True)]


def main(args: list[str] | None = None) -> int:
    """Run the node. Returns 1 if a parameter is started with an invalid value."""

    def make(worker: Worker) -> list[OdometryNode]:
        from depth_ros.estimators.odometry.estimator import OdometryEstimator

        return [OdometryNode(OdometryEstimator, worker)]

    return life_cycle.run("odometry_node", make, args)


if __name__ == "__main__":
    raise SystemExit(main())
