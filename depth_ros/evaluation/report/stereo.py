"""The page of a stereo model: what it sees, how far it is off, and whether its standard deviation is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.evaluation.metrics.stereo import FIGURES
from depth_ros.evaluation.report.depth import (
    WIDTH,
    curves_section,
    facts_section,
    latency_section,
    latency_tile,
)
from depth_ros.evaluation.report.html import document, legend, picture, tile
from depth_ros.evaluation.report.plots import depth_range, disparity_picture, error_colours
from depth_ros.evaluation.report.point_cloud import ABOVE, BEHIND, cloud_picture

LARGEST = 6.0
"""px, of error and standard deviation, at the end of their colour scale."""
EXPECTED, ALLOWED = 0.68, (0.60, 0.75)
"""Share of the pixels within one standard deviation: what is claimed, and what still counts as that."""


@dataclass(frozen=True)
class StereoStrip:
    """One pair of the page. image: (H, W, 3) uint8 RGB of the left eye. The others: (H, W) px, NaN = unknown."""

    title: str
    image: np.ndarray
    disparity: np.ndarray
    truth: np.ndarray
    std: np.ndarray | None
    semi_global: np.ndarray | None


@dataclass(frozen=True)
class StereoReport:
    """result: what `evaluate_stereo` returns. latencies: ms, in order. facts: rows of the last table.

    truth: what the strips call it.
    """

    result: dict[str, Any]
    strips: tuple[StereoStrip, ...]
    latencies: tuple[float, ...]
    cloud: Depth
    facts: dict[str, str]
    truth: str = "truth"


def write_stereo_report(path: Path, report: StereoReport, curves: Path | None = None) -> None:
    """Write the page; folders on the way are made. curves: SVG of the training, shown if there is one."""
    result = report.result
    title = f"{result['model']} on {Path(result['data']).name}"
    parts = [
        f"<header><h1>{escape(title)}</h1>{_verdict(result)}</header>",
        _headline(result, report.latencies),
        _strips(report.strips, report.truth),
        _clouds(report.cloud),
        _table(result),
        _coverage(result["coverage_by_std"]),
        latency_section(report.latencies, result["engine"]),
        curves_section(curves),
        facts_section(result, report.facts),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(title, parts), encoding="utf-8")


def shown(name: str, value: float | None) -> str:
    """A figure as a reader wants it: shares in percent, a dash for none."""
    if value is None:
        return "\u2013"
    unit = FIGURES[name].unit
    if unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.{3 if abs(value) < 0.1 else 2}f}" + (f" {unit}" if unit else "")


def _verdict(result: dict[str, Any]) -> str:
    ours, theirs = result["figures"], result["baseline"]
    known = ours["density"] or 0.0
    gaps = f" It knows {known:.0%} of the pixels." if known < 0.995 else ""
    if theirs["epe"] is None:
        against, beside = " against strict semi-global matching, for want of ground truth,", ""
    else:
        against, beside = (
            "",
            (
                f" Semi-global matching with its holes filled: {shown('epe', theirs['epe'])} and "
                f"{shown('d1_all', theirs['d1_all'])}."
            ),
        )
    return (
        f'<p class="verdict">Over {result["images"]} pairs{against} the disparity is off by '
        f"<b>{shown('epe', ours['epe'])}</b> on average, and <b>{shown('d1_all', ours['d1_all'])}</b> of the pixels "
        f"are wrong by more than 3 px and 5 %.{gaps}{beside}</p>"
    )


def _headline(result: dict[str, Any], latencies: Sequence[float]) -> str:
    ours, theirs = result["figures"], result["baseline"]
    compared = theirs["epe"] is not None
    tiles = [
        tile(
            FIGURES[name].name, shown(name, ours[name]), words,
            f"semi-global {shown(name, theirs[name])}" if compared else "no ground truth",
        )
        for name, words in (("d1_all", "of pixels wrong"), ("epe", "mean error"))
    ]  # fmt: skip
    return f'<section class="tiles">{"".join(tiles + latency_tile(latencies, "pair"))}</section>'


def _strips(strips: Sequence[StereoStrip], truth: str) -> str:
    near, far = depth_range([np.where(strip.truth > 0, strip.truth, np.nan) for strip in strips])
    span = (0.8 * near, 1.1 * far)
    figures = "".join(_strip(strip, span, truth) for strip in strips)
    ticks = [f"{px:.0f}" for px in np.geomspace(*span, 5)]
    scales = legend(disparity_picture(np.geomspace(*span, 64)[None], span), ticks, "disparity, px")
    ticks = [f"{share * LARGEST:g}" for share in (0, 0.5, 1)]
    ticks[-1] += " or more"
    scales += legend(error_colours(np.linspace(0, 1, 64))[None], ticks, "error and standard deviation, px")
    return (
        f'<section><h2>What it sees</h2><div class="legends">{scales}'
        f'<span class="unknown"><i></i>unknown</span></div>{figures}</section>'
    )


def _strip(strip: StereoStrip, span: tuple[float, float], truth: str) -> str:
    scale = min(1.0, WIDTH / strip.image.shape[1])
    pictures = [
        picture(strip.image, "left", WIDTH),
        picture(disparity_picture(_reduced(strip.disparity, scale), span), "disparity", WIDTH),
        picture(disparity_picture(_reduced(strip.truth, scale), span), truth, WIDTH),
        picture(_errors(strip.disparity - strip.truth, scale), "error", WIDTH),
    ]
    if strip.std is not None:
        pictures.append(picture(_errors(strip.std, scale), "standard deviation that it claims", WIDTH))
    if strip.semi_global is not None:
        error = strip.semi_global - strip.truth
        pictures.append(picture(_errors(error, scale), "error of semi-global matching, filled", WIDTH))
    return f'<div class="strip three"><h3>{escape(strip.title)}</h3>{"".join(pictures)}</div>'


def _errors(px: np.ndarray, scale: float) -> np.ndarray:
    return error_colours(_reduced(np.abs(px), scale) / LARGEST)


def _reduced(values: np.ndarray, scale: float) -> np.ndarray:
    """(H, W) smaller: each pixel the mean of those known in its place, so that sparse truth stays visible."""
    if scale >= 1:
        return values
    known = np.isfinite(values)
    size = (round(values.shape[1] * scale), round(values.shape[0] * scale))
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(np.where(known, values, 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.divide(total, weight, out=np.full(total.shape, np.nan, np.float32), where=weight > 0)


def _clouds(depth: Depth) -> str:
    seen = ((BEHIND, "seen from the right, above and behind the camera"), (ABOVE, "seen from above"))
    figures = "".join(picture(cloud_picture(depth, eye=eye), words, 1280) for eye, words in seen)
    return (
        f"<section><h2>The typical pair as points in space</h2>{figures}"
        '<p class="note">Left out: pixels between two surfaces, as the node does (flying_pixels), and those '
        "whose depth is said to be uncertain by more than 5 %.</p></section>"
    )


def _table(result: dict[str, Any]) -> str:
    columns = [result["figures"], result["baseline"], result["baselines"]["semi_global"]]
    rows = ""
    for name, figure in FIGURES.items():
        values = [column.get(name) for column in columns]
        if values[0] is None:
            continue
        arrow = "\u2193" if figure.lower else "\u2191"
        best = values[1] is None or (values[0] < values[1] if figure.lower else values[0] > values[1])
        cells = [shown(name, value) for value in values]
        cells[0] = f"<b>{cells[0]}</b>" if best else cells[0]
        rows += (
            f"<tr><th>{escape(figure.name)} {arrow}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}"
            f'<td class="text">{escape(figure.text)}</td></tr>'
        )
    return (
        "<section><h2>Figures</h2><table><thead><tr><th>figure</th><th>model</th><th>semi-global, filled</th>"
        f'<th>as it is</th><th class="text">meaning</th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="note">{escape(result["protocol"])}.</p></section>'
    )


def _coverage(rows: Sequence[dict[str, float]], width: int = 1080, height: int = 300) -> str:
    """An SVG: of the pixels that claim a standard deviation, the share that keeps to it."""
    if not rows:
        return ""
    left, right, bottom, top = 84, 20, 44, 12
    low, high = np.log(rows[0]["std"]) - 0.2, np.log(rows[-1]["std"]) + 0.2

    def x(std: float) -> float:
        return float(left + (width - left - right) * (np.log(std) - low) / (high - low))

    def y(share: float) -> float:
        return top + (height - top - bottom) * (1 - share)

    band = f'<rect x="{left}" width="{width - left - right}" y="{y(ALLOWED[1]):.1f}" ' \
        f'height="{y(ALLOWED[0]) - y(ALLOWED[1]):.1f}" fill="#dcebe6"/>'  # fmt: skip
    grid = "".join(
        f'<text x="{left - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        f'<line x1="{left}" x2="{width - right}" y1="{y(share):.1f}" y2="{y(share):.1f}" '
        f'stroke="{"#0b5c4a" if share == EXPECTED else "#e2e2de"}"/>'
        for share in (0, 0.25, 0.5, EXPECTED, 1)
    )
    ticks = "".join(
        f'<text x="{x(px):.1f}" y="{height - 24}" text-anchor="middle">{px:g}</text>'
        for px in (0.125, 0.25, 0.5, 1, 2, 4, 8, 16)
        if low <= np.log(px) <= high
    )
    dots = "".join(
        f'<circle cx="{x(row["std"]):.1f}" cy="{y(row["coverage"]):.1f}" r="{3 + 30 * row["share"] ** 0.5:.1f}" '
        f'fill="#0b5c4a" fill-opacity="0.55"><title>{row["std"]:.2f} px: {row["coverage"]:.0%} within it, '
        f"{row['share']:.1%} of the pixels</title></circle>"
        for row in rows
    )
    return (
        "<section><h2>Is its standard deviation true?</h2>"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="coverage by standard deviation">{band}{grid}'
        f'{ticks}{dots}<text x="{(left + width) / 2:.0f}" y="{height - 4}" text-anchor="middle">standard deviation '
        "that is claimed, px</text></svg>"
        '<p class="note">Of the pixels that claim a standard deviation, the share whose error is within it; the line '
        f"is the {EXPECTED:.0%} that is claimed, the band {ALLOWED[0]:.0%} to {ALLOWED[1]:.0%}. The area of a dot is "
        "the number of pixels.</p></section>"
    )
