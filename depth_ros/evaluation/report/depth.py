"""The page: one HTML file that stands alone and says in ten seconds how good the depth is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.evaluation.metrics.depth import FIGURES, Figure, resized
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.report.html import document, latency_chart, legend, picture, tile
from depth_ros.evaluation.report.plots import (
    LARGEST_ERROR,
    depth_picture,
    depth_range,
    error_colours,
    error_picture,
    shrunk,
)
from depth_ros.evaluation.report.point_cloud import cloud_picture

WIDTH = 640
"""px, of the pictures in the strips."""


@dataclass(frozen=True)
class Strip:
    """One image of the page. image: (H, W, 3) uint8 RGB. depth: (h, w) m. truth: (H, W) m or None."""

    title: str
    image: np.ndarray
    depth: np.ndarray
    truth: np.ndarray | None = None
    abs_rel: float | None = None


@dataclass(frozen=True)
class Report:
    """result: what `evaluate_depth` returns. latencies: ms, in order. facts: rows of the last table.

    truth: what the strips call it.
    """

    result: dict[str, Any]
    strips: tuple[Strip, ...]
    latencies: tuple[float, ...]
    cloud: Depth | None = None
    facts: dict[str, str] | None = None
    truth: str = "truth"


def write_report(path: Path, report: Report, curves: Path | None = None) -> None:
    """Write the page; folders on the way are made. curves: SVG of the training, shown if there is one."""
    result = report.result
    title = f"{result['model']} on {Path(result['data']).name}"
    parts = [
        f"<header><h1>{escape(title)}</h1>{_verdict(result)}</header>",
        _headline(result, report.latencies),
        _strips(report.strips, report.truth),
        _cloud(report.cloud),
        _table(result),
        latency_section(report.latencies, result["engine"]),
        curves_section(curves),
        facts_section(result, report.facts or {}),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(title, parts), encoding="utf-8")


def shown(name: str, value: float | None) -> str:
    """A figure as a reader wants it: shares in percent, three digits that count, a dash for none."""
    if value is None:
        return "\u2013"
    if name in ("delta1", "delta2", "delta3", "d1_all", "coverage"):
        return f"{100 * value:.1f} %"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1
    unit = FIGURES[name].unit if name in FIGURES else ""
    return f"{value:.{digits}f}" + (f" {unit}" if unit else "")


def _verdict(result: dict[str, Any]) -> str:
    ours, theirs = result["figures"], result["baseline"]
    if ours["abs_rel"] is None:
        return '<p class="verdict">No ground truth here: the pictures show what it sees, not how well.</p>'
    compared = f" A guess that does not look at the image is off by {theirs['abs_rel']:.0%}." \
        if theirs["abs_rel"] is not None else ""  # fmt: skip
    gaps = f" It knows {ours['coverage']:.0%} of them." if ours["coverage"] < 0.995 else ""
    against = " stereo matching, for want of ground truth," if "NO GROUND TRUTH" in result["protocol"] else ""
    return (
        f'<p class="verdict">Over {result["images"]} images{" against" + against if against else ""} '
        f"the distance is off by <b>{ours['abs_rel']:.0%}</b> on average, and <b>{ours['delta1']:.0%}</b> "
        f"of the pixels are right within a quarter.{gaps}{compared}</p>"
    )


def _headline(result: dict[str, Any], latencies: Sequence[float]) -> str:
    tiles = []
    for name, words in (("abs_rel", "mean relative error"), ("delta1", "of pixels within 25 %")):
        ours, theirs = result["figures"][name], result["baseline"][name]
        tiles.append(tile(FIGURES[name].name, shown(name, ours), words, f"baseline {shown(name, theirs)}"))
    tiles += latency_tile(latencies)
    return f'<section class="tiles">{"".join(tiles)}</section>'


def latency_tile(latencies: Sequence[float], of: str = "image") -> list[str]:
    """The tile of latencies, ms; none of an empty list."""
    latency = summarise(latencies)
    if latency is None:
        return []
    value = f"{latency.median:.{1 if latency.median < 100 else 0}f} ms"
    rate = f"{latency.rate:.{0 if latency.rate >= 10 else 1}f} {of}s per second"
    return [tile("Latency", value, f"per {of}, median", rate)]


def _strips(strips: Sequence[Strip], truth: str) -> str:
    if not strips:
        return ""
    span = depth_range([s.truth if s.truth is not None else s.depth for s in strips])
    figures = "".join(_strip(strip, span, truth) for strip in strips)
    metres = np.geomspace(*span, 64)
    ticks = [f"{m:.{0 if m >= 10 else 1}f}" for m in np.geomspace(*span, 5)]
    scales = legend(depth_picture(metres[None], span), ticks, "depth, m")
    if any(strip.truth is not None for strip in strips):
        ticks = [f"{100 * share * LARGEST_ERROR:.0f} %" for share in (0, 0.5, 1)]
        ticks[-1] += " or more"
        scales += legend(error_colours(np.linspace(0, 1, 64))[None], ticks, "error, share of the distance")
    return (
        f'<section><h2>What it sees</h2><div class="legends">{scales}'
        f'<span class="unknown"><i></i>unknown</span></div>{figures}</section>'
    )


def _strip(strip: Strip, span: tuple[float, float], truth: str) -> str:
    fitted = resized(strip.depth.astype(np.float32), *strip.image.shape[:2])
    pictures = [
        picture(strip.image, "image", WIDTH),
        picture(depth_picture(shrunk(fitted, WIDTH), span), "depth", WIDTH),
    ]
    if strip.truth is not None:
        known = np.where(np.isfinite(strip.truth), fitted, np.nan)
        g = shrunk(strip.truth, WIDTH)
        pictures.append(picture(depth_picture(g, span), truth, WIDTH))
        pictures.append(picture(error_picture(shrunk(known, WIDTH), g), "error", WIDTH))
    error = "" if strip.abs_rel is None else f", AbsRel {strip.abs_rel:.3f}"
    wide = " wide" if strip.image.shape[1] > 2 * strip.image.shape[0] else ""
    return f'<div class="strip{wide}"><h3>{escape(strip.title + error)}</h3>{"".join(pictures)}</div>'


def _cloud(depth: Depth | None) -> str:
    if depth is None:
        return ""
    return (
        "<section><h2>The same as points in space</h2>"
        f"{picture(cloud_picture(depth), 'seen from the right, above and behind the camera', 1280)}</section>"
    )


def _table(result: dict[str, Any]) -> str:
    rows = "".join(_row(name, figure, result) for name, figure in FIGURES.items())
    return (
        "<section><h2>Figures</h2><table><thead><tr><th>figure</th><th>model</th><th>baseline</th>"
        f'<th class="text">meaning</th></tr></thead><tbody>{rows}</tbody></table>'
        '<p class="note">d: prediction, g: truth, e = ln d \u2212 ln g. '
        f"{escape(result['protocol'])}.</p></section>"
    )


def _row(name: str, figure: Figure, result: dict[str, Any]) -> str:
    ours, theirs = result["figures"].get(name), result["baseline"].get(name)
    if ours is None and theirs is None:
        return ""
    arrow, direction = ("\u2193", "lower is better") if figure.lower else ("\u2191", "higher is better")
    better = ours is not None and theirs is not None and (ours < theirs if figure.lower else ours > theirs)
    return (
        f'<tr><th>{escape(figure.name)} <span title="{direction}">{arrow}</span></th>'
        f"<td>{'<b>' if better else ''}{shown(name, ours)}{'</b>' if better else ''}</td>"
        f'<td>{shown(name, theirs)}</td><td class="text">{escape(figure.text)}</td></tr>'
    )


def latency_section(latencies: Sequence[float], engine: str) -> str:
    """The chart of latencies, ms, and what it says."""
    latency = summarise(latencies)
    if latency is None:
        return ""
    return (
        f"<section><h2>Latency over time</h2>{latency_chart(latencies)}"
        f'<p class="note">{latency.count} images with {escape(engine)}: median {latency.median:.1f} ms, '
        f"95 % within {latency.p95:.1f} ms, longest {latency.maximum:.1f} ms.</p></section>"
    )


def curves_section(curves: Path | None) -> str:
    """How the model was learned: the picture that its training left, if there is one."""
    if curves is None or not curves.is_file():
        return ""
    return f"<section><h2>How it was learned</h2>{curves.read_text(encoding='utf-8')}</section>"


def facts_section(result: dict[str, Any], facts: dict[str, str]) -> str:
    """The last table: data, engine and `facts`."""
    rows = {"data": f"{result['data']}, {result['images']} images", "engine": result["engine"]} | facts
    cells = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items() if v)
    table = f'<table class="facts"><tbody>{cells}</tbody></table>'
    return f"<section><h2>Where this comes from</h2>{table}</section>"
