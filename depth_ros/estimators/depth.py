"""Depth from one image: rectify, resize to the engine's size, run, and attach the camera of the result."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np

from depth_ros.card import Card, find_card, load_model
from depth_ros.datatypes import Depth, Frame
from depth_ros.engine import Engine, EngineProvider, EngineSettings, EngineStatus, ModelEngines, open_engine
from depth_ros.errors import DepthRosError

log = logging.getLogger("depth_ros.estimators")

TASKS = ("depth", "planes")
"""Tasks of models whose first result is the depth of one image."""


class DepthEstimator:
    """Frame -> Depth with one model, with a standard deviation where the model predicts it.

    provider: `open_engine`, with which `estimate` waits for the engine of a new image size, or `serve_engine`, with
    which eager PyTorch serves until it is built. Raises DepthRosError if the model is unknown, damaged or of another
    task.

    missing: {name: number of frames without it} of the model's `extra_inputs`. Zeros take their place, as where nothing
    is known; the first time is logged, and `engine_status` names them.
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
        self.missing: Counter[str] = Counter()
        self._count = 0

    @property
    def engine_status(self) -> EngineStatus:
        """The engine that served the last image, and what is being built."""
        status = self._engines.status
        if not self.missing:
            return status
        return replace(status, reason=f"{status.reason}; {self._missing_text()}")

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
        extra = [self._extra_inputs(frame, camera.width, camera.height)] if self.card.extra_inputs else []
        depth, *rest, small = engine.results(image, camera.K, *extra, images=[image])
        std = rest.pop(0) if rest and self.card.task == "depth" else None
        far = np.isposinf(depth)
        depth = np.where(far, np.float32(np.nan), depth)
        return Depth(frame.stamp, frame.frame_id, depth, camera, small, std, far=far), tuple(rest)

    def _extra_inputs(self, frame: Frame, width: int, height: int) -> np.ndarray:
        """(C, height, width) float32: the model's extra inputs, resized to the nearest pixel."""
        known, missing, self._count = frame.extra_inputs, list[str](), self._count + 1
        channels = np.zeros((len(self.card.extra_inputs), height, width), np.float32)
        for channel, name in zip(channels, self.card.extra_inputs, strict=True):
            if name in known:
                cv2.resize(known[name], (width, height), channel, interpolation=cv2.INTER_NEAREST_EXACT)
            else:
                missing.append(name)
        is_new = missing and not self.missing
        self.missing.update(missing)
        if is_new:
            log.warning("%s: %s", self.card.name, self._missing_text())
        return channels

    def _missing_text(self) -> str:
        counts = (f"{name} in {count} of {self._count} frames" for name, count in self.missing.items())
        return f"missing inputs, zeros in their place: {', '.join(counts)}"
