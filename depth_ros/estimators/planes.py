"""Planes from one image: those of a planes model, or those fitted to the depth of a depth model."""

from __future__ import annotations

from depth_ros.datatypes import Depth, Frame, Planes
from depth_ros.engine import EngineSettings
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.plane_fitting import PlaneFitSettings, fit_planes, seen


class PlanesEstimator:
    """Frame -> depth and planes, both at the engine's size. `depth` is the estimator behind it.

    fit: what counts as a plane; may be replaced at any time. background, errors: as of DepthEstimator.
    """

    def __init__(
        self,
        model: str,
        settings: EngineSettings = EngineSettings(),  # noqa: B008
        fit: PlaneFitSettings = PlaneFitSettings(),  # noqa: B008
        background: bool = False,
    ) -> None:
        self.depth = DepthEstimator(model, settings, background)
        self.fit = fit

    def estimate(self, frame: Frame) -> tuple[Depth, Planes]:
        """Depth of the rectified image, and its planes, largest first."""
        depth, rest = self.depth.results(frame)
        if self.depth.card.task != "planes":
            return depth, fit_planes(depth.depth, depth.camera, self.fit)
        equations, labels = rest
        return depth, seen(labels, equations, self.fit.smallest)
