"""Depth node: metric depth and point clouds from the images of one camera."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.lifecycle import LifecycleNode, ManagedEntity
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from depth_ros.card import Card, cards
from depth_ros.config import setting
from depth_ros.datatypes import Depth, Frame
from depth_ros.engine import EngineProvider, EngineSettings, EngineStatus, serve_engine
from depth_ros.errors import DepthRosError
from depth_ros.estimators.clouds import CloudSettings
from depth_ros.estimators.depth import TASKS
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.estimators.odometry.scale import METRIC, Scale, in_metres
from depth_ros.nodes import life_cycle
from depth_ros.nodes.depth_check import DepthCheck
from depth_ros.nodes.diagnostics import Diagnostics, Rate, Timing, engine_values
from depth_ros.nodes.downstream import Downstream, ScaleSource, forward_to, is_needed, restart
from depth_ros.nodes.inputs.camera import CameraInput, CameraSettings, ImageMessage
from depth_ros.nodes.inputs.odometry import OdometryInput
from depth_ros.nodes.inputs.transforms import Transforms
from depth_ros.nodes.life_cycle import LifeCycle, LifeCycleSettings
from depth_ros.nodes.model_swap import Hooks, ModelSwap, check_card
from depth_ros.nodes.odometry_fusion import MAX_GAP, MotionSource, OdometryFusion
from depth_ros.nodes.outputs.clouds import CLOUD_TOPICS, CloudOutput
from depth_ros.nodes.outputs.depth import (
    DEPTH_TOPICS,
    UP_TO_SCALE,
    UP_TO_SCALE_TOPICS,
    DepthOutput,
    DepthOutputSettings,
)
from depth_ros.nodes.outputs.publishers import Publishers
from depth_ros.nodes.parameters import Parameters
from depth_ros.nodes.topics import Topic
from depth_ros.nodes.worker import FrameProcessor, Worker

TOPICS = (
    Topic("image", Image, "in", "Images.", "image_transport: raw"),
    Topic("image/compressed", CompressedImage, "in", "Compressed images.", "image_transport: compressed"),
    Topic("camera_info", CameraInfo, "in", "Calibration of the camera."),
    Topic(
        "odom",
        OdometryMessage,
        "in",
        "Odometry of the robot, for the motion of the camera.",
        "temporal_fusion",
    ),
    Topic("/tf_static", TFMessage, "in", "Mounting pose of the camera, for base_frame, scan_frame and odom."),
    Topic("/tf", TFMessage, "in", "The same for moving joints."),
    *DEPTH_TOPICS,
    *CLOUD_TOPICS,
    *UP_TO_SCALE_TOPICS,
)


_ON_UP_TO_SCALE_TOPICS = (
    "depth and points are on depth_up_to_scale/image_rect and points_up_to_scale, not in metres"
)
SCALE_UNKNOWN = f"the scale of the depth is not known yet: {_ON_UP_TO_SCALE_TOPICS}"
NO_SCALE_SOURCE = (
    f"the model has no absolute scale: {_ON_UP_TO_SCALE_TOPICS}; perception_node finds the scale with camera_height, "
    "use_wheel_odometry or use_imu"
)


@dataclass(frozen=True)
class DepthNodeSettings:
    """Parameters of depth_node only."""

    model: str = setting(
        "mono",
        "Depth model: a name listed by `depth_ros models`, or the path of a folder with a card.yaml. While the node is "
        "configured, another one is loaded in the background and then takes over.",
        dynamic=True,
    )
    temporal_fusion: bool = setting(
        False,
        "Fuse the published depth with that of the images before, moved by the motion of the camera from `odom`, so "
        "that it flickers less. The motion has to be known before the depth: wheel odometry or an EKF, not "
        "odometry_node.",
    )


SETTINGS = (
    DepthNodeSettings, CameraSettings, FilterSettings, CloudSettings, DepthOutputSettings, EngineSettings,
    LifeCycleSettings,
)  # fmt: skip
"""The parameters of depth_node are the fields of these."""


class DepthEstimatorLike(Protocol):
    """`DepthEstimator`, or another source of depth images."""

    card: Card

    @property
    def engine_status(self) -> EngineStatus: ...

    def prepare(self, width: int, height: int) -> object: ...

    def estimate(self, frame: Frame) -> Depth: ...


MakeDepthEstimator = Callable[[str, EngineSettings, EngineProvider], DepthEstimatorLike]


class DepthNode(LifecycleNode):
    """Life-cycle node with the topics `TOPICS`.

    Results have the stamp and the frame_id of their image, and the size at which the model works. Nothing is computed
    without a subscriber or a node downstream that needs it. `downstream` receives every Depth. Depth of a model of
    scale up_to_scale is published in metres while `scale_source` knows the scale, otherwise on `UP_TO_SCALE_TOPICS`.
    motion_source: a node downstream, whose motion temporal fusion takes in place of `odom`.
    make_estimator: DepthEstimator or a function like it. other_parameters: as in Parameters. arguments: as those of the
    command line, for this node alone. Raises DepthRosError if a parameter is started with an invalid value.
    """

    def __init__(
        self,
        make_estimator: MakeDepthEstimator,
        worker: Worker,
        name: str = "depth_node",
        other_parameters: Iterable[str] = (),
        arguments: list[str] | None = None,
    ) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True, cli_args=arguments)
        self._make_estimator = make_estimator
        self._estimator: DepthEstimatorLike | None = None
        self._fusion: OdometryFusion | None = None
        self._image_size: tuple[int, int] | None = None
        self._input_rate = Rate()
        self.downstream: list[Downstream[Depth]] = []
        self.scale_source: ScaleSource | None = None
        self.motion_source: MotionSource | None = None
        self.parameters = Parameters(self, *SETTINGS, other_parameters=other_parameters)
        self.diagnostics = Diagnostics(self, "depth", self._values, self._no_input_reason)
        self.parameters.warn_about_unknown(self.diagnostics.warn)
        self._transforms = Transforms(self)
        self._depth_check = DepthCheck(self._transforms, self.diagnostics.warn)
        self._processor = FrameProcessor(worker, self.diagnostics, self._publish, self._forward)
        hooks = Hooks(self._check_model, self._load, self._prepare, self._install)
        self._swap = ModelSwap("model", self.parameters, self.diagnostics, self._processor, hooks)
        self.life_cycle = LifeCycle(self, self.parameters, self.diagnostics, self._configure, self._release)

    def _configure(self) -> list[ManagedEntity]:
        settings = self.parameters.read(DepthNodeSettings)
        model = settings.model
        self._estimator = self._load(model, serve_engine)
        self._swap.configured(model)
        is_metric, warn = self._estimator.card.scale == "metric", self.diagnostics.warn
        topics = [topic for topic in TOPICS if not is_metric or topic not in UP_TO_SCALE_TOPICS]
        self._outputs = Publishers(self, topics, warn)
        self._output = DepthOutput(self._outputs, warn)
        self._up_to_scale_output = DepthOutput(self._outputs, warn, UP_TO_SCALE)
        self._clouds = CloudOutput(self._outputs, self._transforms, warn)
        self._input = CameraInput(self, self.parameters.read(CameraSettings), self._on_image, warn)
        self.get_logger().info(f"depth of '{self._input.topic}' by model {model}")
        parts: list[ManagedEntity] = [self._outputs, self._transforms, self._processor]
        if settings.temporal_fusion and self.motion_source:
            self._fusion = OdometryFusion(self.motion_source, warn)
        elif settings.temporal_fusion:
            odometry = OdometryInput(self, MAX_GAP, lambda: None, warn)
            self._fusion = OdometryFusion(odometry, warn)
            parts.append(odometry)
        return [*parts, self._input]

    def _check_model(self, model: str) -> None:
        check_card(model, TASKS, self._estimator.card.scale if self._estimator else "")

    def _load(self, model: str, provider: EngineProvider) -> DepthEstimatorLike:
        estimator = self._make_estimator(model, self.parameters.read(EngineSettings), provider)
        if estimator.card.scale == "affine_inverse":
            metric = [card.name for card in cards() if card.task == "depth" and card.scale == "metric"]
            raise DepthRosError(
                f"model '{model}' estimates relative inverse depth (scale affine_inverse), which cannot be converted "
                f"to metres; choose a metric one: {', '.join(metric)}"
            )
        if names := estimator.card.extra_inputs:
            self.get_logger().warning(
                f"model '{model}' takes {', '.join(names)} beside the image, which the node does not make: its depth "
                "is that of the image alone; use `depth_ros replay` on a recording"
            )
        return estimator

    def _prepare(self, estimator: DepthEstimatorLike) -> None:
        if self._image_size:
            estimator.prepare(*self._image_size)

    def _install(self, estimator: DepthEstimatorLike) -> None:
        self._estimator = estimator
        self._depth_check.reset()
        if self._fusion:
            self._fusion.reset()
        restart(self.downstream)

    def _release(self) -> None:
        self._swap.cancel()
        self._estimator = self._fusion = None

    def _on_image(self, message: ImageMessage) -> None:
        self.diagnostics.frame_received()
        if self._outputs.has_subscribers() or is_needed(self.downstream):
            self._processor.submit(partial(self._estimate, message))

    def _estimate(self, message: ImageMessage) -> Depth:
        assert self._estimator
        frame = self._input.frame(message)
        self._image_size = frame.camera.width, frame.camera.height
        depth = self._estimator.estimate(frame)
        if self._needs_motion:
            forward_to(self.downstream, depth)
        return depth

    @property
    def _needs_motion(self) -> bool:
        """Whether the nodes downstream process a frame before it is published."""
        return self._fusion is not None and self.motion_source is not None

    def is_odometry_needed(self) -> bool:
        """Whether scale or motion are needed to publish depth."""
        is_up_to_scale = self._estimator is not None and self._estimator.card.scale != "metric"
        is_needed_here = is_up_to_scale or self._needs_motion
        return is_needed_here and self.life_cycle.is_active and self._outputs.has_subscribers()

    def _publish(self, depth: Depth, timing: Timing) -> None:
        if self.life_cycle.is_too_old(depth.stamp):
            return
        if self._outputs.has_subscribers():
            if scale := self.scale:
                self._publish_metric(in_metres(depth, scale))
            else:
                self._publish_up_to_scale(depth)
        self.diagnostics.published(depth.stamp, timing)

    @property
    def scale(self) -> Scale | None:
        """Metres per unit of depth; None while it is unknown."""
        if self._estimator and self._estimator.card.scale == "metric":
            return METRIC
        return self.scale_source.scale if self.scale_source else None

    def _publish_metric(self, depth: Depth) -> None:
        if self._fusion:  # nodes downstream get each image alone: their errors are to be independent
            depth = self._fusion.fused(depth)
        filters = self.parameters.read(FilterSettings)
        kept = filtered(depth, filters)
        self._depth_check.check(depth, kept, filters, self._swap.running)
        self._output.publish(depth, kept, self.parameters.read(DepthOutputSettings))
        self._clouds.publish(depth, kept, filters, self.parameters.read(CloudSettings))

    def _publish_up_to_scale(self, depth: Depth) -> None:
        """Publish depth of unknown scale without the filters in metres, never as 16UC1, which means millimetres."""
        filters = replace(self.parameters.read(FilterSettings), min_depth=0.0, max_depth=math.inf)
        settings = replace(self.parameters.read(DepthOutputSettings), depth_encoding="32FC1")
        self._up_to_scale_output.publish(depth, filtered(depth, filters), settings)
        self.diagnostics.warn(SCALE_UNKNOWN if self.scale_source else NO_SCALE_SOURCE)

    def _forward(self, depth: Depth) -> None:
        if not self._needs_motion:
            forward_to(self.downstream, depth)

    def _no_input_reason(self) -> str:
        return self._input.no_input_reason() if self.life_cycle.is_active else ""

    def _values(self) -> dict[str, object]:
        """Values of the status, once a second."""
        engine = engine_values(self._estimator.engine_status) if self._estimator else {}
        values = self._swap.values() | engine
        if self.life_cycle.is_active:
            rate = self._input_rate.of(self._input.received + self._input.dropped)
            values["input rate (Hz)"] = f"{rate:.1f}"
            values["dropped frames"] = self._input.dropped + self._processor.dropped
            values |= self._outputs.latency_values() | self._depth_check.values
        return values


def main(args: list[str] | None = None) -> int:
    """Run the node. Returns 1 if a parameter is started with an invalid value."""

    def make(worker: Worker) -> list[DepthNode]:
        from depth_ros.estimators.depth import DepthEstimator

        return [DepthNode(DepthEstimator, worker)]

    return life_cycle.run("depth_node", make, args)


if __name__ == "__main__":
    raise SystemExit(main())
