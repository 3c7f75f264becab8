"""Two-view inputs of a clip, written as a folder, and predictions of a model from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from depth_ros.datatypes import Frame
from depth_ros.effects.clip import ClipImage, ClipOptions, clip_image, estimated_depth
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.protocols import PROTOCOLS
from depth_ros.evaluation.two_view import two_view_inputs
from depth_ros.parallax import KEYPOINTS, Parallax, scale_to_parallax
from depth_ros.recordings import open_recording, readable

DEPTH_SCALE = 1000
"""Stored units of depth per unit of the poses."""

SINGLE_VIEW, TWO_VIEWS = "single view", "two views"
"""Predictions without what the second view gives, and from all inputs."""
WRITTEN = ("people", "parallax", "confidence", "keypoints")
"""Inputs that are written."""


@dataclass(frozen=True)
class TwoViewOptions:
    """model: takes `extra_inputs`; its depth is written, too; empty: none."""

    clip: ClipOptions = field(default_factory=ClipOptions)
    model: str = ""
    engine: EngineSettings = field(default_factory=EngineSettings)


@dataclass(frozen=True)
class TwoViewResult:
    """Summary of a clip. images: number of images written. coverage: mean fraction of pixels with parallax depth.

    metrics: {"parallax" | SINGLE_VIEW | TWO_VIEWS: metrics against recorded depth}, where there is any.
    """

    images: int
    coverage: float
    metrics: dict[str, dict[str, float | None]]


def write_inputs(
    source: Path,
    out: Path,
    options: TwoViewOptions = TwoViewOptions(),
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> TwoViewResult:
    """Compute the two-view inputs of every image and write them to the new folder `out`.

    image/, camera.yaml and poses.txt in the general layout (`recordings.layouts.folder`), depth/ from parallax
    (uint16, 1/1000 of the unit of the poses, 0 = invalid), confidence/ (uint8, 255 = 1), moving_objects/ (255 = people)
    and keypoints/ (numbers of joints). Depth of the model is written to predicted/, scaled to the parallax.
    Poses that the recording lacks are estimated, see `two_view_inputs`; images without a pose are left out.
    """
    if out.exists() and any(out.iterdir()):
        raise DepthRosError(f"{out} already exists: remove it or give another name")
    estimator = _estimator(options)
    recording = two_view_inputs(open_recording(source, options.clip.recording), WRITTEN, options.engine)
    metrics = {name: DepthMetrics(PROTOCOLS["mannequin"]) for name in ("parallax", SINGLE_VIEW, TWO_VIEWS)}
    count = min(options.clip.limit or len(recording), len(recording))
    coverage, poses = list[float](), list[np.ndarray]()
    for index, sample in progress(readable(recording, range(count))):
        if sample.T_world_camera is None:
            continue
        image, parallax = clip_image(index, sample), recording.parallax(index)
        depths = {} if parallax is None else {"parallax": parallax.depth}
        coverage.append(0.0 if parallax is None else float((parallax.confidence > 0).mean()))
        poses.append(sample.T_world_camera)
        if estimator:
            for name, frame in ((SINGLE_VIEW, _single_view(image.frame)), (TWO_VIEWS, image.frame)):
                depths[name] = estimated_depth(frame, estimator)
        for name, depth in depths.items():
            if image.depth is not None:
                metrics[name].add(depth, image.depth, people=image.people)
        _write(out, image, parallax, depths.get(TWO_VIEWS))
    if len(poses) < 2:
        raise DepthRosError(
            f"{source}: {len(poses)} of {count} images have a pose; two are required: give --poses"
        )
    rows = [" ".join(f"{x:.9g}" for x in T[:3].flat) for T in poses]
    (out / "poses.txt").write_text("\n".join(rows) + "\n")
    computed = {name: each.compute() for name, each in metrics.items() if len(each)}
    return TwoViewResult(len(poses), float(np.mean(coverage)), computed)


def _estimator(options: TwoViewOptions) -> DepthEstimator | None:
    if not options.model:
        return None
    estimator = DepthEstimator(options.model, options.engine)
    if not estimator.card.extra_inputs:
        raise DepthRosError(f"model '{options.model}' takes the image alone; use `depth_ros predict`")
    return estimator


def _single_view(frame: Frame) -> Frame:
    """The frame as if the second view had shown nothing."""
    shape = frame.image.shape[:2]
    unknown = dict.fromkeys(("parallax", "confidence", "flow_x", "flow_y"), np.zeros(shape, np.float32))
    return replace(frame, extra_inputs={**frame.extra_inputs, **unknown})


def _write(out: Path, image: ClipImage, parallax: Parallax | None, predicted: np.ndarray | None) -> None:
    camera, name = image.frame.camera, f"{image.name}.png"
    files = {"image": cv2.cvtColor(image.frame.image, cv2.COLOR_RGB2BGR)}
    if "people" in image.frame.extra_inputs:
        files["moving_objects"] = np.where(image.people, 255, 0).astype(np.uint8)
    if "keypoints" in image.frame.extra_inputs:
        files["keypoints"] = np.rint(KEYPOINTS * image.frame.extra_inputs["keypoints"]).astype(np.uint8)
    if parallax is not None:
        files["depth"] = _stored_depth(parallax.depth)
        files["confidence"] = np.round(255 * parallax.confidence).astype(np.uint8)
    if predicted is not None:
        files["predicted"] = _stored_depth(predicted * (scale_to_parallax(predicted, parallax) or 1.0))
    for folder, pixels in files.items():
        (out / folder).mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(out / folder / name), pixels):
            raise DepthRosError(f"could not write {out / folder / name}: check the free disk space")
    if not (out / "camera.yaml").exists():
        lines = [f"{key}: {getattr(camera, key)}" for key in ("width", "height", "fx", "fy", "cx", "cy")]
        (out / "camera.yaml").write_text("\n".join([*lines, f"depth_scale: {DEPTH_SCALE}"]) + "\n")


def _stored_depth(depth: np.ndarray) -> np.ndarray:
    """Depth as uint16; invalid depth and depth beyond the range become 0."""
    units = np.nan_to_num(np.rint(depth * DEPTH_SCALE), nan=0.0, posinf=0.0, neginf=0.0)
    return np.where((units > 0) & (units <= 65535), units, 0).astype(np.uint16)
