"""The estimator of a model, for playback."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from depth_ros.config import settings_from
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.estimators.refinement import RefinementSettings, RefiningEstimator
from depth_ros.estimators.stereo.estimator import StereoEstimator, StereoSettings, is_stereo
from depth_ros.playback.kinds import MONO, STEREO, ReplayKind
from depth_ros.playback.replay import Estimator
from depth_ros.recordings import Recording

REFINED_WITHOUT_POST_PROCESSING = "--refine computes depth without post-processing: leave out --post-process"


@dataclass(frozen=True)
class EstimatorSettings:
    """model: name or folder. scale: at which stereo pairs are matched. refine: steps of online refinement a frame."""

    model: str
    engine: EngineSettings = field(default_factory=EngineSettings)
    scale: float = 1.0
    refine: int = 0

    @property
    def kind(self) -> ReplayKind:
        """What the model takes."""
        return STEREO if is_stereo(self.model) else MONO


def open_estimator(settings: EstimatorSettings) -> Estimator:
    """A new estimator. Raises DepthRosError if the model does not exist, or cannot be refined as asked."""
    if settings.kind is STEREO:
        if settings.refine:
            raise DepthRosError("--refine is for depth models; stereo models have no online refinement")
        stereo = settings_from(StereoSettings, {"scale": settings.scale}, "replay")
        return StereoEstimator(settings.model, settings.engine, stereo)
    if settings.refine:
        if settings.engine.post_process:
            raise DepthRosError(REFINED_WITHOUT_POST_PROCESSING)
        return RefiningEstimator(settings.model, RefinementSettings(steps=settings.refine))
    return DepthEstimator(settings.model, settings.engine)


def require_pairs(recording: Recording, path: Path, settings: EstimatorSettings) -> None:
    """Raise DepthRosError if the model needs stereo pairs and the recording has none that are calibrated."""
    if settings.kind is STEREO and not recording.contents.pairs:
        raise DepthRosError(
            f"{path} has no calibrated stereo pairs, which model '{settings.model}' needs: give --camera LEFT "
            "RIGHT, or choose a model for one camera"
        )
