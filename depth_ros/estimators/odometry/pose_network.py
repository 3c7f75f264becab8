"""Odometry as the published video families do it: a network says the motion, motions are strung together."""

from __future__ import annotations

from collections import deque

import numpy as np

from depth_ros.datatypes import Frame, Motion
from depth_ros.engine import EngineSettings
from depth_ros.estimators.video_engine import VideoEngine
from depth_ros.geometry import rectify


class PoseNetwork:
    """Frame -> Motion since the frame before it; None for the first. Lengths are in the model's own unit.

    The network sees as many frames as its card says; before there are so many, the first one stands in for those
    that are missing. Raises DepthRosError if the model is unknown, damaged or no ego_motion model.
    """

    def __init__(self, model: str, settings: EngineSettings = EngineSettings()) -> None:  # noqa: B008
        self._engine = VideoEngine(model, "ego_motion", settings)
        self.card = self._engine.card
        self._images: deque[np.ndarray] = deque(maxlen=self.card.frames)
        self._stamp = 0

    @property
    def engine_name(self) -> str:
        """Backend, precision and size of the engine."""
        return self._engine.name

    def reset(self) -> None:
        """Forget the frames seen: the next one is a first one."""
        self._images.clear()

    def estimate(self, frame: Frame) -> Motion | None:
        """The motion that led to this frame; None where no frame of the same size came before it."""
        image, camera = rectify(frame.image, frame.camera)
        if self._engine.open(camera):
            self.reset()
        first = not self._images
        self._images.extend([self._engine.image(image)] * (self.card.frames if first else 1))
        earlier, self._stamp = self._stamp, frame.stamp
        if first:
            return None
        motions, *_ = self._engine.results(camera, np.stack(self._images))
        return Motion(earlier, frame.stamp, motions[-1].astype(np.float64))
