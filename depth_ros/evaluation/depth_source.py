"""The depth that odometry is measured with: recorded, from two eyes, or from one image by a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depth_ros.card import find_card
from depth_ros.datasets import Folder, Sample
from depth_ros.datatypes import Depth
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.depth import as_depth

if TYPE_CHECKING:
    from depth_ros.engine import EngineSettings

RECORDED = "recorded"
"""What the depth of the folder itself is called."""
MONO = "mono_driving"


@dataclass(frozen=True)
class DepthSource:
    """name: of the model, `semi_global` or `recorded`. scale: as cards state it. engine: what serves it, once used."""

    name: str
    scale: str
    engine: Callable[[], str]
    estimate: Callable[[Sample], Depth]


def usual_source(folder: Folder) -> str:
    """Two eyes where there are two, recorded depth where there is one of each image, else one image."""
    from depth_ros.estimators.stereo.estimator import SEMI_GLOBAL

    first, last = folder[0], folder[len(folder) - 1]
    if first.right is not None:
        return SEMI_GLOBAL
    return RECORDED if first.depth is not None and last.depth is not None else MONO


def depth_source(model: str, folder: Folder, settings: EngineSettings) -> DepthSource:
    """The source of that name. Raises DepthRosError where the folder, or the model, cannot serve."""
    from depth_ros.estimators.stereo.estimator import SEMI_GLOBAL

    if model == RECORDED:
        return DepthSource(RECORDED, "metric", lambda: "recorded depth", _recorded)
    if model == SEMI_GLOBAL or find_card(model).task == "stereo_depth":
        if folder[0].right is None:
            raise DepthRosError(
                f"'{model}' needs two eyes and the folder has one: give a model of task 'depth'"
            )
        return _stereo(model, settings)
    return _mono(model, settings)


def _recorded(sample: Sample) -> Depth:
    if sample.depth is None:
        raise DepthRosError(f"frame {sample.name} has no recorded depth: give a model")
    return as_depth(sample.depth, sample.left)


def _stereo(model: str, settings: EngineSettings) -> DepthSource:
    from depth_ros.estimators.stereo.estimator import StereoEstimator, rectified_pair

    estimator = StereoEstimator(model, settings)

    def estimate(sample: Sample) -> Depth:
        assert sample.right
        return estimator.estimate(rectified_pair(sample.left, sample.right)).depth()

    return DepthSource(model, "metric", lambda: estimator.engine_name, estimate)


def _mono(model: str, settings: EngineSettings) -> DepthSource:
    from depth_ros.estimators.depth import DepthEstimator

    estimator = DepthEstimator(model, settings)
    return DepthSource(
        estimator.card.name, estimator.card.scale, lambda: estimator.engine_name,
        lambda sample: estimator.estimate(sample.left),
    )  # fmt: skip
