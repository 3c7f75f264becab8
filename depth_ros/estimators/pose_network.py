"""Odometry as the published video families do it: a network says the motion, motions are strung together."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from depth_ros.card import Card, find_card, load_model
from depth_ros.datatypes import Frame, Motion
from depth_ros.engine import Engine, EngineSettings, engine_size, open_engine
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify


class PoseNetwork:
    """Frame -> Motion since the frame before it; None for the first. Lengths are in the model's own unit.

    The network sees as many frames as its card says; before there are so many, the first one stands in for those
    that are missing. Raises DepthRosError if the model is unknown, damaged or no ego_motion model.
    """

    def __init__(self, model: str, settings: EngineSettings = EngineSettings()) -> None:  # noqa: B008
        self.card: Card = find_card(model)
        if self.card.task != "ego_motion":
            raise DepthRosError(f"model '{model}' does '{self.card.task}'; an 'ego_motion' model is needed")
        load_model(self.card)  # a damaged model fails here, not at the first image
        self._settings = settings
        self._engine: Engine | None = None
        self._images: deque[np.ndarray] = deque(maxlen=self.card.frames)
        self._stamp, self._size = 0, (0, 0)

    @property
    def engine_name(self) -> str:
        """Backend, precision and size of the engine."""
        return self._engine.name if self._engine else "no engine yet"

    def reset(self) -> None:
        """Forget the frames seen: the next one is a first one."""
        self._images.clear()

    def estimate(self, frame: Frame) -> Motion | None:
        """The motion that led to this frame; None where no frame of the same size came before it."""
        image, camera = rectify(frame.image, frame.camera)
        if self._engine is None or self._size != (camera.width, camera.height):
            self.reset()
            self._size = (camera.width, camera.height)
            self._engine = open_engine(self.card, *engine_size(self.card, *self._size), self._settings)
        engine, first = self._engine, not self._images
        size = (engine.width, engine.height)
        method = cv2.INTER_AREA if engine.width < camera.width else cv2.INTER_LINEAR
        small = cv2.resize(image, size, interpolation=method)
        self._images.extend([small] * (self.card.frames if first else 1))
        earlier, self._stamp = self._stamp, frame.stamp
        if first:
            return None
        motions = engine(np.stack(self._images), camera.resized(*size).K)
        return Motion(earlier, frame.stamp, motions[-1].astype(np.float64))
