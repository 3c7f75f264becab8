"""Evaluation of planes models, and of planes fitted to the depth of depth models."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame, Planes
from depth_ros.errors import DepthRosError
from depth_ros.estimators.planes import PlanesEstimator
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.planes import PlaneMetrics
from depth_ros.evaluation.metrics.protocols import resize_depth
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.report.planes import MAX_STRIPS, planes_strip, write_planes_report
from depth_ros.evaluation.setup import Selection, choose_protocol, select
from depth_ros.geometry import rectify, rectify_depth, rectify_labels
from depth_ros.plane_fitting import fit_planes, largest_planes, visible_planes
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


def planes_selection(data: Path, options: EvaluationOptions) -> Selection:
    """The images of a recording to evaluate. Raises DepthRosError if it has no measured depth."""
    recording = open_recording(data, options.recording)
    selection = select(recording, options.split, options.limit)
    if selection.first_with_depth is None:
        why = (
            "its depth was predicted by a model" if recording.contents.predicted_depth else "it has no depth"
        )
        raise DepthRosError(
            f"{data} has no ground truth for planes: {why}; give a recording with measured depth "
            f"(a bag: --depth-topic), or '{RENDERED_ROOMS}'"
        )
    return selection


def recorded_planes(selection: Selection) -> Iterator[PlanesSample]:
    """The rectified images with depth; their planes are the annotated ones that count, or fitted to the depth."""
    for _, sample in selection.samples():
        if sample.depth is None:
            continue
        raw = sample.left.camera
        image, camera = rectify(sample.left.image, raw)
        depth, _ = rectify_depth(sample.depth, raw)
        frame = Frame(sample.left.stamp, sample.left.frame_id, image, camera)
        planes = fit_planes(depth, camera) if sample.planes is None else _annotated(sample.planes, raw)
        yield PlanesSample(sample.name, frame, depth, planes)


def _annotated(planes: Planes, camera: Camera) -> Planes:
    """The planes of an annotation that count, by the same rules as those of rendered rooms, in the rectified image."""
    labels = rectify_labels(planes.labels + 1, camera) - 1  # outside of the raw image it gives 0
    return largest_planes(visible_planes(labels, planes.equations, MIN_PLANE_AREA), MAX_PLANES)


def evaluate_planes(
    model: str,
    data: str | Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
    protocol: str = "indoor",
) -> dict[str, Any]:
    """Evaluate a planes model, or planes fitted to the depth of a depth model.

    data: "world:room" for rendered rooms with exact planes, else a recording, whose planes are its own, or else fitted
    to its depth. protocol: of the depth metrics, a name in `metrics.protocols.PROTOCOLS`.
    Returns the content of `depth_ros evaluate planes --json`: recall of planes and pixels at an IoU of 0.5, the curves
    of both (see `metrics.planes.CURVES`), and the metrics of the depth.
    """
    if str(data) == RENDERED_ROOMS:
        count = options.limit or ROOM_COUNT
        samples = rendered_rooms(count)
    else:
        selection = planes_selection(Path(data), options)
        count, samples = len(selection.indices), recorded_planes(selection)
    estimator = PlanesEstimator(model, options.engine)
    plane_metrics, depth_metrics = PlaneMetrics(), DepthMetrics(choose_protocol(protocol, None))
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
        options.progress(len(milliseconds), count)
    known = {key: value for key, value in depth_metrics.compute().items() if value is not None}
    curves = plane_metrics.curves()
    result = {
        "model": estimator.depth.card.name,
        "data": str(data),
        "engine": estimator.engine_status.name,
        "images": len(milliseconds),
        "ground_truth_planes": plane_metrics.planes,
        "protocol": depth_metrics.protocol.text,
        "metrics": {**plane_metrics.compute(), **known},
        "curves": {name: dataclasses.asdict(curve) for name, curve in curves.items()},
        "ms_per_image": float(np.median(milliseconds)) if milliseconds else None,
    }
    if options.report is not None:
        write_planes_report(options.report, result, strips, curves, options.command)
    return result


def _at_size_of(camera: Camera, labels: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and depth at the image size of a camera."""
    size = (camera.width, camera.height)
    resized = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return resized, resize_depth(depth, *size[::-1])
