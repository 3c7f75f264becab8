"""Object motion on a recorded folder: what is found against what truly moves, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_ros.datasets import Folder, Sample, open_folder
from depth_ros.datatypes import Depth, Motion, ObjectMotion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator, ObjectMotionSettings
from depth_ros.evaluation.depth_source import RECORDED, depth_source, usual_source
from depth_ros.evaluation.odometry import usual_settings
from depth_ros.evaluation.report.object_motion import Frame, write_object_motion_page

if TYPE_CHECKING:
    from depth_ros.engine import EngineSettings

SAME = 0.25
"""Intersection over union of the masks of one object at least."""
REAL = 0.1
"""Share of an object's mask that has to move truly, for it not to be a false one."""
RENDERED_STD = 0.002
"""Share of rendered depth that it errs by, where it is stored in whole units."""


@dataclass
class Tally:
    """What is gathered over the frames. errors: (speed error as a share, angle deg, squared Mahalanobis distance) of
    every object found whose velocity is known."""

    frames: int = 0
    objects: int = 0
    labelled: int = 0
    false: int = 0
    wanted: int = 0
    found: int = 0
    both: int = 0
    either: int = 0
    errors: list[tuple[float, float, float]] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, sample: Sample, depth: Depth, objects: list[ObjectMotion], smallest: float) -> None:
        """One frame. smallest: share of the image from which on an object is wanted."""
        self.frames += 1
        self.objects += len(objects)
        if sample.moving is None:
            return
        self.labelled += 1
        shape = depth.depth.shape
        rows, columns = (np.arange(n) * m // n for n, m in zip(shape, sample.moving.shape, strict=True))
        truth = sample.moving[np.ix_(rows, columns)]
        reported = np.zeros(shape, bool)
        for each in objects:
            reported |= each.mask
            self.false += (truth[each.mask] > 0).mean() < REAL
        self.both += int((reported & (truth > 0)).sum())
        self.either += int((reported | (truth > 0)).sum())
        for label in np.unique(truth[truth > 0]):
            mask = truth == label
            if mask.sum() < smallest * mask.size:
                continue
            self.wanted += 1
            best = max(objects, key=lambda each: overlap(each.mask, mask), default=None)
            if best is not None and overlap(best.mask, mask) >= SAME:
                self.found += 1
                if sample.velocities and label in sample.velocities:
                    self.errors.append(velocity_errors(best, sample.velocities[label]))

    def figures(self) -> dict[str, Any]:
        """None where nothing was there to compare with."""
        speed, angle, distance = np.array(self.errors).reshape(-1, 3).T
        known, labelled = len(speed) > 0, self.labelled > 0
        return {
            "frames": self.frames,
            "objects_per_frame": self.objects / max(self.frames, 1),
            "frames_with_truth": self.labelled,
            "false_per_frame": self.false / self.labelled if labelled else None,
            "objects_with_truth": self.wanted,
            "found": self.found / self.wanted if self.wanted else None,
            "moving_iou": self.both / self.either if self.either and labelled else None,
            "speed_error": float(np.median(speed)) if known else None,
            "angle_error_deg": float(np.median(angle)) if known else None,
            "within_10_percent_3_deg": float(((speed < 0.1) & (angle < 3)).mean()) if known else None,
            "nees": float(distance.mean()) if known else None,
            "ms_per_frame": float(np.median(self.milliseconds)) if self.milliseconds else None,
        }


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def velocity_errors(found: ObjectMotion, truth: np.ndarray) -> tuple[float, float, float]:
    """Length of the difference as a share of the true speed, angle between the two in degrees, and NEES (3 = right)."""
    difference = found.velocity - truth
    cosine = found.velocity @ truth / (np.linalg.norm(found.velocity) * np.linalg.norm(truth))
    nees = difference @ np.linalg.solve(found.covariance, difference)
    share = np.linalg.norm(difference) / np.linalg.norm(truth)
    return float(share), float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), float(nees)


def evaluate_object_motion(
    model: str,
    data: Path,
    *,
    engine_settings: EngineSettings | None = None,
    settings: ObjectMotionSettings | None = None,
    instances: bool = False,
    limit: int = 0,
    report: Path | None = None,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
    watch: Callable[[Depth, list[ObjectMotion]], None] = lambda depth, objects: None,
) -> dict[str, Any]:
    """Measure object motion on a folder and return what `depth_ros evaluate object_motion --json` writes.

    model: whose depth is used, `semi_global`, `recorded`, or "" for what suits the folder. Ego-motion is found by
    odometry on that depth. instances: the folder's moving_objects are given as masks. limit: only so many frames from
    the first on; 0 = all. report: file of the page to write, with the command that asked for it. watch: is shown every
    frame and what was found in it.
    """
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.odometry.estimator import OdometryEstimator

    folder = open_folder(data)
    source = depth_source(model or usual_source(folder), folder, engine_settings or EngineSettings())
    if source.scale != "metric":
        raise DepthRosError(f"'{model}' gives depth of scale {source.scale}, in which there are no m/s")
    settings = settings or settings_for(source.name, folder)
    odometry, estimator = (
        OdometryEstimator(usual_settings(folder)),
        ObjectMotionEstimator(settings),
    )
    count, tally, older = min(len(folder), limit or len(folder)), Tally(), None
    frames: list[Frame] = []
    for index in range(count):
        sample = folder[index]
        depth = source.estimate(sample)
        motion = odometry.estimate(depth).motion
        if older is not None and motion is not None and motion.stamp_old == older.stamp:
            labels = sample.moving if instances else None
            if not instances or labels is not None:
                objects = _timed(estimator, older, depth, motion, labels, tally)
                tally.add(sample, depth, objects, settings.min_area)
                watch(depth, objects)
                if report:
                    frames.append((depth, objects, sample.moving))
        older = depth
        progress(index + 1, count)
    result = {
        "model": source.name,
        "data": str(data),
        "method": "instances given" if instances else "clusters of what ego-motion does not explain",
        **tally.figures(),
        "engine": source.engine(),
    }
    if report:
        write_object_motion_page(report, result, frames, command)
    return result


def settings_for(model: str, folder: Folder) -> ObjectMotionSettings:
    """Settings for the depth of a model: that of a rendered folder hardly errs."""
    exact = model == RECORDED and getattr(folder, "rendered", False)
    return replace(ObjectMotionSettings(), depth_std=RENDERED_STD) if exact else ObjectMotionSettings()


def _timed(
    estimator: ObjectMotionEstimator, older: Depth, newer: Depth, motion: Motion, labels: np.ndarray | None,
    tally: Tally,
) -> list[ObjectMotion]:  # fmt: skip
    started = time.perf_counter()
    found = estimator.estimate(older, newer, motion, labels)
    tally.milliseconds.append(1000 * (time.perf_counter() - started))
    return found
