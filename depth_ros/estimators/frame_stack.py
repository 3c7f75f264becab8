"""The engine of a model that takes several images, for whatever image size comes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from depth_ros.card import Card, find_card, load_model
from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.engine import Engine, EngineProvider, EngineSettings, EngineStatus, ModelEngines, open_engine
from depth_ros.engine.image_path import Pixels
from depth_ros.errors import DepthRosError


class FrameStackEngine:
    """The engine of a model of task `task` and the images at its size.

    provider: as in DepthEstimator. Raises DepthRosError if the model is unknown, damaged or of another task.
    """

    def __init__(
        self, model: str, task: str, settings: EngineSettings, provider: EngineProvider = open_engine
    ) -> None:
        self.card: Card = find_card(model)
        if self.card.task != task:
            raise DepthRosError(
                f"model '{model}' is for task '{self.card.task}'; an '{task}' model is needed"
            )
        load_model(self.card)  # a damaged model fails here, not at the first image
        self._engines = ModelEngines(self.card, settings, provider)
        self._engine: Engine | None = None
        self._size = (0, 0)

    @property
    def status(self) -> EngineStatus:
        """The engine that served the last images, and what is being built."""
        return self._engines.status

    def open(self, camera: Camera) -> bool:
        """Open the engine for images of this rectified camera. True if the size changed: earlier images are useless."""
        size = (camera.width, camera.height)
        changed = size != self._size
        self._size, self._engine = size, self._engines.for_image(*size)
        return changed

    def prepared(self, frame: Frame | Depth) -> Pixels:
        """The rectified image of a frame at the engine's size, where the engine runs."""
        engine = self._opened
        return engine.path.resized(engine.path.rectified(frame), engine.width, engine.height)

    def resized_labels(self, labels: np.ndarray) -> np.ndarray:
        """Labels (H, W) uint8 at the engine's size."""
        size = self._opened.width, self._opened.height
        return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)

    def results(
        self, camera: Camera, images: Sequence[Pixels], *others: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """The model's results for prepared images and further inputs at the engine's size.

        camera: of the rectified images before they were resized.
        """
        engine = self._opened
        K = camera.resized(engine.width, engine.height).K
        return engine.results(engine.path.stacked(images), *others, K)

    @property
    def _opened(self) -> Engine:
        assert self._engine, "open() comes first"
        return self._engine
