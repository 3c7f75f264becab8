"""Report of a depth evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.evaluation.metrics.depth import METRICS, Metric
from depth_ros.evaluation.metrics.protocols import resize_depth
from depth_ros.evaluation.report.html import figure, legend, tile, write_document
from depth_ros.evaluation.report.plots import (
    MAX_RELATIVE_ERROR,
    depth_image,
    depth_range,
    error_colours,
    error_image,
    reduce_depth,
)
from depth_ros.evaluation.report.point_cloud import point_cloud_image
from depth_ros.evaluation.report.sections import (
    IMAGE_WIDTH,
    facts_section,
    latency_section,
    latency_tiles,
    training_section,
)
from depth_ros.evaluation.report.sheet import SheetRow, write_sheet

PERCENTAGES = ("delta1", "delta2", "delta3", "d1_all", "coverage", "within_std", "within_2_std")
"""Metrics that tables show in percent."""


@dataclass(frozen=True)
class DepthStrip:
    """One example image. image: (H, W, 3) uint8 RGB. depth: (h, w) m. ground_truth: (H, W) m or None."""

    title: str
    image: np.ndarray
    depth: np.ndarray
    ground_truth: np.ndarray | None = None
    abs_rel: float | None = None


@dataclass(frozen=True)
class DepthReport:
    """result: of `evaluate_depth`. latencies: ms, in order. cloud: depth of the point cloud.

    facts: rows of the last table. ground_truth: caption of the ground-truth images. curves: SVG file of
    the training, shown if it exists.
    """

    result: dict[str, Any]
    strips: tuple[DepthStrip, ...]
    latencies: tuple[float, ...]
    cloud: Depth
    facts: dict[str, str]
    ground_truth: str
    curves: Path | None = None


def write_depth_report(path: Path, report: DepthReport) -> None:
    """Write the report; missing folders are created."""
    result = report.result
    title = f"{result['model']} on {Path(result['data']).name}"
    parts = [
        f"<header><h1>{escape(title)}</h1>{_summary(result)}</header>",
        _headline(result, report.latencies),
        _strips(report.strips, report.ground_truth),
        _point_cloud(report.cloud),
        _table(result),
        latency_section(report.latencies, result["engine"]),
        training_section(report.curves),
        facts_section(result, report.facts),
    ]
    write_document(path, title, parts)


def format_metric(name: str, value: float | None) -> str:
    """A metric as shown in the report: ratios in percent, three significant digits, a dash for None."""
    if value is None:
        return "\u2013"
    if name in PERCENTAGES:
        return f"{100 * value:.1f} %"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1
    unit = METRICS[name].unit if name in METRICS else ""
    return f"{value:.{digits}f}" + (f" {unit}" if unit else "")


def _summary(result: dict[str, Any]) -> str:
    metrics, baseline = result["metrics"], result["baseline"]
    if metrics["abs_rel"] is None:
        return (
            '<p class="summary">There is no ground truth: the images show the depth, but not its error.</p>'
        )
    reference = (
        "stereo matching, as there is no ground truth" if "NO GROUND TRUTH" in result["protocol"] else ""
    )
    against = f", measured against {reference}" if reference else ""
    coverage = (
        f" {metrics['coverage']:.0%} of the pixels have a depth." if metrics["coverage"] < 0.995 else ""
    )
    compared = ""
    if baseline["abs_rel"] is not None:
        compared = f" Baseline that does not look at the image: {baseline['abs_rel']:.0%}."
    return (
        f'<p class="summary">Mean relative depth error over {result["images"]} images{against}: '
        f"<b>{metrics['abs_rel']:.0%}</b>; <b>{metrics['delta1']:.0%}</b> of the pixels are within 25 %."
        f"{coverage}{compared}</p>"
    )


def _headline(result: dict[str, Any], latencies: Sequence[float]) -> str:
    tiles = []
    for name, caption in (("abs_rel", "mean relative error"), ("delta1", "of pixels within 25 %")):
        value, baseline = result["metrics"][name], result["baseline"][name]
        comparison = f"baseline {format_metric(name, baseline)}"
        tiles.append(tile(METRICS[name].name, format_metric(name, value), caption, comparison))
    tiles += latency_tiles(latencies)
    return f'<section class="tiles">{"".join(tiles)}</section>'


def _strips(strips: Sequence[DepthStrip], ground_truth: str) -> str:
    if not strips:
        return ""
    span = _strips_span(strips)
    figures = "".join(_strip(strip, span, ground_truth) for strip in strips)
    metres = np.geomspace(*span, 64)
    ticks = [f"{m:.{0 if m >= 10 else 1}f}" for m in np.geomspace(*span, 5)]
    scales = legend(depth_image(metres[None], span), ticks, "depth, m")
    if any(strip.ground_truth is not None for strip in strips):
        ticks = [f"{100 * ratio * MAX_RELATIVE_ERROR:.0f} %" for ratio in (0, 0.5, 1)]
        ticks[-1] += " or more"
        scales += legend(error_colours(np.linspace(0, 1, 64))[None], ticks, "relative error")
    return (
        f'<section><h2>Examples</h2><div class="legends">{scales}'
        f'<span class="invalid"><i></i>invalid</span></div>{figures}</section>'
    )


def _strip(strip: DepthStrip, span: tuple[float, float], ground_truth: str) -> str:
    images = _strip_images(strip, span, ground_truth)
    figures = "".join(figure(image, caption, IMAGE_WIDTH) for caption, image in images.items())
    wide = " wide" if strip.image.shape[1] > 2 * strip.image.shape[0] else ""
    return f'<div class="strip{wide}"><h3>{escape(_strip_title(strip))}</h3>{figures}</div>'


def _strip_title(strip: DepthStrip) -> str:
    return strip.title + ("" if strip.abs_rel is None else f", AbsRel {strip.abs_rel:.3f}")


def _strip_images(strip: DepthStrip, span: tuple[float, float], ground_truth: str) -> dict[str, np.ndarray]:
    """Images (h, w, 3) of a strip by their captions; depth is reduced to IMAGE_WIDTH px."""
    depth = resize_depth(strip.depth.astype(np.float32), *strip.image.shape[:2])
    images = {"image": strip.image, "depth": depth_image(reduce_depth(depth, IMAGE_WIDTH), span)}
    if strip.ground_truth is not None:
        measured = np.where(np.isfinite(strip.ground_truth), depth, np.nan)
        g = reduce_depth(strip.ground_truth, IMAGE_WIDTH)
        images[ground_truth] = depth_image(g, span)
        images["error"] = error_image(reduce_depth(measured, IMAGE_WIDTH), g)
    return images


def write_depth_sheet(file: Path, strips: Sequence[DepthStrip], ground_truth: str) -> None:
    """Write an image of the strips, as in the report."""
    span = _strips_span(strips)
    note = (
        f"depth: {span[0]:.1f} m (bright) to {span[1]:.1f} m (dark); error: 0 (white) to "
        f"{MAX_RELATIVE_ERROR:.0%} or more (dark red); grey: invalid"
    )
    rows = [SheetRow(_strip_title(strip), _strip_images(strip, span, ground_truth)) for strip in strips]
    write_sheet(file, rows, note)


def _strips_span(strips: Sequence[DepthStrip]) -> tuple[float, float]:
    return depth_range([s.ground_truth if s.ground_truth is not None else s.depth for s in strips])


def _point_cloud(depth: Depth) -> str:
    caption = "viewpoint to the right of, above and behind the camera"
    image = figure(point_cloud_image(depth), caption, 1280)
    return f"<section><h2>Point cloud of the first example</h2>{image}</section>"


def _table(result: dict[str, Any]) -> str:
    rows = "".join(_row(name, metric, result) for name, metric in METRICS.items())
    return (
        "<section><h2>Metrics</h2><table><thead><tr><th>metric</th><th>model</th><th>baseline</th>"
        f'<th class="text">meaning</th></tr></thead><tbody>{rows}</tbody></table>'
        '<p class="note">d: prediction, g: ground truth, e = ln d \u2212 ln g. '
        f"{escape(result['protocol'])}.</p></section>"
    )


def _row(name: str, metric: Metric, result: dict[str, Any]) -> str:
    value, baseline = result["metrics"].get(name), result["baseline"].get(name)
    if value is None and baseline is None:
        return ""
    lower = metric.lower_is_better
    arrow, direction = ("\u2193", "lower is better") if lower else ("\u2191", "higher is better")
    better = value is not None and baseline is not None and (value < baseline if lower else value > baseline)
    return (
        f'<tr><th>{escape(metric.name)} <span title="{direction}">{arrow}</span></th>'
        f"<td>{'<b>' if better else ''}{format_metric(name, value)}{'</b>' if better else ''}</td>"
        f'<td>{format_metric(name, baseline)}</td><td class="text">{escape(metric.description)}</td></tr>'
    )
