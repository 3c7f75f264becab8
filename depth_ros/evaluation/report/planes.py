"""Report of a planes evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.datatypes import Planes
from depth_ros.evaluation.report.html import figure, write_document
from depth_ros.evaluation.report.plots import depth_image, depth_range, plane_image

MAX_STRIPS = 12
"""Maximum number of images shown."""


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


def write_planes_report(path: Path, result: dict[str, Any], strips: Sequence[str], command: str) -> None:
    """Write the report; missing folders are created. strips: HTML of `planes_strip`."""
    title = f"{result['model']} on {Path(result['data']).name}: planes"
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{value:.3f}</td></tr>" for name, value in result["metrics"].items()
    )
    parts = (
        f"<h1>{escape(title)}</h1><p>{result['images']} images, {result['ground_truth_planes']} ground-truth planes; "
        f"recall at an IoU above 0.5. {escape(result['engine'])}, {result['ms_per_image']:.1f} ms per image.</p>"
        f"{''.join(strips)}<table>{rows}</table>",
        f'<p class="note">{escape(command)}</p>',
    )
    write_document(path, title, parts)
