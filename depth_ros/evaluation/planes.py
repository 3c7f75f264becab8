"""Evaluation of planes models, and of planes fitted to the depth of depth models."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame, Planes
from depth_ros.estimators.planes import PlanesEstimator
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.planes import PlaneMetrics
from depth_ros.evaluation.metrics.protocols import PROTOCOLS, resize_depth
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.report.planes import MAX_STRIPS, planes_strip, write_planes_report
from depth_ros.evaluation.setup import select
from depth_ros.geometry import rectify
from depth_ros.plane_fitting import fit_planes, largest_planes
from depth_ros.recordings import open_recording
from depth_ros.world import World, WorldSettings

RENDERED_ROOMS = "world:room"
"""Name of the rendered rooms as data."""
ROOM_COUNT, FIRST_ROOM = 40, 2_000_000
"""Default number of rendered rooms and seed of the first one; the seeds of training start at 0."""
MIN_PLANE_AREA, MAX_PLANES = 0.01, 10
"""Smallest ground-truth plane as a fraction of the image, and maximum number per image, largest first (section 5):
every second room shows more, up to 19, than a network with ten outputs can find."""


@dataclass(frozen=True)
class PlanesSample:
    """One image with ground truth: depth (H, W) m, NaN = invalid, and planes."""

    name: str
    frame: Frame
    depth: np.ndarray
    planes: Planes


def rendered_rooms(count: int = ROOM_COUNT) -> Iterator[PlanesSample]:
    """Rendered rooms with exact planes that training never uses, with varying focal lengths."""
    for seed in range(FIRST_ROOM, FIRST_ROOM + count):
        focal = 320 * float(np.random.default_rng(seed).uniform(0.5, 0.95))
        world = World(WorldSettings(kind="room", seed=seed, frames=1, width=320, height=240, focal=focal))
        image, depth = world.render(0)
        planes = largest_planes(world.planes(0, min_pixels=round(MIN_PLANE_AREA * depth.size)), MAX_PLANES)
        yield PlanesSample(f"room {seed}", Frame(0, "camera", image, world.cameras["left"]), depth, planes)


def recorded_planes(data: Path, options: EvaluationOptions) -> Iterator[PlanesSample]:
    """Images of a recording with depth; their planes are fitted to it."""
    recording = open_recording(data, options.recording)
    for _, sample in select(recording, options.split, options.limit).samples():
        if sample.depth is not None:
            image, camera = rectify(sample.left.image, sample.left.camera)
            frame = Frame(sample.left.stamp, sample.left.frame_id, image, camera)
            yield PlanesSample(sample.name, frame, sample.depth, fit_planes(sample.depth, camera))


def evaluate_planes(
    model: str,
    data: str,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
) -> dict[str, Any]:
    """Evaluate a planes model, or planes fitted to the depth of a depth model.

    data: "world:room" for rendered rooms with exact planes, else a folder, whose planes are fitted to its depth.
    Returns the content of `depth_ros evaluate planes --json`: plane recall, and AbsRel and delta of the depth.
    """
    estimator = PlanesEstimator(model, options.engine)
    if data == RENDERED_ROOMS:
        samples = list(rendered_rooms(options.limit or ROOM_COUNT))
    else:
        samples = list(recorded_planes(Path(data), options))
    plane_metrics, depth_metrics = PlaneMetrics(), DepthMetrics(PROTOCOLS["indoor"])
    strips: list[str] = []
    milliseconds: list[float] = []
    for sample in samples:
        camera = sample.frame.camera
        estimator.depth.prepare(camera.width, camera.height)  # building the engine does not count as latency
        start = time.perf_counter()
        depth, planes = estimator.estimate(sample.frame)
        milliseconds.append(1e3 * (time.perf_counter() - start))
        labels, resized = _at_size_of(camera, planes.labels, depth.depth)
        plane_metrics.add(labels, resized, sample.planes.labels, sample.depth)
        depth_metrics.add(depth.depth, sample.depth)
        if options.report is not None and len(strips) < MAX_STRIPS:
            ground_truth = (sample.planes, sample.depth)
            strips.append(planes_strip(sample.name, sample.frame.image, ground_truth, (labels, resized)))
        options.progress(len(milliseconds), len(samples))
    of_depth = depth_metrics.compute()
    result = {
        "model": estimator.depth.card.name,
        "data": data,
        "engine": estimator.engine_status.name,
        "images": len(milliseconds),
        "ground_truth_planes": plane_metrics.planes,
        "metrics": {**plane_metrics.compute(), **{key: of_depth[key] for key in ("abs_rel", "delta1")}},
        "ms_per_image": float(np.median(milliseconds)) if milliseconds else None,
    }
    if options.report is not None:
        write_planes_report(options.report, result, strips, options.command)
    return result


def _at_size_of(camera: Camera, labels: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and depth at the image size of a camera."""
    size = (camera.width, camera.height)
    resized = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return resized, resize_depth(depth, *size[::-1])
