"""Report of a planes evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.datatypes import Planes
from depth_ros.evaluation.metrics.planes import RecallCurve
from depth_ros.evaluation.report.html import figure, write_document
from depth_ros.evaluation.report.plots import depth_image, depth_range, plane_image

MAX_STRIPS = 12
"""Maximum number of images shown."""
CURVE_COLOURS = ("#0b5c4a", "#c77700", "#3b5fa8")


def planes_strip(
    name: str,
    image: np.ndarray,
    ground_truth: tuple[Planes, np.ndarray],
    found: tuple[np.ndarray, np.ndarray],
) -> str:
    """HTML of one example. image: (H, W, 3) uint8 RGB. ground_truth: planes and depth (H, W) m. found: plane labels and
    depth (H, W) m."""
    (true_planes, true_depth), (labels, depth) = ground_truth, found
    span = depth_range([true_depth])
    images = {
        f"{name}: ground-truth planes": plane_image(image, true_planes.labels),
        "planes": plane_image(image, labels),
        f"ground-truth depth, {span[0]:.1f} to {span[1]:.1f} m": depth_image(true_depth, span),
        "depth": depth_image(depth, span),
    }
    figures = "".join(figure(pixels, caption, width=320) for caption, pixels in images.items())
    return f'<div class="strip">{figures}</div>'


def write_planes_report(
    path: Path, result: dict[str, Any], strips: Sequence[str], curves: Mapping[str, RecallCurve], command: str
) -> None:
    """Write the report; missing folders are created. strips: HTML of `planes_strip`. curves: of `PlaneMetrics`."""
    title = f"{result['model']} on {Path(result['data']).name}: planes"
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{value:.3f}</td></tr>" for name, value in result["metrics"].items()
    )
    parts = (
        f"<h1>{escape(title)}</h1><p>{result['images']} images, {result['ground_truth_planes']} ground-truth planes; "
        f"recall at an IoU above 0.5. {escape(result['engine'])}, {result['ms_per_image']:.1f} ms per image.</p>"
        f"{''.join(strips)}<h2>Recall</h2>{_recall_section(curves)}<table>{rows}</table>"
        f'<p class="note">Depth: {escape(result["protocol"])}</p>',
        f'<p class="note">{escape(command)}</p>',
    )
    write_document(path, title, parts)


def _recall_section(curves: Mapping[str, RecallCurve]) -> str:
    """One chart for the curves over depth and one for those over IoU."""
    charts = []
    for over, axis in (("depth", "maximum depth error, m"), ("iou", "minimum IoU")):
        charts.append(_chart({name: curve for name, curve in curves.items() if curve.over == over}, axis))
    note = "Solid: fraction of ground-truth planes recalled. Dashed: fraction of their pixels."
    return f'{"".join(charts)}<p class="note">{note}</p>'


def _chart(curves: Mapping[str, RecallCurve], axis: str, width: int = 1080, height: int = 260) -> str:
    """SVG of recall, 0 to 1, over a threshold."""
    left, right, top, foot = 60, 250, 10, height - 46
    limit = max(curve.thresholds[-1] for curve in curves.values())

    def points(thresholds: Sequence[float], recall: Sequence[float]) -> str:
        x = left + (width - left - right) * np.array(thresholds) / limit
        y = foot - (foot - top) * np.array(recall)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    parts = [
        f'<line x1="{left}" x2="{width - right}" y1="{y:.0f}" y2="{y:.0f}" stroke="#e2e2de"/>'
        f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{recall:g}</text>'
        for recall in (0, 0.5, 1)
        for y in (foot - (foot - top) * recall,)
    ]
    for i, (name, curve) in enumerate(curves.items()):
        line = f'fill="none" stroke="{CURVE_COLOURS[i]}" stroke-width="2"'
        parts.append(f'<polyline points="{points(curve.thresholds, curve.planes)}" {line}/>')
        parts.append(
            f'<polyline points="{points(curve.thresholds, curve.pixels)}" {line} stroke-dasharray="6 4"/>'
        )
        y = top + 20 * (i + 1)
        parts.append(
            f'<line x1="{width - right + 20}" x2="{width - right + 50}" y1="{y - 4}" y2="{y - 4}" {line}/>'
        )
        parts.append(f'<text x="{width - right + 58}" y="{y}">{escape(name)}</text>')
    for value in np.linspace(0, limit, 7):
        x = left + (width - left - right) * value / limit
        parts.append(f'<text x="{x:.0f}" y="{foot + 18}" text-anchor="middle">{value:.2g}</text>')
    middle = (left + width - right) // 2
    parts.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{axis}</text>')
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="recall over {axis}">{"".join(parts)}</svg>'
