"""Planes node: planes in the images or depth images of one camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from rclpy.lifecycle import LifecycleNode, ManagedEntity
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Frame, Planes
from depth_ros.engine import EngineProvider, EngineSettings, EngineStatus, serve_engine
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import TASKS, DepthEstimator
from depth_ros.nodes import life_cycle
from depth_ros.nodes.diagnostics import Diagnostics, Timing, engine_values
from depth_ros.nodes.inputs.camera import CameraInput, CameraSettings, ImageMessage
from depth_ros.nodes.life_cycle import LifeCycle, LifeCycleSettings
from depth_ros.nodes.model_swap import Hooks, ModelSwap, check_card
from depth_ros.nodes.outputs.planes import PLANES_TOPICS, PlanesOutput
from depth_ros.nodes.outputs.publishers import Publishers
from depth_ros.nodes.parameters import Parameters
from depth_ros.nodes.topics import Topic
from depth_ros.nodes.worker import FrameProcessor, Worker
from depth_ros.plane_fitting import PlaneFitSettings, fit_planes

TOPICS = (
    Topic("image", Image, "in", "Images, or depth images (source: depth).", "image_transport: raw"),
    Topic("image/compressed", CompressedImage, "in", "Compressed images.", "image_transport: compressed"),
    Topic("camera_info", CameraInfo, "in", "Calibration of the camera."),
    *PLANES_TOPICS,
)


@dataclass(frozen=True)
class PlanesNodeSettings:
    """Parameters of planes_node only."""

    model: str = setting(
        "mono",
        "Planes model, or depth model to whose depth planes are fitted: a name listed by `depth_ros models`, or the "
        "path of a folder with a card.yaml. While the node is configured, another one is loaded in the background and "
        "then takes over.",
        dynamic=True,
    )
    source: str = setting(
        "image",
        "Content of `image`. image: images, whose depth the model estimates; depth: depth images (32FC1 in m or 16UC1 "
        "in mm), to which planes are fitted without a model.",
        choices=("image", "depth"),
    )
    point_stride: int = setting(
        1, "Step between the rows and columns of the point cloud. Increase it for a smaller cloud.", "px", 1, 16,
        dynamic=True,
    )  # fmt: skip


SETTINGS = (PlanesNodeSettings, CameraSettings, PlaneFitSettings, EngineSettings, LifeCycleSettings)
"""The parameters of planes_node are the fields of these."""


class PlanesEstimatorLike(Protocol):
    """`PlanesEstimator`, or another source of planes."""

    depth: DepthEstimator
    fit: PlaneFitSettings

    @property
    def engine_status(self) -> EngineStatus: ...

    def estimate(self, frame: Frame) -> tuple[Depth, Planes]: ...


MakePlanesEstimator = Callable[[str, EngineSettings, PlaneFitSettings, EngineProvider], PlanesEstimatorLike]
Result = tuple[Depth, Planes]


class PlanesNode(LifecycleNode):
    """Life-cycle node with the topics `TOPICS`.

    Results have the stamp and the frame_id of their image. Nothing is computed without a subscriber. make_estimator:
    PlanesEstimator or a function like it. Raises DepthRosError if a parameter is started with an invalid value.
    """

    def __init__(
        self, make_estimator: MakePlanesEstimator, worker: Worker, name: str = "planes_node"
    ) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self._make_estimator = make_estimator
        self._estimator: PlanesEstimatorLike | None = None
        self._image_size: tuple[int, int] | None = None
        self._num_planes = 0
        self.parameters = Parameters(self, *SETTINGS)
        self.diagnostics = Diagnostics(self, "planes", self._values, self._no_input_reason)
        self.parameters.warn_about_unknown(self.diagnostics.warn)
        self._outputs = Publishers(self, TOPICS, self.diagnostics.warn)
        self._output = PlanesOutput(self._outputs)
        self._processor = FrameProcessor(worker, self.diagnostics, self._publish)
        hooks = Hooks(self._check_model, self._load, self._prepare, self._install)
        self._swap = ModelSwap("model", self.parameters, self.diagnostics, self._processor, hooks)
        self.life_cycle = LifeCycle(self, self.parameters, self.diagnostics, self._configure, self._release)

    def _configure(self) -> list[ManagedEntity]:
        settings, camera = self.parameters.read(PlanesNodeSettings), self.parameters.read(CameraSettings)
        if settings.source == "image":
            self._estimator, how = self._load(settings.model, serve_engine), f"by model {settings.model}"
            self._swap.configured(settings.model)
            estimate: Callable[[Image], Result] = self._estimate_from_image
        else:
            if camera.image_transport != "raw":
                raise DepthRosError(
                    "source is 'depth', and depth images are not received compressed: set image_transport to 'raw'"
                )
            estimate, how = self._fit_to_depth, "fitted to its depth"

        def on_image(message: ImageMessage) -> None:
            self.diagnostics.frame_received()
            if self._outputs.has_subscribers():
                self._processor.submit(partial(estimate, message))

        self._input = CameraInput(self, camera, on_image, self.diagnostics.warn)
        self.get_logger().info(f"planes of '{self._input.topic}' {how}")
        return [self._outputs, self._processor, self._input]

    def _check_model(self, model: str) -> None:
        if not self._estimator:
            raise DepthRosError("source is 'depth', to which planes are fitted without a model")
        check_card(model, TASKS, self._estimator.depth.card.scale)

    def _load(self, model: str, provider: EngineProvider) -> PlanesEstimatorLike:
        engine, fit = self.parameters.read(EngineSettings), self.parameters.read(PlaneFitSettings)
        estimator = self._make_estimator(model, engine, fit, provider)
        scale = estimator.depth.card.scale
        problem = {
            "affine_inverse": "relative inverse depth, in which planes are curved",
            "up_to_scale": "depth in an unknown unit, while planes are published in metres",
        }.get(scale)
        if problem:
            raise DepthRosError(
                f"model '{model}' estimates {problem} (scale {scale}); choose a model of scale metric "
                "(depth_ros models)"
            )
        return estimator

    def _prepare(self, estimator: PlanesEstimatorLike) -> None:
        if self._image_size:
            estimator.depth.prepare(*self._image_size)

    def _install(self, estimator: PlanesEstimatorLike) -> None:
        self._estimator = estimator

    def _release(self) -> None:
        self._swap.cancel()
        self._estimator = None

    def _estimate_from_image(self, message: ImageMessage) -> Result:
        assert self._estimator
        self._estimator.fit = self.parameters.read(PlaneFitSettings)
        frame = self._input.frame(message)
        self._image_size = frame.camera.width, frame.camera.height
        return self._estimator.estimate(frame)

    def _fit_to_depth(self, message: Image) -> Result:
        depth = self._input.depth(message)
        return depth, fit_planes(depth.depth, depth.camera, self.parameters.read(PlaneFitSettings))

    def _publish(self, result: Result, timing: Timing) -> None:
        depth, planes = result
        if self.life_cycle.is_too_old(depth.stamp):
            return
        self._num_planes = len(planes.equations)
        self._output.publish(depth, planes, self.parameters.read(PlanesNodeSettings).point_stride)
        self.diagnostics.published(depth.stamp, timing)

    def _no_input_reason(self) -> str:
        return self._input.no_input_reason() if self.life_cycle.is_active else ""

    def _values(self) -> dict[str, object]:
        """Values of the status, once a second."""
        settings = self.parameters.read(PlanesNodeSettings)
        values: dict[str, object] = {"source": settings.source, "planes in the last image": self._num_planes}
        if self._estimator:
            values |= {**self._swap.values(), **engine_values(self._estimator.engine_status)}
        if self.life_cycle.is_active:
            values["dropped frames"] = self._input.dropped + self._processor.dropped
            values |= self._outputs.latency_values()
        return values


def main(args: list[str] | None = None) -> int:
    """Run the node. Returns 1 if a parameter is started with an invalid value."""

    def make(worker: Worker) -> list[PlanesNode]:
        from depth_ros.estimators.planes import PlanesEstimator

        return [PlanesNode(PlanesEstimator, worker)]

    return life_cycle.run("planes_node", make, args)


if __name__ == "__main__":
    raise SystemExit(main())
