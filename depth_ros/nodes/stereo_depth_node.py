"""Stereo depth node: disparity, metric depth, confidence and point clouds from two cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from rclpy.lifecycle import LifecycleNode, ManagedEntity
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Disparity, StereoFrame
from depth_ros.engine import EngineProvider, EngineSettings, EngineStatus, serve_engine
from depth_ros.estimators.clouds import CloudSettings
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.estimators.stereo.estimator import SEMI_GLOBAL, StereoSettings
from depth_ros.estimators.stereo.pair import baseline_doubt, rectified, stereo_pair
from depth_ros.nodes import life_cycle
from depth_ros.nodes.depth_check import DepthCheck
from depth_ros.nodes.diagnostics import Diagnostics, Rate, Timing, engine_values
from depth_ros.nodes.downstream import Downstream, forward_to, is_needed, restart
from depth_ros.nodes.inputs.camera import CameraSettings, ImageMessage
from depth_ros.nodes.inputs.stereo import StereoInput
from depth_ros.nodes.inputs.transforms import Transforms
from depth_ros.nodes.life_cycle import LifeCycle, LifeCycleSettings
from depth_ros.nodes.model_swap import Hooks, ModelSwap, check_card
from depth_ros.nodes.outputs.clouds import CLOUD_TOPICS, CloudOutput
from depth_ros.nodes.outputs.depth import DEPTH_TOPICS, DepthOutput, DepthOutputSettings
from depth_ros.nodes.outputs.disparity import DISPARITY_TOPICS, DisparityOutput
from depth_ros.nodes.outputs.publishers import Publishers
from depth_ros.nodes.pair_check import PairCheck
from depth_ros.nodes.parameters import Parameters
from depth_ros.nodes.topics import Topic
from depth_ros.nodes.worker import FrameProcessor, Worker

TOPICS = (
    Topic("left/image", Image, "in", "Images of the left camera.", "image_transport: raw"),
    Topic(
        "left/image/compressed", CompressedImage, "in", "Compressed images of the left camera.",
        "image_transport: compressed",
    ),
    Topic("left/camera_info", CameraInfo, "in", "Calibration of the left camera."),
    Topic("right/image", Image, "in", "Images of the right camera.", "image_transport: raw"),
    Topic(
        "right/image/compressed", CompressedImage, "in", "Compressed images of the right camera.",
        "image_transport: compressed",
    ),
    Topic("right/camera_info", CameraInfo, "in", "Calibration of the right camera; P has the baseline."),
    Topic(
        "/tf_static", TFMessage, "in",
        "Transform between the cameras, to check the baseline; their mounting pose, for base_frame and scan_frame.",
    ),
    Topic("/tf", TFMessage, "in", "The same for moving joints."),
    *DISPARITY_TOPICS,
    *DEPTH_TOPICS,
    *CLOUD_TOPICS,
)  # fmt: skip


@dataclass(frozen=True)
class StereoDepthNodeSettings:
    """Parameters of stereo_depth_node only."""

    model: str = setting(
        "stereo",
        "Stereo model: a name listed by `depth_ros models`, the path of a folder with a card.yaml, or semi_global for "
        "semi-global matching without a network. While the node is configured, another one is loaded in the background "
        "and then takes over.",
        dynamic=True,
    )
    approximate_sync_tolerance_seconds: float = setting(
        0.0, "Maximum stamp difference of the images of a pair. 0 requires equal stamps.", "s", 0.0, 0.5
    )
    check_pairs: bool = setting(
        True,
        "Check about once a second whether the cameras are swapped or the images not rectified.",
        dynamic=True,
    )


SETTINGS = (
    StereoDepthNodeSettings, CameraSettings, StereoSettings, FilterSettings, CloudSettings, DepthOutputSettings,
    EngineSettings, LifeCycleSettings,
)  # fmt: skip
"""The parameters of stereo_depth_node are the fields of these."""


class StereoEstimatorLike(Protocol):
    """`StereoEstimator`, or another source of disparity images. step: px, resolution of the disparity."""

    @property
    def disparity_range(self) -> int: ...

    @property
    def step(self) -> float: ...

    @property
    def engine_status(self) -> EngineStatus: ...

    def prepare(self, width: int, height: int) -> object: ...

    def estimate(self, frame: StereoFrame) -> Disparity: ...


MakeStereoEstimator = Callable[[str, EngineSettings, StereoSettings, EngineProvider], StereoEstimatorLike]
Result = tuple[Disparity, Depth]
"""Before the filters."""


class StereoDepthNode(LifecycleNode):
    """Life-cycle node with the topics `TOPICS`.

    Results have the stamp, the frame_id and the size of the left image. Nothing is computed without a subscriber or a
    node downstream that needs it. `downstream` receives the unfiltered Depth of every pair. make_estimator:
    StereoEstimator or a function like it. other_parameters: as in Parameters. Raises DepthRosError if a parameter is
    started with an invalid value.
    """

    def __init__(
        self,
        make_estimator: MakeStereoEstimator,
        worker: Worker,
        name: str = "stereo_depth_node",
        other_parameters: Iterable[str] = (),
        parameter_overrides: list[Parameter] | None = None,
    ) -> None:
        super().__init__(
            name,
            automatically_declare_parameters_from_overrides=True,
            parameter_overrides=parameter_overrides,
        )
        self._make_estimator = make_estimator
        self._estimator: StereoEstimatorLike | None = None
        self._image_size: tuple[int, int] | None = None
        self._pair_rate = Rate()
        self.downstream: list[Downstream[Depth]] = []
        self.parameters = Parameters(self, *SETTINGS, other_parameters=other_parameters)
        self.diagnostics = Diagnostics(self, "stereo depth", self._values, self._no_input_reason)
        self.parameters.warn_about_unknown(self.diagnostics.warn)
        self._outputs = Publishers(self, TOPICS, self.diagnostics.warn)
        self._depth_output = DepthOutput(self._outputs, self.diagnostics.warn)
        self._transforms = Transforms(self)
        self._clouds = CloudOutput(self._outputs, self._transforms, self.diagnostics.warn)
        self._processor = FrameProcessor(worker, self.diagnostics, self._publish, self._forward)
        self._pair_check = PairCheck(self, self.diagnostics.warn)
        self._depth_check = DepthCheck(self._transforms, self.diagnostics.warn)
        hooks = Hooks(_check_model, self._load, self._prepare, self._install)
        self._swap = ModelSwap("model", self.parameters, self.diagnostics, self._processor, hooks)
        self.life_cycle = LifeCycle(self, self.parameters, self.diagnostics, self._configure, self._release)

    def _configure(self) -> list[ManagedEntity]:
        settings = self.parameters.read(StereoDepthNodeSettings)
        self._take(self._load(settings.model, serve_engine))
        self._swap.configured(settings.model)
        self._input = StereoInput(
            self, self.parameters.read(CameraSettings), settings.approximate_sync_tolerance_seconds, self._on_pair,
            self.diagnostics.warn,
        )  # fmt: skip
        topics = " and ".join(f"'{camera.topic}'" for camera in self._input.cameras.values())
        self.get_logger().info(f"depth of {topics} by model {settings.model}")
        return [self._outputs, self._pair_check, self._transforms, self._processor, self._input]

    def _load(self, model: str, provider: EngineProvider) -> StereoEstimatorLike:
        engine, stereo = self.parameters.read(EngineSettings), self.parameters.read(StereoSettings)
        return self._make_estimator(model, engine, stereo, provider)

    def _prepare(self, estimator: StereoEstimatorLike) -> None:
        if self._image_size:
            scale = self.parameters.read(StereoSettings).scale
            estimator.prepare(*(round(side * scale) for side in self._image_size))

    def _install(self, estimator: StereoEstimatorLike) -> None:
        self._take(estimator)
        self._depth_check.reset()
        restart(self.downstream)

    def _take(self, estimator: StereoEstimatorLike) -> None:
        self._estimator = estimator
        self._disparity_output = DisparityOutput(self._outputs, estimator.disparity_range, estimator.step)

    def _release(self) -> None:
        self._swap.cancel()
        self._estimator = None

    def _on_pair(self, left: ImageMessage, right: ImageMessage) -> None:
        self.diagnostics.frame_received()
        check = self.parameters.read(StereoDepthNodeSettings).check_pairs and self._pair_check.is_due
        if check or self._is_needed():
            self._processor.submit(partial(self._estimate, left, right))

    def _is_needed(self) -> bool:
        return self._outputs.has_subscribers() or is_needed(self.downstream)

    def _estimate(self, left: ImageMessage, right: ImageMessage) -> Result | None:
        assert self._estimator
        frames = self._input.frames(left, right)
        self._image_size = frames[0].camera.width, frames[0].camera.height
        pair = stereo_pair(*frames)
        if doubt := baseline_doubt(pair.baseline):
            self.diagnostics.warn(doubt)
        if self.parameters.read(StereoDepthNodeSettings).check_pairs and self._pair_check.is_due:
            pair = rectified(pair)
            self._pair_check.check(pair, frames)
        if not self._is_needed():
            return None
        disparity = self._estimator.estimate(pair)
        return disparity, disparity.depth()

    def _publish(self, result: Result, timing: Timing) -> None:
        disparity, depth = result
        if self.life_cycle.is_too_old(depth.stamp):
            return
        if self._outputs.has_subscribers():
            filters = self.parameters.read(FilterSettings)
            kept = filtered(depth, filters)
            self._depth_check.check(depth, kept, filters, self._swap.running)
            self._disparity_output.publish(disparity, np.isfinite(kept.depth))
            self._depth_output.publish(depth, kept, self.parameters.read(DepthOutputSettings))
            self._clouds.publish(depth, kept, filters, self.parameters.read(CloudSettings))
        self.diagnostics.published(disparity.stamp, timing)

    def _forward(self, result: Result) -> None:
        forward_to(self.downstream, result[1])

    def _no_input_reason(self) -> str:
        return self._input.no_input_reason() if self.life_cycle.is_active else ""

    def _values(self) -> dict[str, object]:
        """Values of the status, once a second."""
        values = self._swap.values()
        if self._estimator:
            values |= engine_values(self._estimator.engine_status)
            values["baseline (m)"] = self._pair_check.baseline
        if self.life_cycle.is_active:
            replaced = self._processor.dropped
            values["pair rate (Hz)"] = f"{self._pair_rate.of(self._input.pairs):.1f}"
            values["pairs"] = self._input.pairs - replaced
            values["dropped frames"] = self._input.dropped + 2 * replaced
            values["images without a partner"] = self._input.unpaired
            values |= self._outputs.latency_values() | self._depth_check.values
        return values


def _check_model(model: str) -> None:
    if model != SEMI_GLOBAL:
        check_card(model, ("stereo_depth",), "")


def main(args: list[str] | None = None) -> int:
    """Run the node. Returns 1 if a parameter is started with an invalid value."""

    def make(worker: Worker) -> list[StereoDepthNode]:
        from depth_ros.estimators.stereo.estimator import StereoEstimator

        return [StereoDepthNode(StereoEstimator, worker)]

    return life_cycle.run("stereo_depth_node", make, args)


if __name__ == "__main__":
    raise SystemExit(main())
