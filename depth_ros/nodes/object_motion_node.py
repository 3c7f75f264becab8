"""Object motion node: moving objects and their velocities from depth images."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.lifecycle import LifecycleNode, ManagedEntity
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from depth_ros.datatypes import Camera, Depth, Motion, ObjectMotion, Odometry
from depth_ros.engine import EngineProvider, EngineSettings, EngineStatus, serve_engine
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.estimator import ObjectMotionSettings
from depth_ros.estimators.object_motion.pending_pairs import MAX_PENDING, PendingPairs
from depth_ros.messages.decode import labels_from, stamp_ns
from depth_ros.nodes import life_cycle
from depth_ros.nodes.base_odometry import OdometryEstimatorLike
from depth_ros.nodes.diagnostics import Diagnostics, Timing, engine_values
from depth_ros.nodes.downstream import DepthSource, DepthWithOdometry
from depth_ros.nodes.inputs.camera import CameraSettings, ImageMessage
from depth_ros.nodes.inputs.labels import LabelInput
from depth_ros.nodes.inputs.odometry import OdometryInput
from depth_ros.nodes.inputs.rgbd import RgbdInput
from depth_ros.nodes.life_cycle import LifeCycle, LifeCycleSettings
from depth_ros.nodes.model_swap import Hooks, ModelSwap, check_card
from depth_ros.nodes.object_motion_settings import ObjectMotionNodeSettings
from depth_ros.nodes.outputs.object_motion import OBJECT_MOTION_TOPICS, ObjectMotionOutput
from depth_ros.nodes.outputs.publishers import Publishers
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
    Topic("odom", OdometryMessage, "in", "Odometry of the robot.", "ego_motion: odom"),
    Topic("labels", Image, "in", "Instance label images; 0 = background.", "use_labels"),
    Topic("/tf_static", TFMessage, "in", "Mounting pose of the camera.", "ego_motion: odom"),
    Topic("/tf", TFMessage, "in", "The same for moving joints.", "ego_motion: odom"),
    *OBJECT_MOTION_TOPICS,
)  # fmt: skip


SETTINGS = (ObjectMotionNodeSettings, CameraSettings, ObjectMotionSettings, EngineSettings, LifeCycleSettings)
"""The parameters of object_motion_node are the fields of these."""


class ObjectMotionEstimatorLike(Protocol):
    """`ObjectMotionEstimator`, or another source of object motion."""

    def estimate(
        self, older: Depth, newer: Depth, motion: Motion, labels: np.ndarray | None = None
    ) -> list[ObjectMotion]: ...


@runtime_checkable
class ObjectMotionEngine(Protocol):
    """An estimator with a network: `ObjectMotionNetwork`."""

    @property
    def engine_status(self) -> EngineStatus: ...

    def prepare(self, camera: Camera) -> None: ...


@dataclass(frozen=True)
class Estimators:
    """Constructors of the estimators: ObjectMotionEstimator and OdometryEstimator, or functions like them."""

    object_motion: Callable[[ObjectMotionSettings], ObjectMotionEstimatorLike]
    odometry: Callable[[], OdometryEstimatorLike]


@dataclass(frozen=True)
class Result:
    """Moving objects of one frame. received: time.perf_counter() of its image."""

    depth: Depth
    objects: list[ObjectMotion]
    received: float


class ObjectMotionNode(LifecycleNode):
    """Life-cycle node with the topics `TOPICS`.

    Velocities are relative to the ground, in the optical frame of the image, like all results: they are free of the
    drift of odometry, and TF transforms them to any other frame. Nothing is computed without a subscriber.
    other_parameters: as in Parameters. Raises DepthRosError if a parameter is started with an invalid value.
    """

    def __init__(
        self, estimators: Estimators, worker: Worker, name: str = "object_motion_node",
        source: DepthSource = DepthSource.TOPICS, other_parameters: Iterable[str] = (),
        parameter_overrides: list[Parameter] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            name,
            automatically_declare_parameters_from_overrides=True,
            parameter_overrides=parameter_overrides,
        )
        self._estimators, self._source = estimators, source
        self._estimator: ObjectMotionEstimatorLike | None = None
        self._odometry: OdometryEstimatorLike | None = None
        self._rgbd: RgbdInput | None = None
        self._odometry_input: OdometryInput | None = None
        self._pairs: PendingPairs[Image] = PendingPairs(0.0, None, None)
        self._new_labels: deque[Image] = deque(maxlen=MAX_PENDING)  # from the executor to the worker thread
        self._camera: Camera | None = None  # of the last depth image
        self._is_requested = False
        self._num_objects = 0
        self.parameters = Parameters(self, *SETTINGS, other_parameters=other_parameters)
        self.diagnostics = Diagnostics(self, "object motion", self._values, self._no_input_reason)
        self.parameters.warn_about_unknown(self.diagnostics.warn)
        self._outputs = Publishers(self, TOPICS, self.diagnostics.warn)
        self._output = ObjectMotionOutput(self._outputs)
        self._processor = FrameProcessor(worker, self.diagnostics, self._publish, begin=self._begin)
        hooks = Hooks(self._check_model, self._load, self._prepare, self._install)
        self._swap = ModelSwap("motion_model", self.parameters, self.diagnostics, self._processor, hooks)
        self.life_cycle = LifeCycle(self, self.parameters, self.diagnostics, self._configure, self._release)

    def _configure(self) -> list[ManagedEntity]:
        self._settings = settings = self.parameters.read(ObjectMotionNodeSettings)
        warn = self.diagnostics.warn
        if settings.ego_motion == "odom" and self._source is DepthSource.UPSTREAM_NODE:
            raise DepthRosError(
                "ego_motion is 'odom', but in this process the odometry node provides the motion: set ego_motion to "
                "'camera', or run object_motion_node on its own"
            )
        self._estimator = self._load(settings.motion_model, serve_engine)
        self._swap.configured(settings.motion_model)
        parts: list[ManagedEntity] = [self._outputs, self._processor]
        if settings.use_labels:
            parts.append(LabelInput(self, self._on_labels, warn))
        if settings.ego_motion == "odom":
            self._odometry_input = OdometryInput(
                self, settings.max_pair_interval, self._request_estimate, warn
            )
            parts.append(self._odometry_input)
        if self._source is DepthSource.UPSTREAM_NODE:
            return parts
        if settings.ego_motion == "camera":
            self._odometry = self._estimators.odometry()
        self._rgbd = RgbdInput(
            self,
            self.parameters.read(CameraSettings),
            settings.approximate_sync_tolerance_seconds,
            self._on_pair,
            warn,
        )
        self.get_logger().info(
            f"moving objects in '{self._rgbd.depth_image.topic}' and '{self._rgbd.image.topic}'"
        )
        return [*parts, self._rgbd]

    def _check_model(self, model: str) -> None:
        if not model:
            return
        if not self._settings.use_labels:
            raise DepthRosError(
                f"motion_model '{model}' needs instance labels: set use_labels to true and publish label images on "
                "`labels`"
            )
        check_card(model, ("object_motion",), "")

    def _load(self, model: str, provider: EngineProvider) -> ObjectMotionEstimatorLike:
        """The network if there is one, otherwise geometry."""
        motion = self.parameters.read(ObjectMotionSettings)
        if not model:
            return self._estimators.object_motion(motion)
        self._check_model(model)
        from depth_ros.estimators.object_motion.network import ObjectMotionNetwork

        engine = self.parameters.read(EngineSettings)
        return ObjectMotionNetwork(model, motion, engine, provider)

    def _prepare(self, estimator: ObjectMotionEstimatorLike) -> None:
        if self._camera and isinstance(estimator, ObjectMotionEngine):
            estimator.prepare(self._camera)

    def _install(self, estimator: ObjectMotionEstimatorLike) -> None:
        self._estimator = estimator

    def _release(self) -> None:
        self._swap.cancel()
        self._estimator = self._odometry = self._rgbd = self._odometry_input = None

    def _begin(self) -> None:
        """Forget the frames of an earlier activation."""
        settings, odometry = self._settings, self._odometry_input
        self._is_requested = False
        self._new_labels.clear()
        self._pairs = PendingPairs(
            settings.max_pair_interval,
            settings.approximate_sync_tolerance_seconds if settings.use_labels else None,
            odometry.motion if odometry else None,
        )

    def is_needed(self) -> bool:
        """Whether a frame would be processed now."""
        return self.life_cycle.is_active and self._outputs.has_subscribers()

    def restart(self) -> None:
        """Forget earlier frames: later ones come from another model."""
        self._processor.command(self._begin)

    def take(self, result: DepthWithOdometry) -> None:
        """Process the depth and the odometry of a node upstream, in the worker thread."""
        self.diagnostics.frame_received()
        self._processor.run(partial(self._add, result.depth, result.odometry, time.perf_counter()))

    def _on_pair(self, image: ImageMessage, depth: Image) -> None:
        self.diagnostics.frame_received()
        if self.is_needed():
            self._processor.submit(partial(self._add_pair, image, depth, time.perf_counter()))

    def _on_labels(self, message: Image) -> None:
        if self.is_needed():
            self._new_labels.append(message)
            self._request_estimate()

    def _request_estimate(self) -> None:
        """Look for complete pairs in the worker thread: labels or odometry have arrived."""
        if not self._is_requested:
            self._is_requested = True
            self._processor.enqueue(self._estimate_newest)

    def _add_pair(self, image: ImageMessage, depth: Image, received: float) -> Result | None:
        assert self._rgbd
        decoded = self._rgbd.depth(image, depth)
        odometry = self._odometry.estimate(decoded) if self._odometry else None
        return self._add(decoded, odometry, received)

    def _add(self, depth: Depth, odometry: Odometry | None, received: float) -> Result | None:
        if odometry and odometry.state == "lost":
            self.diagnostics.warn(
                "the motion of the camera is unknown because odometry is lost: no objects are published"
            )
        self._camera = depth.camera
        self._pairs.add(depth, odometry.motion if odometry else None, received)
        return self._estimate_newest()

    def _estimate_newest(self) -> Result | None:
        """Moving objects in the newer frame of the newest complete pair; None if there is none."""
        self._is_requested = False  # before the labels are taken: later ones request again
        while self._new_labels:
            new_labels = self._new_labels.popleft()
            self._pairs.add_labels(stamp_ns(new_labels.header), new_labels)
        complete = self._pairs.newest()
        if complete is None:
            return None
        pair, motion, message = complete
        labels = None if message is None else labels_from(message, pair.newer.camera)
        assert self._estimator
        objects = self._estimator.estimate(pair.older, pair.newer, motion, labels)
        return Result(pair.newer, objects, pair.received)

    def _publish(self, result: Result, timing: Timing) -> None:
        if self.life_cycle.is_too_old(result.depth.stamp):
            return
        settings = self.parameters.read(ObjectMotionNodeSettings)
        self._num_objects = len(result.objects)
        self._output.publish(result.depth, result.objects, settings.point_stride, settings.arrow_seconds)
        self.diagnostics.published(result.depth.stamp, replace(timing, received=result.received))

    def _no_input_reason(self) -> str:
        return self._rgbd.no_input_reason() if self.life_cycle.is_active and self._rgbd else ""

    def _values(self) -> dict[str, object]:
        """Values of the status, once a second."""
        values: dict[str, object] = {"moving objects in the last image": self._num_objects}
        values |= self._swap.values()
        if isinstance(self._estimator, ObjectMotionEngine):
            values |= engine_values(self._estimator.engine_status)
        if not self.life_cycle.is_active:
            return values
        values |= {"late frames": self._pairs.late} | self._outputs.latency_values()
        if self._rgbd:
            values["dropped frames"] = self._rgbd.dropped + self._processor.dropped
            values["depth images without an image"] = self._rgbd.unpaired
        return values


def main(args: list[str] | None = None) -> int:
    """Run the node. Returns 1 if a parameter is started with an invalid value."""

    def make(worker: Worker) -> list[ObjectMotionNode]:
        from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator
        from depth_ros.estimators.odometry.estimator import OdometryEstimator

        return [ObjectMotionNode(Estimators(ObjectMotionEstimator, OdometryEstimator), worker)]

    return life_cycle.run("object_motion_node", make, args)


if __name__ == "__main__":
    raise SystemExit(main())
