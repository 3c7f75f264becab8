"""Depth from one image: rectify, resize to the engine's size, run, and say what camera the result has."""

from __future__ import annotations

import logging
import threading

import cv2
import numpy as np

from depth_ros.card import Card, find_card, load_model
from depth_ros.datatypes import Depth, Frame
from depth_ros.engine import Engine, EngineSettings, engine_size, open_engine
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify

TASKS = ("depth", "planes")
"""Of models whose first result is the depth of one image."""

log = logging.getLogger("depth_ros.estimators")


class DepthEstimator:
    """Frame -> Depth with one model. An engine is opened for every image size that comes.

    background: a size without an engine is served by eager PyTorch while a thread builds one, so that a
    robot sees from the first frame on. Otherwise `estimate` waits for the engine.
    Raises DepthRosError if the model is unknown, damaged or gives no depth.
    """

    def __init__(
        self,
        model: str,
        settings: EngineSettings = EngineSettings(),  # noqa: B008
        background: bool = False,
    ) -> None:
        self.card: Card = find_card(model)
        if self.card.task not in TASKS:
            raise DepthRosError(f"model '{model}' does '{self.card.task}'; a 'depth' model is needed")
        load_model(self.card)  # a damaged model fails here, not at the first image
        self._settings, self._background = settings, background
        self._engines: dict[tuple[int, int], Engine] = {}
        self._engine: Engine | None = None
        self._building = 0

    @property
    def building(self) -> bool:
        """Whether a thread is at work on an engine that will take over."""
        return self._building > 0

    @property
    def engine_name(self) -> str:
        """Backend, precision and size of the engine that served the last frame."""
        return self._engine.name if self._engine else "no engine yet"

    @property
    def reason(self) -> str:
        """Why it is that engine."""
        return self._engine.reason if self._engine else "no image has come yet"

    def prepare(self, width: int, height: int) -> Engine:
        """The engine for images of width x height px, opened if need be."""
        if (width, height) not in self._engines:
            self._engines[width, height] = self._open(width, height)
        self._engine = self._engines[width, height]
        return self._engine

    def estimate(self, frame: Frame) -> Depth:
        """Depth of the rectified image at the engine's size, with the camera scaled to it."""
        return self.results(frame)[0]

    def results(self, frame: Frame) -> tuple[Depth, tuple[np.ndarray, ...]]:
        """The same, and what else the model gives, at the same size (see depth_ros.networks)."""
        image, camera = rectify(frame.image, frame.camera)
        engine = self.prepare(camera.width, camera.height)
        size = (engine.width, engine.height)
        method = cv2.INTER_AREA if engine.width < camera.width else cv2.INTER_LINEAR
        small = cv2.resize(image, size, interpolation=method)
        camera = camera.resized(*size)
        depth, *rest = engine.results(small, camera.K)
        return Depth(frame.stamp, frame.frame_id, depth, camera, small), tuple(rest)

    def _open(self, width: int, height: int) -> Engine:
        size = engine_size(self.card, width, height)
        if not self._background or self._settings.backend == "eager":
            return open_engine(self.card, *size, self._settings)
        self._building += 1
        threading.Thread(target=self._build, args=(width, height, size), daemon=True).start()
        eager = EngineSettings(backend="eager", precision="float32", device=self._settings.device)
        return open_engine(self.card, *size, eager)

    def _build(self, width: int, height: int, size: tuple[int, int]) -> None:
        try:
            self._engines[width, height] = open_engine(self.card, *size, self._settings)
        except DepthRosError as error:
            log.error("stays on eager PyTorch: %s", error)
        finally:
            self._building -= 1
