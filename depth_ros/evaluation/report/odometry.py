"""The page of a trajectory: the way from above and the side over the truth, errors from frame to frame, figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.evaluation.metrics.trajectory import FIGURES, align, relative_errors, steps
from depth_ros.evaluation.report.html import document, latency_chart

WORDS = {
    "ate_rmse_m": "root mean square distance of the places after alignment, m",
    "ate_sim_rmse_m": "the same where scale is aligned too, m",
    "scale": "true metres per metre of the estimate",
    "rpe_trans_m": "error of the way from frame to frame, m",
    "rpe_trans_percent": "the same, % of the way per frame",
    "rpe_rot_deg": "error of the rotation from frame to frame, degrees",
    "snippet_ate_m": "mean error of five frames in a row, each five at its own scale, m",
    "snippet_ate_std_m": "its standard deviation, m",
    "tracked": "share of the frames with a pose",
    "nees": "squared errors over the covariances that go with them; 6 where these are honest",
}
VIEWS = {"from above": (0, 1), "from the side": (0, 2)}
"""Axes of the picture's x and y: the first runs along the way, the third is the one in which the way is flattest."""


def write_trajectory_page(
    path: Path, result: dict[str, Any], poses: np.ndarray, truth: np.ndarray, latencies: Sequence[float]
) -> None:
    """Write the page; folders on the way are made. poses, truth: (N, 4, 4), NaN where lost."""
    title = f"Odometry on {Path(result['data']).name}"
    known = np.isfinite(poses).all((1, 2)) & np.isfinite(truth).all((1, 2))
    p, g = _flattened(poses[known][:, :3, 3], truth[known][:, :3, 3])
    translation, angle = relative_errors(steps(poses[known]), steps(truth[known]))
    views = "".join(
        f"<section><h2>The way {name}</h2>{_ways(p[:, axes], g[:, axes])}</section>"
        for name, axes in VIEWS.items()
    )
    rows = "".join(
        f'<tr><th>{escape(key)}</th><td>{result[key]:.4g}</td><td class="text">{escape(WORDS.get(key, ""))}</td></tr>'
        for key in FIGURES
        if result[key] is not None
    )
    parts = [
        f'<header><h1>{escape(title)}</h1><p class="verdict">{escape(_verdict(result))}</p></header>{views}',
        f"<section><h2>Error of the way from frame to frame</h2>{_chart(1000 * translation, 'mm')}</section>",
        f"<section><h2>Error of the rotation from frame to frame</h2>{_chart(np.degrees(angle), 'deg')}</section>",
        f"<section><h2>Figures</h2><table><tbody>{rows}</tbody></table></section>",
        f"<section><h2>Latency over time</h2>{latency_chart(latencies)}</section>",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(title, parts), encoding="utf-8")


def _verdict(result: dict[str, Any]) -> str:
    if result["ate_rmse_m"] is None:
        return f"Too few of {result['frames']} frames have a pose to compare with the truth."
    return (
        f"{result['tracked']:.0%} of {result['frames']} frames tracked, {result['ate_rmse_m']:.3f} m off on the way, "
        f"by {result['method']}, {result['ms_per_frame']:.0f} ms a frame."
    )


def _flattened(p: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate, aligned, and truth (N, 3) in the truth's principal axes."""
    _, R, t = align(p, g)
    centre = g.mean(0)
    axes = np.linalg.svd(g - centre, full_matrices=False)[2]
    return (p @ R.T + t - centre) @ axes.T, (g - centre) @ axes.T


def _ways(p: np.ndarray, g: np.ndarray, width: int = 1080, pad: int = 20) -> str:
    """An SVG of two ways (N, 2), m, to one scale on both axes, with a bar that says how long a length is."""
    low, high = np.minimum(p.min(0), g.min(0)), np.maximum(p.max(0), g.max(0))
    scale = (width - 2 * pad) / max(float(high[0] - low[0]), 1e-6)
    height = int(np.clip((high[1] - low[1]) * scale, 60, 600)) + 2 * pad + 24
    scale = min(scale, (height - 2 * pad - 24) / max(float(high[1] - low[1]), 1e-6))

    def line(way: np.ndarray, colour: str, thick: float) -> str:
        points = " ".join(
            f"{pad + scale * (x - low[0]):.1f},{pad + scale * (high[1] - y):.1f}" for x, y in way
        )
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{thick}"/>'

    bar = 10.0 ** np.floor(np.log10((width - 2 * pad) / scale / 2))
    foot = height - 10
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="the way driven">{line(g, "#b9b9b2", 5)}'
        f"{line(p, '#0b5c4a', 1.5)}"
        f'<line x1="{pad}" x2="{pad + bar * scale:.1f}" y1="{foot}" y2="{foot}" stroke="#1c1c1a"/>'
        f'<text x="{pad}" y="{foot - 6}">{bar:g} m; grey: truth, green: estimate</text></svg>'
    )


def _chart(values: np.ndarray, unit: str, width: int = 1080, height: int = 140) -> str:
    """An SVG of values by frame, from zero to the largest."""
    if not len(values):
        return ""
    top, left, foot = 16, 84, height - 20
    limit = max(float(values.max()), 1e-9)
    x = left + (width - left) * np.arange(len(values)) / max(len(values) - 1, 1)
    y = foot - (foot - top) * values / limit
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="error by frame, {unit}">'
        f'<line x1="{left}" x2="{width}" y1="{foot}" y2="{foot}" stroke="#e2e2de"/>'
        f'<text x="{left - 8}" y="{top + 4}" text-anchor="end">{limit:.3g} {unit}</text>'
        f'<text x="{left - 8}" y="{foot + 4}" text-anchor="end">0</text>'
        f'<polyline points="{points}" fill="none" stroke="#0b5c4a" stroke-width="1.5"/></svg>'
    )
