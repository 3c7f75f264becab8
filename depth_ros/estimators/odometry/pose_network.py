"""Odometry of a pose network, as in the published video families: predicted motions are integrated."""

from __future__ import annotations

from collections import deque

import numpy as np

from depth_ros.datatypes import Frame, Motion, Odometry, Pose
from depth_ros.engine import EngineSettings, EngineStatus
from depth_ros.engine.image_path import Pixels
from depth_ros.estimators.frame_stack import FrameStackEngine
from depth_ros.geometry import orthonormal


class PoseNetwork:
    """Frame -> Odometry, never "lost"; lengths in the model's own unit, covariances zero.

    The network's input holds as many frames as its card says; until enough have come, the first one is repeated.
    window: (frames - 1, 4, 4) T_older_newer of all frames of the last input, None while the first one is repeated.
    Raises DepthRosError if the model is unknown, damaged or no ego_motion model.
    """

    def __init__(self, model: str, settings: EngineSettings = EngineSettings()) -> None:  # noqa: B008
        self._engine = FrameStackEngine(model, "ego_motion", settings)
        self.card = self._engine.card
        self._images: deque[Pixels] = deque(maxlen=self.card.frames)
        self.reset()

    @property
    def engine_status(self) -> EngineStatus:
        """The engine that served the last frames."""
        return self._engine.status

    def reset(self) -> None:
        """Forget all frames and return to the origin."""
        self._images.clear()
        self._stamp, self._T = 0, np.eye(4)
        self._received = 0
        self.window: np.ndarray | None = None

    def estimate(self, frame: Frame) -> Odometry:
        """Odometry of one frame; "starting", without a motion, if no frame of the same size preceded it."""
        camera = frame.camera.rectified()
        if self._engine.open(camera):
            self._images.clear()
        first = not self._images
        self._received = 1 if first else self._received + 1
        self._images.extend([self._engine.prepared(frame)] * (self.card.frames if first else 1))
        motion = None
        if not first:
            motions, *_ = self._engine.results(camera, self._images)
            self.window = motions.astype(np.float64) if self._received >= self.card.frames else None
            motion = Motion(self._stamp, frame.stamp, motions[-1].astype(np.float64))
            self._T = orthonormal(self._T @ motion.T_old_new)
        self._stamp = frame.stamp
        pose = Pose(frame.stamp, self._T.copy())
        return Odometry(frame.stamp, "starting" if first else "tracking", pose, motion)
