"""Evaluation of object motion on recorded folders against the ground-truth motion of objects."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from depth_ros.card import find_card
from depth_ros.datatypes import Depth, Motion, ObjectMotion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator, ObjectMotionSettings
from depth_ros.estimators.object_motion.network import ObjectMotionNetwork
from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.estimators.stereo.semi_global import SEMI_GLOBAL
from depth_ros.evaluation.depth_source import RECORDED, DepthSource, open_source
from depth_ros.evaluation.metrics.object_motion import ObjectMotionMetrics
from depth_ros.evaluation.odometry import default_settings
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.report.object_motion import ObjectMotionFrame, write_object_motion_report
from depth_ros.recordings import Recording, Sample, open_recording, readable
from depth_ros.recordings.instances import InstanceIds

RENDERED_STD = 0.002
"""Relative standard deviation of rendered depth, which is stored in whole units."""


class Estimator(Protocol):
    """`ObjectMotionEstimator` or `ObjectMotionNetwork`."""

    settings: ObjectMotionSettings

    def estimate(
        self, older: Depth, newer: Depth, motion: Motion, labels: np.ndarray | None = None
    ) -> list[ObjectMotion]:
        """Moving objects in the newer image."""
        ...


def evaluate_object_motion(
    model: str,
    data: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
    settings: ObjectMotionSettings | None = None,
    instances: bool = False,
    depth_model: str = "",
) -> dict[str, Any]:
    """Evaluate object motion on a folder; returns the content of `depth_ros evaluate object_motion --json`.

    model: its depth is used, `semi_global`, `recorded`, or "" for the default of the folder; or a model of task
    object_motion, whose motions are made metric by the depth of `depth_model`, named likewise. Ego-motion comes from
    odometry with the same depth. settings: None = `default_object_settings`. instances: use the instance masks of the
    recording, or its ground-truth masks of moving objects, instead of clusters of scene flow; a model needs them.
    """
    folder = open_recording(data, options.recording)
    network = model not in ("", RECORDED, SEMI_GLOBAL) and find_card(model).task == "object_motion"
    source = open_source(depth_model if network else model, folder, options.engine)
    if source.scale != "metric":
        raise DepthRosError(
            f"the depth of '{source.name}' is {source.scale}; velocities in m/s need metric depth"
        )
    settings = settings or default_object_settings(source.name, folder)
    estimator: Estimator = ObjectMotionEstimator(settings)
    if network:
        estimator = ObjectMotionNetwork(model, settings, options.engine)
    masks = Masks(folder) if instances or network else None
    metrics, frames = _run(source, estimator, folder, masks, options)
    method = masks.text if masks else "clusters of residual scene flow"
    result = {
        "model": model if network else source.name,
        "data": str(data),
        "method": f"{method}, metres from the depth of '{source.name}'" if network else method,
        **metrics.compute(),
        "engine": source.engine_name,
    }
    if options.report:
        write_object_motion_report(options.report, result, frames, options.command)
    return result


def default_object_settings(model: str, folder: Recording) -> ObjectMotionSettings:
    """Settings for the depth of a model; the recorded depth of a rendered folder is nearly exact."""
    exact = model == RECORDED and folder.contents.exact
    settings = ObjectMotionSettings()
    return dataclasses.replace(settings, relative_depth_std=RENDERED_STD) if exact else settings


class Masks:
    """Instance labels of the frames of a recording, with ids that objects keep. text: where they come from.

    Raises DepthRosError if the recording has none.
    """

    def __init__(self, folder: Recording) -> None:
        self._given, self._ids = folder.contents.instances, InstanceIds()
        self.text = (
            "instance masks, aligned by their overlap" if self._given else "ground-truth instance masks"
        )
        if not (self._given or folder.contents.moving_objects):
            raise DepthRosError("the recording has no instance masks: give a folder of them with --masks")

    def of(self, sample: Sample, shape: tuple[int, int]) -> np.ndarray | None:
        """Labels (H, W) of the given shape; None if the sample has none."""
        labels = sample.moving_objects
        if self._given:
            labels = None if sample.instances is None else self._ids.update(sample.instances)
        if labels is None or labels.shape == shape:
            return labels
        return cv2.resize(labels.astype(np.uint16), shape[::-1], interpolation=cv2.INTER_NEAREST).astype(
            np.int32
        )


def _run(
    source: DepthSource,
    estimator: Estimator,
    folder: Recording,
    masks: Masks | None,
    options: EvaluationOptions,
) -> tuple[ObjectMotionMetrics, list[ObjectMotionFrame]]:
    """Metrics over the frames, and for a report the frames themselves."""
    odometry = OdometryEstimator(default_settings(folder))
    metrics = ObjectMotionMetrics()
    count = min(len(folder), options.limit or len(folder))
    frames: list[ObjectMotionFrame] = []
    older: Depth | None = None
    for index, sample in readable(folder, range(count)):
        depth = source.estimate(sample)
        motion = odometry.estimate(depth).motion
        labels = None if masks is None else masks.of(sample, depth.depth.shape)
        if (
            older is not None and motion is not None and motion.stamp_old == older.stamp
            and (labels is not None or masks is None)
        ):  # fmt: skip
            start = time.perf_counter()
            objects = estimator.estimate(older, depth, motion, labels)
            metrics.milliseconds.append(1000 * (time.perf_counter() - start))
            metrics.add(sample, objects, depth.depth.shape, estimator.settings.min_area)
            if options.report:
                frames.append(ObjectMotionFrame(depth, objects, sample.moving_objects))
        older = depth
        options.progress(index + 1, count)
    return metrics, frames
