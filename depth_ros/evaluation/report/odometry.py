"""Report of an odometry evaluation: trajectory seen from above and from the side, errors by frame, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.evaluation.metrics.trajectory import (
    METRICS,
    relative_pose_errors,
    relative_poses,
    umeyama_alignment,
)
from depth_ros.evaluation.report.html import latency_chart, write_document

VIEWS = {"from above": (0, 1), "from the side": (0, 2)}
"""Principal axes of the trajectory shown as x and y of each plot; the trajectory extends least along the third."""


@dataclass(frozen=True)
class TrajectoryReport:
    """result: of `evaluate_odometry`. poses, ground_truth: (N, 4, 4), NaN = no pose. latencies: ms, in order."""

    result: dict[str, Any]
    poses: np.ndarray
    ground_truth: np.ndarray
    latencies: Sequence[float]


def write_trajectory_report(path: Path, report: TrajectoryReport) -> None:
    """Write the report; missing folders are created."""
    result, poses, ground_truth = report.result, report.poses, report.ground_truth
    title = f"Odometry on {Path(result['data']).name}"
    valid = np.isfinite(poses).all((1, 2)) & np.isfinite(ground_truth).all((1, 2))
    p, g = _in_principal_axes(poses[valid][:, :3, 3], ground_truth[valid][:, :3, 3])
    motions = (relative_poses(poses[valid]), relative_poses(ground_truth[valid]))
    translation, angle = relative_pose_errors(*motions)
    views = "".join(
        f"<section><h2>Trajectory {name}</h2>{_trajectory_plot(p[:, axes], g[:, axes])}</section>"
        for name, axes in VIEWS.items()
    )
    rows = "".join(
        f'<tr><th>{escape(key)}</th><td>{result[key]:.4g}</td><td class="text">{escape(description)}</td></tr>'
        for key, description in METRICS.items()
        if result[key] is not None
    )
    parts = [
        f'<header><h1>{escape(title)}</h1><p class="summary">{escape(_summary(result))}</p></header>{views}',
        f"<section><h2>Translation error from frame to frame</h2>{_chart(1000 * translation, 'mm')}</section>",
        f"<section><h2>Rotation error from frame to frame</h2>{_chart(np.degrees(angle), 'deg')}</section>",
        f"<section><h2>Metrics</h2><table><tbody>{rows}</tbody></table></section>",
        f"<section><h2>Latency over time</h2>{latency_chart(report.latencies)}</section>",
    ]
    write_document(path, title, parts)


def _summary(result: dict[str, Any]) -> str:
    if result["ate_rmse_m"] is None:
        return f"Too few of {result['frames']} frames have a pose to compare with the ground truth."
    return (
        f"{result['tracked']:.0%} of {result['frames']} frames have a pose; absolute trajectory error "
        f"{result['ate_rmse_m']:.3f} m (RMSE), {result['ms_per_frame']:.0f} ms per frame. Method: {result['method']}."
    )


def _in_principal_axes(p: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Aligned estimate and ground truth (N, 3) in the principal axes of the ground truth."""
    _, R, t = umeyama_alignment(p, g)
    centre = g.mean(0)
    axes = np.linalg.svd(g - centre, full_matrices=False)[2]
    return (p @ R.T + t - centre) @ axes.T, (g - centre) @ axes.T


def _trajectory_plot(p: np.ndarray, g: np.ndarray, width: int = 1080, pad: int = 20) -> str:
    """SVG plot of two trajectories (N, 2), m, with equal scales on both axes and a scale bar."""
    low, high = np.minimum(p.min(0), g.min(0)), np.maximum(p.max(0), g.max(0))
    scale = (width - 2 * pad) / max(float(high[0] - low[0]), 1e-6)
    height = int(np.clip((high[1] - low[1]) * scale, 60, 600)) + 2 * pad + 24
    scale = min(scale, (height - 2 * pad - 24) / max(float(high[1] - low[1]), 1e-6))

    def line(positions: np.ndarray, colour: str, thickness: float) -> str:
        points = " ".join(
            f"{pad + scale * (x - low[0]):.1f},{pad + scale * (high[1] - y):.1f}" for x, y in positions
        )
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{thickness}"/>'

    bar = 10.0 ** np.floor(np.log10((width - 2 * pad) / scale / 2))
    foot = height - 10
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="trajectory">{line(g, "#b9b9b2", 5)}'
        f"{line(p, '#0b5c4a', 1.5)}"
        f'<line x1="{pad}" x2="{pad + bar * scale:.1f}" y1="{foot}" y2="{foot}" stroke="#1c1c1a"/>'
        f'<text x="{pad}" y="{foot - 6}">{bar:g} m; grey: ground truth, green: estimate</text></svg>'
    )


def _chart(values: np.ndarray, unit: str, width: int = 1080, height: int = 140) -> str:
    """SVG chart of values by frame, from zero to the maximum."""
    if not len(values):
        return ""
    top, left, foot = 16, 160, height - 20
    limit = max(float(values.max()), 1e-9)
    x = left + (width - left) * np.arange(len(values)) / max(len(values) - 1, 1)
    y = foot - (foot - top) * values / limit
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="error by frame, {unit}">'
        f'<line x1="{left}" x2="{width}" y1="{foot}" y2="{foot}" stroke="#e2e2de"/>'
        f'<text x="{left - 8}" y="{top + 4}" text-anchor="end">{limit:.2g} {unit}</text>'
        f'<text x="{left - 8}" y="{foot + 4}" text-anchor="end">0</text>'
        f'<polyline points="{points}" fill="none" stroke="#0b5c4a" stroke-width="1.5"/></svg>'
    )
