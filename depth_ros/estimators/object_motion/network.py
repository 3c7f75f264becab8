"""Motion of labelled objects from a network of a published video family, on three successive images.

The network's lengths are in a unit of its own. It also predicts the depth of each object in that unit; the ratio to the
measured depth converts the motion of the object to metres.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from depth_ros.datatypes import Camera, Depth, Motion, ObjectMotion
from depth_ros.engine import EngineProvider, EngineSettings, EngineStatus, open_engine
from depth_ros.engine.image_path import Pixels
from depth_ros.errors import DepthRosError
from depth_ros.estimators.frame_stack import FrameStackEngine
from depth_ros.estimators.object_motion.estimator import ObjectMotionSettings
from depth_ros.geometry import back_project, inverse

CLIP_LENGTH = 3
"""Number of images that the networks take."""
UNKNOWN_VELOCITY_VARIANCE = 9999.0
"""m^2/s^2, variance of the velocities: the networks do not estimate any."""


@dataclass(frozen=True)
class LabelledFrame:
    """One depth image with its labels (H, W), 0 = background. image: at the engine's size."""

    depth: Depth
    labels: np.ndarray
    image: Pixels


class ObjectMotionNetwork:
    """Object motion from a model of task object_motion; same interface as ObjectMotionEstimator.

    Needs labels that are consistent over time. The first two images of a sequence give no result. settings: the range
    of plausible speeds is used. provider: as in DepthEstimator. Raises DepthRosError if the model is unknown, damaged
    or of another task.
    """

    def __init__(
        self,
        model: str,
        settings: ObjectMotionSettings | None = None,
        engine: EngineSettings | None = None,
        provider: EngineProvider = open_engine,
    ) -> None:
        self._engine = FrameStackEngine(model, "object_motion", engine or EngineSettings(), provider)
        self.card = self._engine.card
        self.settings = settings or ObjectMotionSettings()
        self.reset()

    @property
    def engine_status(self) -> EngineStatus:
        """The engine that served the last images, and what is being built."""
        return self._engine.status

    def prepare(self, camera: Camera) -> None:
        """Open the engine for images of this rectified camera."""
        self._engine.open(camera)

    def reset(self) -> None:
        """Forget the previous images."""
        self._clip: deque[LabelledFrame] = deque(maxlen=CLIP_LENGTH)

    def estimate(
        self, older: Depth, newer: Depth, motion: Motion, labels: np.ndarray | None = None
    ) -> list[ObjectMotion]:
        """Moving objects in the newer image, nearest first.

        labels: (H, W) int, instances of the newer image, 0 = background. motion is not used: the network estimates the
        ego-motion itself.
        """
        if labels is None:
            raise DepthRosError(
                "a model of task 'object_motion' needs labels: provide an instance label image"
            )
        if labels.shape != newer.depth.shape:
            raise DepthRosError(
                f"the label image is {labels.shape[1]}x{labels.shape[0]} and the depth image "
                f"{newer.depth.shape[1]}x{newer.depth.shape[0]}: labels must be at the size of the depth image"
            )
        last = self._clip[-1].depth if self._clip else None
        if self._engine.open(newer.camera) or last is None or last.stamp != older.stamp:
            self.reset()
        self._clip.append(LabelledFrame(newer, labels, self._engine.prepared(newer)))
        if len(self._clip) < CLIP_LENGTH:
            return []
        labels_of_objects = self._common_labels()
        if not labels_of_objects:
            return []
        motions, depths = self._run(labels_of_objects)
        points = back_project(newer.depth, newer.camera)
        results = zip(labels_of_objects, motions, depths, strict=False)
        objects = [self._object(label, T, depth, points) for label, T, depth in results]
        return sorted((each for each in objects if each), key=lambda each: float(each.centre[2]))

    def _common_labels(self) -> list[int]:
        """Labels of the objects that are in all images of the clip, largest object first."""
        newest = self._clip[-1].labels
        common = set.intersection(*(set(np.unique(each.labels[each.labels > 0])) for each in self._clip))
        return [int(label) for label in sorted(common, key=lambda label: -int((newest == label).sum()))]

    def _run(self, labels: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Motions (M, 4, 4) and depths (M,) of the first M objects, in the model's unit."""
        label_images = []
        for frame in self._clip:
            numbered = np.zeros(frame.labels.shape, np.uint8)
            for number, label in enumerate(labels[:255], 1):
                numbered[frame.labels == label] = number
            label_images.append(self._engine.resized_labels(numbered))
        images = [frame.image for frame in self._clip]
        camera = self._clip[-1].depth.camera
        motions, depths = self._engine.results(camera, images, np.stack(label_images))
        return motions.astype(float), depths.astype(float)

    def _object(
        self, label: int, T: np.ndarray, predicted_depth: float, points: np.ndarray
    ) -> ObjectMotion | None:
        """Motion in metres; None if the object has no valid depth or its speed is implausible.

        T: (4, 4) and predicted_depth in the model's unit. points: (H, W, 3) m of the newest image.
        """
        *_, middle, newest = self._clip
        measured_depth = harmonic_mean(middle.depth.depth[middle.labels == label])
        mask = newest.labels == label
        points = points[mask]
        points = points[np.isfinite(points).all(1)]
        if not (np.isfinite(measured_depth) and predicted_depth > 0 and len(points)):
            return None
        T = T.copy()
        T[:3, 3] *= measured_depth / predicted_depth
        centre, seconds = np.median(points, 0).astype(float), 1e-9 * (newest.depth.stamp - middle.depth.stamp)
        velocity = (centre - (inverse(T) @ np.append(centre, 1.0))[:3]) / seconds
        if not self.settings.min_speed <= np.linalg.norm(velocity) <= self.settings.max_speed:
            return None
        return ObjectMotion(label, mask, T, centre, velocity, UNKNOWN_VELOCITY_VARIANCE * np.eye(3))


def harmonic_mean(depth: np.ndarray) -> float:
    """Harmonic mean of the valid values of depth (N,) m; NaN if there are none."""
    valid = depth[np.isfinite(depth) & (depth > 0)]
    return float(1 / np.mean(1 / valid)) if len(valid) else float("nan")
