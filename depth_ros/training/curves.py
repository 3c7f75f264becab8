"""Plots of training.csv: every column over the steps, one small panel each, as SVG."""

from __future__ import annotations

import csv
from html import escape
from pathlib import Path

import numpy as np

WIDTH, HEIGHT, GAP = 260, 120, 46
"""Size of a panel and gap between panels, px."""
COLUMNS = 4
"""Panels per row."""


def plot_curves(table: Path, image: Path) -> None:
    """Write the curves of a `training.csv` as an SVG image."""
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name != "step"]
    steps = np.array([float(row["step"]) for row in rows])
    panels = []
    for i, name in enumerate(names):
        values = np.array([float(row[name] or "nan") for row in rows])
        row_index, column = divmod(i, COLUMNS)
        panels.append(panel(name, steps, values, column * (WIDTH + GAP) + 8, row_index * (HEIGHT + GAP) + 24))
    width = min(len(names), COLUMNS) * (WIDTH + GAP)
    height = -(-len(names) // COLUMNS) * (HEIGHT + GAP) + 10
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    image.write_text(
        "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *panels, "</svg>\n"])
    )


def panel(name: str, steps: np.ndarray, values: np.ndarray, left: float, top: float) -> str:
    """One curve with its name and last value as the title, and its minimum and maximum as axis labels."""
    valid = np.isfinite(values)
    if not valid.any():
        return ""
    low, high = values[valid].min(), values[valid].max()
    x = left + WIDTH * steps[valid] / max(steps.max(), 1.0)
    y = top + HEIGHT * (1 - (values[valid] - low) / max(high - low, 1e-12))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
    last = values[valid][-1]
    return (
        f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>'
        f'<text x="{left}" y="{top - 6}" font-size="12">{escape(name)}: {last:.4g}</text>'
        f'<text x="{left + 3}" y="{top + 11}" font-size="9" fill="#888">{high:.4g}</text>'
        f'<text x="{left + 3}" y="{top + HEIGHT - 3}" font-size="9" fill="#888">{low:.4g}</text>'
        f'<polyline points="{points}" fill="none" stroke="#0a5fb4" stroke-width="1.5"/>'
    )
