"""Depth from one image: rectify, resize to the engine's size, run, and attach the camera of the result."""

from __future__ import annotations

import numpy as np

from depth_ros.card import Card, find_card, load_model
from depth_ros.datatypes import Depth, Frame
from depth_ros.engine import Engine, EngineProvider, EngineSettings, EngineStatus, ModelEngines, open_engine
from depth_ros.errors import DepthRosError

TASKS = ("depth", "planes")
"""Tasks of models whose first result is the depth of one image."""


class DepthEstimator:
    """Frame -> Depth with one model.

    provider: `open_engine`, with which `estimate` waits for the engine of a new image size, or `serve_engine`, with
    which eager PyTorch serves until it is built. Raises DepthRosError if the model is unknown, damaged or of another
    task.
    """

    def __init__(
        self,
        model: str,
        settings: EngineSettings = EngineSettings(),  # noqa: B008
        provider: EngineProvider = open_engine,
    ) -> None:
        self.card: Card = find_card(model)
        if self.card.task not in TASKS:
            raise DepthRosError(f"model '{model}' is for task '{self.card.task}'; a 'depth' model is needed")
        load_model(self.card)  # a damaged model fails here, not at the first image
        self._engines = ModelEngines(self.card, settings, provider)

    @property
    def engine_status(self) -> EngineStatus:
        """The engine that served the last image, and what is being built."""
        return self._engines.status

    def prepare(self, width: int, height: int) -> Engine:
        """The engine for images of width x height px, opened if need be."""
        return self._engines.for_image(width, height)

    def estimate(self, frame: Frame) -> Depth:
        """Depth of the rectified image at the engine's size, with the camera scaled to it."""
        return self.results(frame)[0]

    def results(self, frame: Frame) -> tuple[Depth, tuple[np.ndarray, ...]]:
        """The same, and the model's further results at the same size (see depth_ros.networks)."""
        camera = frame.camera.rectified()
        engine = self.prepare(camera.width, camera.height)
        camera = camera.resized(engine.width, engine.height)
        image = engine.path.resized(engine.path.rectified(frame), camera.width, camera.height)
        depth, *rest, small = engine.results(image, camera.K, images=[image])
        return Depth(frame.stamp, frame.frame_id, depth, camera, small), tuple(rest)
