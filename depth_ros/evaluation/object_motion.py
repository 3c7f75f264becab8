"""Evaluation of object motion on recorded folders against the ground-truth motion of objects."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from depth_ros.datatypes import Depth
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator, ObjectMotionSettings
from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.evaluation.depth_source import RECORDED, DepthSource, open_source
from depth_ros.evaluation.metrics.object_motion import ObjectMotionMetrics
from depth_ros.evaluation.odometry import default_settings
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.report.object_motion import ObjectMotionFrame, write_object_motion_report
from depth_ros.recordings import Recording, open_recording, readable

RENDERED_STD = 0.002
"""Relative standard deviation of rendered depth, which is stored in whole units."""


def evaluate_object_motion(
    model: str,
    data: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
    settings: ObjectMotionSettings | None = None,
    instances: bool = False,
) -> dict[str, Any]:
    """Evaluate object motion on a folder; returns the content of `depth_ros evaluate object_motion --json`.

    model: its depth is used, `semi_global`, `recorded`, or "" for the default of the folder. Ego-motion comes from
    odometry with the same depth. settings: None = `default_object_settings`. instances: use the ground-truth masks of
    moving objects instead of clusters of scene flow.
    """
    folder = open_recording(data, options.recording)
    source = open_source(model, folder, options.engine)
    if source.scale != "metric":
        raise DepthRosError(f"the depth of '{model}' is {source.scale}; velocities in m/s need metric depth")
    settings = settings or default_object_settings(source.name, folder)
    metrics, frames = _run(source, folder, settings, instances, options)
    result = {
        "model": source.name,
        "data": str(data),
        "method": "ground-truth instance masks" if instances else "clusters of residual scene flow",
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


def _run(
    source: DepthSource,
    folder: Recording,
    settings: ObjectMotionSettings,
    instances: bool,
    options: EvaluationOptions,
) -> tuple[ObjectMotionMetrics, list[ObjectMotionFrame]]:
    """Metrics over the frames, and for a report the frames themselves."""
    odometry = OdometryEstimator(default_settings(folder))
    estimator, metrics = ObjectMotionEstimator(settings), ObjectMotionMetrics()
    count = min(len(folder), options.limit or len(folder))
    frames: list[ObjectMotionFrame] = []
    older: Depth | None = None
    for index, sample in readable(folder, range(count)):
        depth = source.estimate(sample)
        motion = odometry.estimate(depth).motion
        labels = sample.moving_objects if instances else None
        if (
            older is not None and motion is not None and motion.stamp_old == older.stamp
            and (labels is not None or not instances)
        ):  # fmt: skip
            start = time.perf_counter()
            objects = estimator.estimate(older, depth, motion, labels)
            metrics.milliseconds.append(1000 * (time.perf_counter() - start))
            metrics.add(sample, objects, depth.depth.shape, settings.min_area)
            if options.report:
                frames.append(ObjectMotionFrame(depth, objects, sample.moving_objects))
        older = depth
        options.progress(index + 1, count)
    return metrics, frames
