"""Report of a stereo evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.evaluation.metrics.stereo import METRICS
from depth_ros.evaluation.report.html import figure, legend, tile, write_document
from depth_ros.evaluation.report.plots import depth_range, disparity_image, error_colours
from depth_ros.evaluation.report.point_cloud import ABOVE, BEHIND, point_cloud_image
from depth_ros.evaluation.report.sections import (
    IMAGE_WIDTH,
    facts_section,
    latency_section,
    latency_tiles,
    training_section,
)
from depth_ros.evaluation.report.sheet import SheetRow, write_sheet

MAX_ERROR = 6.0
"""Error and standard deviation at the end of their colour scale, px."""
EXPECTED_COVERAGE, ACCEPTED_COVERAGE = 0.68, (0.60, 0.75)
"""Fraction of the errors within one standard deviation: the definition, and the range shown as good."""


@dataclass(frozen=True)
class StereoStrip:
    """One example pair. image: (H, W, 3) uint8 RGB of the left camera. The others: (H, W) px, NaN = invalid."""

    title: str
    image: np.ndarray
    disparity: np.ndarray
    ground_truth: np.ndarray
    std: np.ndarray | None
    semi_global: np.ndarray | None


@dataclass(frozen=True)
class StereoReport:
    """result: of `evaluate_stereo`. latencies: ms, in order. cloud: depth of the point cloud.

    facts: rows of the last table. ground_truth: caption of the ground-truth images. curves: SVG file of
    the training, shown if it exists.
    """

    result: dict[str, Any]
    strips: tuple[StereoStrip, ...]
    latencies: tuple[float, ...]
    cloud: Depth
    facts: dict[str, str]
    ground_truth: str
    curves: Path | None = None


def write_stereo_report(path: Path, report: StereoReport) -> None:
    """Write the report; missing folders are created."""
    result = report.result
    title = f"{result['model']} on {Path(result['data']).name}"
    parts = [
        f"<header><h1>{escape(title)}</h1>{_summary(result)}</header>",
        _headline(result, report.latencies),
        _strips(report.strips, report.ground_truth),
        _point_clouds(report.cloud),
        _table(result),
        _coverage(result["coverage_by_std"]),
        latency_section(report.latencies, result["engine"]),
        training_section(report.curves),
        facts_section(result, report.facts),
    ]
    write_document(path, title, parts)


def format_metric(name: str, value: float | None) -> str:
    """A metric as shown in the report: ratios in percent, a dash for None."""
    if value is None:
        return "\u2013"
    unit = METRICS[name].unit
    if unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.{3 if abs(value) < 0.1 else 2}f}" + (f" {unit}" if unit else "")


def _summary(result: dict[str, Any]) -> str:
    metrics, baseline = result["metrics"], result["baseline"]
    density = metrics["density"] or 0.0
    gaps = f" {density:.0%} of the pixels have a disparity." if density < 0.995 else ""
    against, compared = ", measured against strict semi-global matching, as there is no ground truth", ""
    if baseline["epe"] is not None:
        against = ""
        compared = (
            f" Semi-global matching with filled holes: {format_metric('epe', baseline['epe'])} and "
            f"{format_metric('d1_all', baseline['d1_all'])}."
        )
    return (
        f'<p class="summary">Mean disparity error over {result["images"]} pairs{against}: '
        f"<b>{format_metric('epe', metrics['epe'])}</b>; <b>{format_metric('d1_all', metrics['d1_all'])}</b> of the "
        f"pixels have an error above 3 px and 5 %.{gaps}{compared}</p>"
    )


def _headline(result: dict[str, Any], latencies: Sequence[float]) -> str:
    metrics, baseline = result["metrics"], result["baseline"]
    compared = baseline["epe"] is not None
    tiles = [
        tile(
            METRICS[name].name, format_metric(name, metrics[name]), caption,
            f"semi-global {format_metric(name, baseline[name])}" if compared else "no ground truth",
        )
        for name, caption in (("d1_all", "of pixels wrong"), ("epe", "mean error"))
    ]  # fmt: skip
    return f'<section class="tiles">{"".join(tiles + latency_tiles(latencies, "pair"))}</section>'


def _strips(strips: Sequence[StereoStrip], ground_truth: str) -> str:
    span = _strips_span(strips)
    figures = "".join(_strip(strip, span, ground_truth) for strip in strips)
    ticks = [f"{px:.0f}" for px in np.geomspace(*span, 5)]
    scales = legend(disparity_image(np.geomspace(*span, 64)[None], span), ticks, "disparity, px")
    ticks = [f"{ratio * MAX_ERROR:g}" for ratio in (0, 0.5, 1)]
    ticks[-1] += " or more"
    scales += legend(error_colours(np.linspace(0, 1, 64))[None], ticks, "error and standard deviation, px")
    return (
        f'<section><h2>Examples</h2><div class="legends">{scales}'
        f'<span class="invalid"><i></i>invalid</span></div>{figures}</section>'
    )


def _strips_span(strips: Sequence[StereoStrip]) -> tuple[float, float]:
    near, far = depth_range(
        [np.where(strip.ground_truth > 0, strip.ground_truth, np.nan) for strip in strips]
    )
    return 0.8 * near, 1.1 * far


def write_stereo_sheet(file: Path, strips: Sequence[StereoStrip], ground_truth: str) -> None:
    """Write an image of the strips, as in the report, without standard deviation and semi-global matching."""
    span = _strips_span(strips)
    note = (
        f"disparity: {span[1]:.0f} px (bright) to {span[0]:.1f} px (dark); error: 0 (white) to "
        f"{MAX_ERROR:g} px or more (dark red); grey: invalid"
    )
    rows = [SheetRow(strip.title, _matched_images(strip, span, ground_truth)) for strip in strips]
    write_sheet(file, rows, note)


def _matched_images(
    strip: StereoStrip, span: tuple[float, float], ground_truth: str
) -> dict[str, np.ndarray]:
    """Images (h, w, 3) of a strip by their captions, but those of standard deviation and semi-global matching."""
    scale = min(1.0, IMAGE_WIDTH / strip.image.shape[1])
    return {
        "left": strip.image,
        "disparity": disparity_image(_reduce(strip.disparity, scale), span),
        ground_truth: disparity_image(_reduce(strip.ground_truth, scale), span),
        "error": _error_image(strip.disparity - strip.ground_truth, scale),
    }


def _strip(strip: StereoStrip, span: tuple[float, float], ground_truth: str) -> str:
    scale = min(1.0, IMAGE_WIDTH / strip.image.shape[1])
    images = _matched_images(strip, span, ground_truth)
    if strip.std is not None:
        images["predicted standard deviation"] = _error_image(strip.std, scale)
    if strip.semi_global is not None:
        images["error of semi-global matching, filled"] = _error_image(
            strip.semi_global - strip.ground_truth, scale
        )
    figures = "".join(figure(image, caption, IMAGE_WIDTH) for caption, image in images.items())
    return f'<div class="strip three"><h3>{escape(strip.title)}</h3>{figures}</div>'


def _error_image(px: np.ndarray, scale: float) -> np.ndarray:
    return error_colours(_reduce(np.abs(px), scale) / MAX_ERROR)


def _reduce(values: np.ndarray, scale: float) -> np.ndarray:
    """(H, W) reduced: each pixel is the mean of the valid pixels it covers, so that sparse values stay visible."""
    if scale >= 1:
        return values
    valid = np.isfinite(values)
    size = (round(values.shape[1] * scale), round(values.shape[0] * scale))
    weight = cv2.resize(valid.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(np.where(valid, values, 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.divide(total, weight, out=np.full(total.shape, np.nan, np.float32), where=weight > 0)


def _point_clouds(depth: Depth) -> str:
    viewpoints = {
        "viewpoint to the right of, above and behind the camera": BEHIND,
        "viewpoint above the camera": ABOVE,
    }
    figures = "".join(
        figure(point_cloud_image(depth, viewpoint=viewpoint), caption, 1280)
        for caption, viewpoint in viewpoints.items()
    )
    return (
        f"<section><h2>Point cloud of the typical pair</h2>{figures}"
        '<p class="note">Without flying pixels, as the node publishes it by default (parameter flying_pixels), and '
        "without pixels whose predicted standard deviation of depth exceeds 5 %.</p></section>"
    )


def _table(result: dict[str, Any]) -> str:
    columns = [result["metrics"], result["baseline"], result["baselines"]["semi_global"]]
    rows = ""
    for name, metric in METRICS.items():
        values = [column.get(name) for column in columns]
        if values[0] is None:
            continue
        arrow = "\u2193" if metric.lower_is_better else "\u2191"
        best = values[1] is None or (
            values[0] < values[1] if metric.lower_is_better else values[0] > values[1]
        )
        cells = [format_metric(name, value) for value in values]
        cells[0] = f"<b>{cells[0]}</b>" if best else cells[0]
        rows += (
            f"<tr><th>{escape(metric.name)} {arrow}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}"
            f'<td class="text">{escape(metric.description)}</td></tr>'
        )
    return (
        "<section><h2>Metrics</h2><table><thead><tr><th>metric</th><th>model</th><th>semi-global, filled</th>"
        f'<th>semi-global</th><th class="text">meaning</th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="note">{escape(result["protocol"])}.</p></section>'
    )


def _coverage(rows: Sequence[dict[str, float]], width: int = 1080, height: int = 300) -> str:
    """SVG chart of the fraction of errors within the predicted standard deviation, by that deviation."""
    if not rows:
        return ""
    left, right, bottom, top = 128, 20, 44, 12
    low, high = np.log(rows[0]["std"]) - 0.2, np.log(rows[-1]["std"]) + 0.2

    def x(std: float) -> float:
        return float(left + (width - left - right) * (np.log(std) - low) / (high - low))

    def y(ratio: float) -> float:
        return top + (height - top - bottom) * (1 - ratio)

    band = f'<rect x="{left}" width="{width - left - right}" y="{y(ACCEPTED_COVERAGE[1]):.1f}" ' \
        f'height="{y(ACCEPTED_COVERAGE[0]) - y(ACCEPTED_COVERAGE[1]):.1f}" fill="#dcebe6"/>'  # fmt: skip
    grid = "".join(
        f'<text x="{left - 8}" y="{y(ratio) + 4:.1f}" text-anchor="end">{ratio:.0%}</text>'
        f'<line x1="{left}" x2="{width - right}" y1="{y(ratio):.1f}" y2="{y(ratio):.1f}" '
        f'stroke="{"#0b5c4a" if ratio == EXPECTED_COVERAGE else "#e2e2de"}"/>'
        for ratio in (0, 0.25, 0.5, EXPECTED_COVERAGE, 1)
    )
    ticks = "".join(
        f'<text x="{x(px):.1f}" y="{height - 24}" text-anchor="middle">{px:g}</text>'
        for px in (0.125, 0.25, 0.5, 1, 2, 4, 8, 16)
        if low <= np.log(px) <= high
    )
    dots = "".join(
        f'<circle cx="{x(row["std"]):.1f}" cy="{y(row["coverage"]):.1f}" r="{3 + 30 * row["pixel_ratio"] ** 0.5:.1f}" '
        f'fill="#0b5c4a" fill-opacity="0.55"><title>{row["std"]:.2f} px: {row["coverage"]:.0%} within it, '
        f"{row['pixel_ratio']:.1%} of the pixels</title></circle>"
        for row in rows
    )
    return (
        "<section><h2>Calibration of the predicted standard deviation</h2>"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="coverage by standard deviation">{band}{grid}'
        f'{ticks}{dots}<text x="{(left + width) / 2:.0f}" y="{height - 4}" text-anchor="middle">predicted '
        "standard deviation, px</text></svg>"
        '<p class="note">Fraction of the errors within the predicted standard deviation, by that deviation. Line: '
        f"expected {EXPECTED_COVERAGE:.0%}; band: accepted {ACCEPTED_COVERAGE[0]:.0%} to {ACCEPTED_COVERAGE[1]:.0%}. "
        "The area of a dot is proportional to the number of pixels.</p></section>"
    )
