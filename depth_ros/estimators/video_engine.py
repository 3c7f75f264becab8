"""The engine of a model that sees several images, for whatever size of them comes."""

from __future__ import annotations

import cv2
import numpy as np

from depth_ros.card import Card, find_card, load_model
from depth_ros.datatypes import Camera
from depth_ros.engine import Engine, EngineSettings, engine_size, open_engine
from depth_ros.errors import DepthRosError


class VideoEngine:
    """Opened for the size of the images; one of another size opens another.

    Raises DepthRosError if the model is unknown, damaged or not of `task`.
    """

    def __init__(self, model: str, task: str, settings: EngineSettings) -> None:
        self.card: Card = find_card(model)
        if self.card.task != task:
            raise DepthRosError(f"model '{model}' does '{self.card.task}'; an '{task}' model is needed")
        load_model(self.card)  # a damaged model fails here, not at the first image
        self._settings = settings
        self._engine: Engine | None = None
        self._size = (0, 0)

    @property
    def name(self) -> str:
        """Backend, precision and size of the engine."""
        return self._engine.name if self._engine else "no engine yet"

    def open(self, camera: Camera) -> bool:
        """Be ready for images of this camera. True if those before were of another size."""
        if self._engine and self._size == (camera.width, camera.height):
            return False
        self._size = (camera.width, camera.height)
        self._engine = open_engine(self.card, *engine_size(self.card, *self._size), self._settings)
        return True

    def image(self, image: np.ndarray) -> np.ndarray:
        """At the engine's size."""
        size = self._opened.width, self._opened.height
        method = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR
        return cv2.resize(image, size, interpolation=method)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """At the engine's size, of labels uint8."""
        size = self._opened.width, self._opened.height
        return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)

    def results(self, camera: Camera, *stacks: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the model says of stacks at the engine's size; camera: of the images before they were resized."""
        engine = self._opened
        return engine.results(*stacks, camera.resized(engine.width, engine.height).K)

    @property
    def _opened(self) -> Engine:
        assert self._engine, "open() comes first"
        return self._engine
