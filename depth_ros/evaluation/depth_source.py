"""Sources of depth for odometry and object motion: recorded, from stereo pairs, or from one image by a network."""

from __future__ import annotations

from typing import Protocol

from depth_ros.datatypes import Depth
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.estimators.stereo.estimator import StereoEstimator, is_stereo
from depth_ros.estimators.stereo.pair import rectified_pair
from depth_ros.estimators.stereo.semi_global import SEMI_GLOBAL
from depth_ros.evaluation.recorded import depth_of_frame
from depth_ros.geometry import rectify_depth
from depth_ros.recordings import Recording, Sample

RECORDED = "recorded"
"""Name of the folder's own depth."""
DEFAULT_MONO_MODEL = "mono"
"""Model for folders with neither stereo pairs nor depth."""


class DepthSource(Protocol):
    """Depth of samples. name: of the model, `semi_global` or `recorded`. scale: as in cards."""

    name: str
    scale: str

    @property
    def engine_name(self) -> str:
        """Engine of the last sample."""
        ...

    def estimate(self, sample: Sample) -> Depth:
        """Depth of a sample."""
        ...


class RecordedSource:
    """The depth of the folder itself."""

    name, scale, engine_name = RECORDED, "metric", "recorded depth"

    def estimate(self, sample: Sample) -> Depth:
        """Recorded depth of a sample. Raises DepthRosError if it has none."""
        if sample.depth is None:
            raise DepthRosError(f"frame '{sample.name}' has no recorded depth; use the depth of a model")
        return depth_of_frame(rectify_depth(sample.depth, sample.left.camera)[0], sample.left)


class StereoSource:
    """Depth from stereo pairs."""

    scale = "metric"

    def __init__(self, model: str, settings: EngineSettings) -> None:
        self.name, self._estimator = model, StereoEstimator(model, settings)

    @property
    def engine_name(self) -> str:
        """Engine of the last sample."""
        return self._estimator.engine_status.name

    def estimate(self, sample: Sample) -> Depth:
        """Depth of a sample. Raises DepthRosError if it has no right image."""
        if sample.right is None:
            raise DepthRosError(f"frame '{sample.name}' has no right image; '{self.name}' needs stereo pairs")
        return self._estimator.estimate(rectified_pair(sample.left, sample.right)).depth()


class MonoSource:
    """Depth from the left image alone."""

    def __init__(self, model: str, settings: EngineSettings) -> None:
        self._estimator = DepthEstimator(model, settings)
        self.name, self.scale = self._estimator.card.name, self._estimator.card.scale

    @property
    def engine_name(self) -> str:
        """Engine of the last sample."""
        return self._estimator.engine_status.name

    def estimate(self, sample: Sample) -> Depth:
        """Depth of a sample."""
        return self._estimator.estimate(sample.left)


def default_source(folder: Recording) -> str:
    """Semi-global matching of stereo pairs; else recorded depth, if the folder has it; else a monocular model."""
    first, last = folder[0], folder[len(folder) - 1]
    if first.right is not None:
        return SEMI_GLOBAL
    return RECORDED if first.depth is not None and last.depth is not None else DEFAULT_MONO_MODEL


def open_source(model: str, folder: Recording, settings: EngineSettings) -> DepthSource:
    """The source of that name; empty = the default of the folder. Raises DepthRosError if they do not match."""
    model = model or default_source(folder)
    if model == RECORDED:
        return RecordedSource()
    if not is_stereo(model):
        return MonoSource(model, settings)
    if not folder.contents.pairs:
        raise DepthRosError(
            f"'{model}' needs stereo pairs, but the folder has a single camera; use a model of task 'depth'"
        )
    return StereoSource(model, settings)
