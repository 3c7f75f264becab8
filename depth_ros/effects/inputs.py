"""Two-view inputs of a clip, written as a folder, and predictions of a mannequin model from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_ros.card import Card, find_card, load_model
from depth_ros.effects.clip import ClipImage, ClipOptions, read_clip, require_poses
from depth_ros.effects.parallax import Parallax, input_channels, scale_to_parallax, two_view_parallax
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.protocols import PROTOCOLS

DEPTH_SCALE = 1000
"""Stored units of depth per unit of the poses."""

SINGLE_VIEW, TWO_VIEWS = "single view", "two views"
"""Predictions from the image alone and from all inputs."""


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
    options: ClipOptions = ClipOptions(),  # noqa: B008 - frozen
    model: str = "",
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> TwoViewResult:
    """Compute the two-view inputs of every image with a pose and write them to the new folder `out`.

    image/, camera.yaml and poses.txt in the general layout (`recordings.layouts.folder`), depth/ from parallax
    (uint16, 1/1000 of the unit of the poses, 0 = invalid), confidence/ (uint8, 255 = 1) and moving_objects/ (255 =
    people). model: a mannequin model, whose depth is written to predicted/ in the same units, scaled to the parallax.
    """
    clip = require_poses(read_clip(source, options), source)
    if out.exists() and any(out.iterdir()):
        raise DepthRosError(f"{out} already exists: remove it or give another name")
    predictor = TwoViewPredictor(model) if model else None
    metrics = {name: DepthMetrics(PROTOCOLS["mannequin"]) for name in ("parallax", SINGLE_VIEW, TWO_VIEWS)}
    coverage = []
    for index in progress(range(len(clip))):
        image, parallax = clip[index], two_view_parallax(clip, index)
        depths = {} if parallax is None else {"parallax": parallax.depth}
        coverage.append(0.0 if parallax is None else float((parallax.confidence > 0).mean()))
        if predictor:
            depths |= {SINGLE_VIEW: predictor(image, None), TWO_VIEWS: predictor(image, parallax)}
        for name, depth in depths.items():
            if image.depth is not None:
                metrics[name].add(depth, image.depth, people=image.people)
        _write(out, image, parallax, depths.get(TWO_VIEWS))
    rows = [" ".join(f"{x:.9g}" for x in image.T_world_camera[:3].flat) for image in clip]  # type: ignore[index]
    (out / "poses.txt").write_text("\n".join(rows) + "\n")
    computed = {name: each.compute() for name, each in metrics.items() if len(each)}
    return TwoViewResult(len(clip), float(np.mean(coverage)), computed)


class TwoViewPredictor:
    """Eager prediction of a mannequin model: (image, parallax or None) -> up-to-scale depth (H, W)."""

    def __init__(self, model: str) -> None:
        card: Card = find_card(model)
        self.model = load_model(card)
        if not hasattr(self.model, "channels"):
            raise DepthRosError(
                f"model '{model}' is of family '{card.family}'; two-view prediction requires family 'mannequin'"
            )
        self.max_pixels = card.width * card.height
        self.size_multiple = int(self.model.size_multiple)  # type: ignore[arg-type]

    def __call__(self, image: ClipImage, parallax: Parallax | None) -> np.ndarray:
        import torch

        height, width = image.people.shape
        scale = (self.max_pixels / (height * width)) ** 0.5
        multiple = self.size_multiple
        size = tuple(max(1, round(side * scale / multiple)) * multiple for side in (width, height))
        pixels = cv2.resize(image.frame.image, size, interpolation=cv2.INTER_AREA)
        channels = input_channels(self.model.channels, image, parallax)  # type: ignore[arg-type]
        resized = [cv2.resize(channel, size, interpolation=cv2.INTER_NEAREST) for channel in channels]
        stacked = np.stack(resized) if resized else np.zeros((0, *pixels.shape[:2]), np.float32)
        K = image.frame.camera.resized(*size).K.astype(np.float32)
        with torch.inference_mode():
            depth = self.model(*(torch.from_numpy(each)[None] for each in (pixels, K, stacked)))[0].numpy()
        return 1 / cv2.resize(1 / depth, (width, height), interpolation=cv2.INTER_LINEAR)


def _write(out: Path, image: ClipImage, parallax: Parallax | None, predicted: np.ndarray | None) -> None:
    camera, name = image.frame.camera, f"{image.name}.png"
    files = {
        "image": cv2.cvtColor(image.frame.image, cv2.COLOR_RGB2BGR),
        "moving_objects": np.where(image.people, 255, 0).astype(np.uint8),
    }
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
