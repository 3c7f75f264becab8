"""Plane recall, the figure of piecewise planar reconstruction (PlaneNet, section 6.2, and its released protocol).

A true plane is recalled when some predicted one covers it with more than a given intersection over union and the mean
absolute depth difference over the intersection is below a threshold. Everything is pooled over the images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from depth_ros.datasets import open_folder
from depth_ros.datatypes import Camera, Frame, Planes
from depth_ros.evaluation.metrics.depth import PROTOCOLS, Tally, resized
from depth_ros.evaluation.report.html import document, picture
from depth_ros.evaluation.report.plots import depth_picture, depth_range, plane_picture
from depth_ros.evaluation.setup import choose
from depth_ros.geometry import rectify
from depth_ros.plane_fitting import fit_planes, largest
from depth_ros.world import World, WorldSettings

if TYPE_CHECKING:
    from depth_ros.engine import EngineSettings

DEPTHS = (0.05, 0.1, 0.2, 0.3, 0.6)
"""m, thresholds of the depth difference in tables."""
ROOMS, FIRST_ROOM = 40, 2_000_000
"""How many rendered rooms are evaluated, and the seed of the first: training has seeds from 0."""
SMALLEST, MOST = 0.01, 10
"""Smallest true plane, as a share of the image, and how many of an image, the largest, are asked for (section 5):
every second room shows more, up to 19, than a network with ten can find."""


@dataclass(frozen=True)
class Seen:
    """One image with its truth: depth (H, W) m, NaN = unknown, and planes."""

    name: str
    frame: Frame
    depth: np.ndarray
    planes: Planes


@dataclass
class PlaneTally:
    """Collects images. `pairs`: one row a true plane and predicted plane that touch: (true plane's number over all
    images, IoU, mean |depth difference| m, intersection px)."""

    planes: int = 0
    pixels: int = 0
    pairs: list[tuple[int, float, float, int]] = field(default_factory=list)

    def add(self, labels: np.ndarray, depth: np.ndarray, true_labels: np.ndarray, truth: np.ndarray) -> None:
        """One image: predicted labels (H, W), -1 = none, and depth (H, W) m; the same of the truth, NaN = unknown."""
        known = np.isfinite(truth)
        true_labels = np.where(known, true_labels, -1)
        difference = np.abs(depth - truth)
        areas = dict(zip(*np.unique(labels[known & (labels >= 0)], return_counts=True), strict=True))
        for label in np.unique(true_labels[true_labels >= 0]):
            own = true_labels == label
            for other, common in zip(
                *np.unique(labels[own & (labels >= 0)], return_counts=True), strict=True
            ):
                error = difference[own & (labels == other)]
                error = float(error[np.isfinite(error)].mean()) if np.isfinite(error).any() else np.inf
                share = float(common / (own.sum() + areas[other] - common))
                self.pairs.append((self.planes, share, error, int(common)))
            self.planes += 1
            self.pixels += int(own.sum())

    def recall(self, iou: float = 0.5, depth: float = 0.05) -> tuple[float, float]:
        """Share of the true planes that are recalled, and of the true planar pixels by their best intersections."""
        best: dict[int, int] = {}
        for plane, share, error, common in self.pairs:
            if share > iou and error < depth:
                best[plane] = max(best.get(plane, 0), common)
        return len(best) / max(self.planes, 1), sum(best.values()) / max(self.pixels, 1)

    def figures(self) -> dict[str, float]:
        """{"plane recall 0.05 m": ..., "pixel recall 0.05 m": ...} at an IoU of 0.5 for each of `DEPTHS`, and of any
        depth, which judges the segmentation alone."""
        found: dict[str, float] = {}
        for threshold in (*DEPTHS, np.inf):
            name = f"{threshold:g} m" if np.isfinite(threshold) else "any depth"
            found[f"plane recall {name}"], found[f"pixel recall {name}"] = self.recall(0.5, threshold)
        return found


def rooms(count: int = ROOMS) -> Iterator[Seen]:
    """Rendered rooms that training never sees, of cameras with other focal lengths; their planes are exact."""
    for seed in range(FIRST_ROOM, FIRST_ROOM + count):
        focal = 320 * float(np.random.default_rng(seed).uniform(0.5, 0.95))
        world = World(WorldSettings(kind="room", seed=seed, frames=1, width=320, height=240, focal=focal))
        image, depth = world.render(0)
        planes = largest(world.planes(0, smallest=round(SMALLEST * depth.size)), MOST)
        yield Seen(f"room {seed}", Frame(0, "camera", image, world.cameras["left"]), depth, planes)


def recorded(data: Path, split: str, limit: int) -> Iterator[Seen]:
    """Images of a folder with depth; their planes are fitted to it."""
    folder = open_folder(data)
    for index in choose(folder, split, limit)[0]:
        sample = folder[index]
        if sample.depth is not None:
            image, camera = rectify(sample.left.image, sample.left.camera)
            frame = Frame(sample.left.stamp, sample.left.frame_id, image, camera)
            yield Seen(sample.name, frame, sample.depth, fit_planes(sample.depth, camera))


def evaluate_planes(
    model: str,
    data: str,
    *,
    split: str = "all",
    engine_settings: EngineSettings | None = None,
    limit: int = 0,
    report: Path | None = None,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a planes model, or planes fitted to the depth of a depth model, on "world:room" or a folder with depth.

    data: "world:room" for rendered rooms with exact planes, else a folder, whose planes are fitted to its depth.
    Returns model, data, engine, images, true planes, figures (recalls, and AbsRel and delta of the depth) and ms.
    """
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.planes import PlanesEstimator

    estimator = PlanesEstimator(model, engine_settings or EngineSettings())
    seen = list(rooms(limit or ROOMS) if data == "world:room" else recorded(Path(data), split, limit))
    tally, depths = PlaneTally(), Tally(PROTOCOLS["indoor"])
    strips: list[str] = []
    milliseconds: list[float] = []
    for each in seen:
        estimator.depth.prepare(each.frame.camera.width, each.frame.camera.height)  # building is no latency
        start = time.perf_counter()
        depth, planes = estimator.estimate(each.frame)
        milliseconds.append(1e3 * (time.perf_counter() - start))
        labels, found = _at(each.frame.camera, planes.labels, depth.depth)
        tally.add(labels, found, each.planes.labels, each.depth)
        depths.add(depth.depth, each.depth)
        if report is not None and len(strips) < 12:
            strips.append(_strip(each, labels, found))
        progress(len(milliseconds), len(seen))
    result = {
        "model": estimator.depth.card.name, "data": data, "engine": estimator.depth.engine_name,
        "images": len(milliseconds), "true planes": tally.planes,
        "figures": {**tally.figures(), **{key: depths.figures()[key] for key in ("abs_rel", "delta1")}},
        "ms_per_image": float(np.median(milliseconds)) if milliseconds else None,
    }  # fmt: skip
    if report is not None:
        _write(report, result, strips, command)
    return result


def _at(camera: Camera, labels: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and depth at the size of the truth."""
    size = (camera.width, camera.height)
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), resized(depth, *size[::-1])


def _strip(each: Seen, labels: np.ndarray, depth: np.ndarray) -> str:
    span = depth_range([each.depth])
    pictures = (
        (plane_picture(each.frame.image, each.planes.labels), f"{each.name}: true planes"),
        (plane_picture(each.frame.image, labels), "planes found"),
        (depth_picture(each.depth, span), f"true depth, {span[0]:.1f} to {span[1]:.1f} m"),
        (depth_picture(depth, span), "depth found"),
    )
    return f'<div class="strip">{"".join(picture(*entry, width=320) for entry in pictures)}</div>'


def _write(path: Path, result: dict[str, Any], strips: list[str], command: str) -> None:
    title = f"{result['model']} on {Path(result['data']).name}: planes"
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{value:.3f}</td></tr>" for name, value in result["figures"].items()
    )
    parts = (
        f"<h1>{escape(title)}</h1><p>{result['images']} images, {result['true planes']} true planes; IoU above 0.5. "
        f"{escape(result['engine'])}, {result['ms_per_image']:.1f} ms per image.</p>"
        f"{''.join(strips)}<table>{rows}</table>",
        f'<p class="note">{escape(command)}</p>',
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(title, parts), encoding="utf-8")
