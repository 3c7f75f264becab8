"""Metrics of moving objects: detection, segmentation, velocity and its covariance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from depth_ros.datatypes import ObjectMotion
from depth_ros.recordings import Sample

MIN_IOU = 0.25
"""Minimum intersection over union of the masks of a found object and its ground truth."""
MIN_MOVING_RATIO = 0.1
"""Fraction of a found object's mask that must be moving in the ground truth; below it is a false positive."""


@dataclass
class ObjectMotionMetrics:
    """Accumulates the metrics of frames.

    objects, false_positives, ground_truth_objects, matched: numbers of objects. labelled_frames: frames with ground
    truth. intersection, union: px of all moving objects together. errors: relative speed error, angle error (deg) and
    squared Mahalanobis distance of every matched object with a known velocity. milliseconds: latency of each frame.
    """

    frames: int = 0
    objects: int = 0
    labelled_frames: int = 0
    false_positives: int = 0
    ground_truth_objects: int = 0
    matched: int = 0
    intersection: int = 0
    union: int = 0
    errors: list[tuple[float, float, float]] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def add(
        self, sample: Sample, objects: list[ObjectMotion], shape: tuple[int, int], min_area: float
    ) -> None:
        """Add one frame. shape: (H, W) of the masks. min_area: minimum ground-truth object, fraction of the image."""
        self.frames += 1
        self.objects += len(objects)
        if sample.moving_objects is None:
            return
        self.labelled_frames += 1
        rows, columns = (
            np.arange(n) * m // n for n, m in zip(shape, sample.moving_objects.shape, strict=True)
        )
        labels = sample.moving_objects[np.ix_(rows, columns)]
        found = np.zeros(shape, bool)
        for each in objects:
            found |= each.mask
            self.false_positives += (labels[each.mask] > 0).mean() < MIN_MOVING_RATIO
        self.intersection += int((found & (labels > 0)).sum())
        self.union += int((found | (labels > 0)).sum())
        for label in np.unique(labels[labels > 0]):
            mask = labels == label
            if mask.sum() >= min_area * mask.size:
                self._match(mask, objects, (sample.velocities or {}).get(label))

    def _match(self, mask: np.ndarray, objects: list[ObjectMotion], velocity: np.ndarray | None) -> None:
        """Compare a ground-truth object with the found object of the largest overlap."""
        self.ground_truth_objects += 1
        best = max(objects, key=lambda each: mask_iou(each.mask, mask), default=None)
        if best is None or mask_iou(best.mask, mask) < MIN_IOU:
            return
        self.matched += 1
        if velocity is not None:
            self.errors.append(velocity_errors(best, velocity))

    def compute(self) -> dict[str, float | None]:
        """Metrics of all frames added so far; None where there was nothing to compare with."""
        speed, angle, distance = np.array(self.errors).reshape(-1, 3).T
        has_velocities, labelled = len(speed) > 0, self.labelled_frames > 0
        return {
            "frames": self.frames,
            "objects_per_frame": self.objects / max(self.frames, 1),
            "frames_with_ground_truth": self.labelled_frames,
            "false_per_frame": self.false_positives / self.labelled_frames if labelled else None,
            "objects_with_ground_truth": self.ground_truth_objects,
            "found": self.matched / self.ground_truth_objects if self.ground_truth_objects else None,
            "moving_iou": self.intersection / self.union if self.union and labelled else None,
            "speed_error": float(np.median(speed)) if has_velocities else None,
            "angle_error_deg": float(np.median(angle)) if has_velocities else None,
            "within_10_percent_3_deg": float(((speed < 0.1) & (angle < 3)).mean())
            if has_velocities
            else None,
            "nees": float(distance.mean()) if has_velocities else None,
            "ms_per_frame": float(np.median(self.milliseconds)) if self.milliseconds else None,
        }


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def velocity_errors(found: ObjectMotion, ground_truth: np.ndarray) -> tuple[float, float, float]:
    """Errors of an object's velocity against the ground truth (3,) m/s.

    Length of the difference relative to the true speed, angle between the two in degrees, and NEES of the velocity (3
    on average for consistent covariances).
    """
    difference = found.velocity - ground_truth
    cosine = found.velocity @ ground_truth / (np.linalg.norm(found.velocity) * np.linalg.norm(ground_truth))
    nees = difference @ np.linalg.solve(found.covariance, difference)
    relative = np.linalg.norm(difference) / np.linalg.norm(ground_truth)
    return float(relative), float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), float(nees)
