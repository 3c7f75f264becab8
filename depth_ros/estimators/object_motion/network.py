"""Motion of labelled objects as the published video families have it: a network says it, of three images in a row.

Its lengths are in a unit of its own. What the depth of an object is in that unit it says, too, and what it is in metres
is measured; so every object brings its own metres.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from depth_ros.datatypes import Depth, Motion, ObjectMotion
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.estimator import ObjectMotionSettings
from depth_ros.estimators.video_engine import VideoEngine
from depth_ros.geometry import back_project, inverse

FRAMES = 3
UNKNOWN = 9999.0
"""m^2/s^2, variance of a velocity of which nothing says how wrong it is."""


@dataclass(frozen=True)
class Seen:
    """One image with its depth, and its labels (H, W), 0 = none. small: the image at the engine's size."""

    depth: Depth
    labels: np.ndarray
    small: np.ndarray


class ObjectMotionNetwork:
    """As ObjectMotionEstimator, by a model of task object_motion; labels are needed, of one object the same in all
    images. The first two images of a row say nothing.

    settings: speeds that are believed. Raises DepthRosError if the model is unknown, damaged or of another task.
    """

    def __init__(
        self, model: str, settings: ObjectMotionSettings | None = None, engine: EngineSettings | None = None
    ) -> None:
        self._engine = VideoEngine(model, "object_motion", engine or EngineSettings())
        self.card = self._engine.card
        self.settings = settings or ObjectMotionSettings()
        self.reset()

    def reset(self) -> None:
        """Forget the images seen."""
        self._seen: deque[Seen] = deque(maxlen=FRAMES)

    def estimate(
        self, older: Depth, newer: Depth, motion: Motion, labels: np.ndarray | None = None
    ) -> list[ObjectMotion]:
        """The objects that move, in the newer image, the nearest first; all as of ObjectMotionEstimator.

        motion: not used, the network has its own idea of it. Covariances are UNKNOWN.
        """
        if labels is None:
            raise DepthRosError("a model of object motion needs labels: say which pixels are one object")
        if labels.shape != newer.depth.shape:
            raise DepthRosError("object motion needs the labels at the size of the depth image")
        before = self._seen[-1].depth if self._seen else None
        if self._engine.open(newer.camera) or before is None or before.stamp != older.stamp:
            self.reset()
        self._seen.append(Seen(newer, labels, self._engine.image(newer.image)))
        if len(self._seen) < FRAMES:
            return []
        ids = self._ids()
        if not ids:
            return []
        motions, lengths = self._run(ids)
        points = back_project(newer.depth, newer.camera)
        found = zip(ids, motions, lengths, strict=False)
        objects = [self._object(label, T, length, points) for label, T, length in found]
        return sorted((each for each in objects if each), key=lambda each: float(each.centre[2]))

    def _ids(self) -> list[int]:
        """Of the objects in all images, the largest first."""
        newest = self._seen[-1].labels
        common = set.intersection(*(set(np.unique(seen.labels[seen.labels > 0])) for seen in self._seen))
        return [int(label) for label in sorted(common, key=lambda label: -int((newest == label).sum()))]

    def _run(self, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Motions (M, 4, 4) and depths (M,) of the first M ids, in the model's unit."""
        labels = []
        for seen in self._seen:
            numbers = np.zeros(seen.labels.shape, np.uint8)
            for number, label in enumerate(ids[:255], 1):
                numbers[seen.labels == label] = number
            labels.append(self._engine.labels(numbers))
        images = np.stack([seen.small for seen in self._seen])
        motions, lengths = self._engine.results(self._seen[-1].depth.camera, images, np.stack(labels))
        return motions.astype(float), lengths.astype(float)

    def _object(self, label: int, T: np.ndarray, length: float, points: np.ndarray) -> ObjectMotion | None:
        """In metres; None where its depth is not known, or its speed is not believed. points: (H, W, 3) m of the newest
        image."""
        *_, middle, newest = self._seen
        measured = harmonic_mean(middle.depth.depth[middle.labels == label])
        mask = newest.labels == label
        points = points[mask]
        points = points[np.isfinite(points).all(1)]
        if not (np.isfinite(measured) and length > 0 and len(points)):
            return None
        T = T.copy()
        T[:3, 3] *= measured / length
        centre, seconds = np.median(points, 0).astype(float), 1e-9 * (newest.depth.stamp - middle.depth.stamp)
        velocity = (centre - (inverse(T) @ np.append(centre, 1.0))[:3]) / seconds
        if not self.settings.min_speed <= np.linalg.norm(velocity) <= self.settings.max_speed:
            return None
        return ObjectMotion(label, mask, T, centre, velocity, UNKNOWN * np.eye(3))


def harmonic_mean(depth: np.ndarray) -> float:
    """Of the known ones of depths (N,), m; NaN if none is."""
    known = depth[np.isfinite(depth) & (depth > 0)]
    return float(1 / np.mean(1 / known)) if len(known) else float("nan")
