"""Evaluation of the clouds that mark obstacles in a costmap, with and without filters."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.errors import DepthRosError
from depth_ros.estimators.clouds import CloudSettings, filtered_points
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.estimators.odometry.scale import ScaleSettings
from depth_ros.estimators.odometry.scale_sources import ground_plane
from depth_ros.evaluation.depth_source import open_source
from depth_ros.evaluation.metrics.obstacles import Marking, ObstacleMetrics
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.setup import measured_depth, select
from depth_ros.geometry import back_project
from depth_ros.recordings import open_recording

MAX_CAMERA_TILT = 50.0
"""deg; the camera may look down or up by so much, or be rolled."""
MIN_CONFIDENCE = 0.3
"""of the filtered cloud, where the model gives standard deviations."""
FRAME = "ground"
"""Name of the frame below the camera."""


def evaluate_obstacles(
    model: str,
    data: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
    marking: Marking = Marking(),  # noqa: B008
) -> dict[str, Any]:
    """Evaluate points and points_filtered of a model, `semi_global` or `recorded`; returns the content of `--json`.

    Both are compared with the cloud of the ground truth, at the pixels where there is one, in the frame of the ground
    plane that is fitted to it; images without ground are left out. Raises DepthRosError if the recording has no depth.
    """
    if options.report:
        raise DepthRosError("evaluate obstacles writes no report: leave out --report")
    recording = open_recording(data, options.recording)
    selection = select(recording, options.split, options.limit)
    if selection.first_with_depth is None:
        raise DepthRosError(f"{data} has no measured depth to compare obstacles with")
    source = open_source(model, recording, options.engine)
    if source.scale != "metric":
        raise DepthRosError(f"model '{model}' has scale {source.scale}; obstacles need metres")
    filters = FilterSettings(
        min_confidence=MIN_CONFIDENCE, max_depth=2 * marking.max_range, base_frame=FRAME,
        min_height=marking.min_height, max_height=marking.max_height,
    )  # fmt: skip
    raw, clean, images, without_ground = ObstacleMetrics(marking), ObstacleMetrics(marking), 0, 0
    for done, (_, sample) in enumerate(selection.samples(), 1):
        options.progress(done, len(selection.indices))
        truth = measured_depth(sample)
        if truth is None:
            continue
        depth = source.estimate(sample)
        ground_truth = with_depth(depth, truth)
        T = T_ground_camera(ground_truth)
        if T is None:
            without_ground += 1
            continue
        images += 1
        compare(depth, ground_truth, T, filters, (raw, clean))
    unfiltered = {f"{name}_unfiltered": value for name, value in raw.compute().items()}
    return {
        "model": source.name, "data": str(data), "images": images, "without_ground": without_ground,
        "engine": source.engine_name, "obstacle_cells": clean.obstacles, "area_m2": clean.known / 100,
        "metrics": clean.compute() | unfiltered,
    }  # fmt: skip


def compare(
    depth: Depth, ground_truth: Depth, T_ground: np.ndarray, filters: FilterSettings,
    metrics: tuple[ObstacleMetrics, ObstacleMetrics],
) -> None:  # fmt: skip
    """Count one image in the metrics without and with filters, which see the pixels without ground truth, too."""
    is_known = np.isfinite(ground_truth.depth)
    truth = to_frame(T_ground, points_of(ground_truth))
    kept = filtered(depth, filters)
    known, kept = (
        dataclasses.replace(each, depth=np.where(is_known, each.depth, np.float32(np.nan)))
        for each in (depth, kept)
    )
    metrics[0].add(to_frame(T_ground, points_of(known)), truth)
    points = filtered_points(kept, CloudSettings.voxel_size, T_ground, filters)
    metrics[1].add(to_frame(T_ground, points.xyz), truth)


def with_depth(depth: Depth, values: np.ndarray) -> Depth:
    """The same image with other depth (H, W) m, resized to the nearest pixel."""
    size = depth.camera.width, depth.camera.height
    resized = cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return dataclasses.replace(depth, depth=resized, std=None)


def T_ground_camera(depth: Depth) -> np.ndarray | None:
    """(4, 4) pose of the camera in a frame on the ground below it, x forward, z up; None if no ground is visible."""
    found = ground_plane(depth, settings=ScaleSettings(max_ground_tilt=MAX_CAMERA_TILT))
    if found is None:
        return None
    norm = float(np.linalg.norm(found[0]))
    up = found[0] / norm
    left = np.cross(up, [0.0, 0.0, 1.0])
    left /= np.linalg.norm(left)
    T = np.eye(4)
    T[:3, :3] = np.cross(left, up), left, up
    T[2, 3] = 1 / norm
    return T


def points_of(depth: Depth) -> np.ndarray:
    """(N, 3) m, the points of all valid pixels in the optical frame."""
    points = back_project(depth.depth, depth.camera).reshape(-1, 3)
    return points[np.isfinite(points[:, 2])]


def to_frame(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 3) points transformed by T (4, 4)."""
    return points @ T[:3, :3].T + T[:3, 3]
