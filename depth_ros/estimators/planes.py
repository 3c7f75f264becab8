"""Planes from one image: predicted by a planes model, or fitted to the depth of a depth model."""

from __future__ import annotations

from depth_ros.datatypes import Depth, Frame, Planes
from depth_ros.engine import EngineProvider, EngineSettings, EngineStatus, open_engine
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.plane_fitting import PlaneFitSettings, fit_planes, visible_planes


class PlanesEstimator:
    """Frame -> depth and planes, both at the engine's size. `depth` is its depth estimator.

    fit: settings of the plane fit; may be replaced at any time. provider, errors: as in DepthEstimator.
    """

    def __init__(
        self,
        model: str,
        settings: EngineSettings = EngineSettings(),  # noqa: B008
        fit: PlaneFitSettings = PlaneFitSettings(),  # noqa: B008
        provider: EngineProvider = open_engine,
    ) -> None:
        self.depth = DepthEstimator(model, settings, provider)
        self.fit = fit

    @property
    def engine_status(self) -> EngineStatus:
        """As in DepthEstimator."""
        return self.depth.engine_status

    def estimate(self, frame: Frame) -> tuple[Depth, Planes]:
        """Depth of the rectified image, and its planes, largest first."""
        depth, rest = self.depth.results(frame)
        if self.depth.card.task != "planes":
            return depth, fit_planes(depth.depth, depth.camera, self.fit)
        equations, labels = rest
        return depth, visible_planes(labels, equations, self.fit.min_area)
