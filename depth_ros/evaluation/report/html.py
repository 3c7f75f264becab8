"""Building blocks of HTML reports: style, images with captions, colour scales and a latency chart, all inline."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from depth_ros.evaluation.report.plots import data_url

_STYLE = """
:root { --ink: #1c1c1a; --soft: #6d6d68; --line: #e2e2de; --strong: #0b5c4a; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 28px; font-weight: 650; line-height: 1.2; margin: 0 0 8px; letter-spacing: -.01em; }
h2 { font-size: 18px; font-weight: 600; margin: 48px 0 12px; }
h3 { font-size: 14px; font-weight: 400; color: var(--soft); margin: 0; grid-column: 1 / -1; }
p { margin: 0; max-width: 76ch; }
.summary { font-size: 18px; }
.note { font-size: 13px; color: var(--soft); margin-top: 10px; }
.tiles { display: grid; grid-template-columns: repeat(3, 1fr); margin-top: 28px;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
.tile { padding: 16px 20px; display: flex; flex-direction: column; border-left: 1px solid var(--line); }
.tile:first-child { border-left: 0; padding-left: 0; }
.name, .caption, .comparison { font-size: 14px; color: var(--soft); }
.value { white-space: nowrap; font-size: 42px; line-height: 1.15; font-weight: 650; color: var(--strong);
  font-variant-numeric: tabular-nums; letter-spacing: -.02em; }
.comparison { color: var(--ink); margin-top: 4px; }
.strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: 4px 8px; margin-top: 20px;
  break-inside: avoid; }
.strip.wide { grid-template-columns: repeat(2, 1fr); }
.strip.three { grid-template-columns: repeat(3, 1fr); }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { font-size: 12px; color: var(--soft); padding-top: 2px; }
.legends { display: flex; flex-wrap: wrap; gap: 8px 32px; align-items: flex-end; }
.legend { width: 260px; font-size: 12px; color: var(--soft); }
.legend img { display: block; width: 100%; height: 10px; margin: 3px 0 1px; image-rendering: auto; }
.legend div { display: flex; justify-content: space-between; }
.invalid { font-size: 12px; color: var(--soft); }
.invalid i { display: inline-block; width: 22px; height: 10px; margin-right: 6px; background: #e2e2de; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
th, td { text-align: right; padding: 5px 16px 5px 0; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child, .text, .facts td { text-align: left; }
th { font-weight: 500; } thead th { color: var(--soft); font-size: 13px; }
td b, a { color: var(--strong); } .scroll { overflow-x: auto; }
.text { color: var(--soft); font-size: 13px; white-space: normal; padding: 5px 0 5px 16px; }
.facts th { color: var(--soft); vertical-align: top; } .facts td { white-space: normal; width: 100%;
  overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: #6d6d68; }
@media (max-width: 720px) {
  main { padding: 24px 16px 40px; } h1 { font-size: 22px; } .summary { font-size: 16px; }
  .tile { padding: 12px 0 12px 12px; } .value { font-size: 25px; } .name, .caption, .comparison { font-size: 12px; }
  .strip { grid-template-columns: repeat(2, 1fr); } .strip.wide, .strip.three { grid-template-columns: 1fr; }
  table { font-size: 13px; } th, td { padding-right: 8px; } tbody th { white-space: normal; }
  td.text, th.text { display: none; } .legend { width: 100%; } svg text { font-size: 24px; }
}
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; } table { break-inside: avoid; }
  .value { font-size: 32px; }  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def write_document(path: Path, title: str, parts: Sequence[str]) -> None:
    """Write a self-contained HTML file from the HTML of its parts; missing folders are created."""
    document = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE.strip()}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document, encoding="utf-8")


def tile(name: str, value: str, caption: str, comparison: str) -> str:
    """One of the large numbers below the title. caption, comparison: lines below the value."""
    return (
        f'<div class="tile"><span class="name">{escape(name)}</span>'
        f'<span class="value">{escape(value)}</span>'
        f'<span class="caption">{escape(caption)}</span><span class="comparison">{escape(comparison)}</span></div>'
    )


def figure(pixels: np.ndarray, caption: str, width: int) -> str:
    """An image (H, W, 3) uint8 RGB with a caption, reduced to `width` px if it is wider."""
    height = round(pixels.shape[0] * width / pixels.shape[1])
    if pixels.shape[1] > width:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    size = f'width="{pixels.shape[1]}" height="{pixels.shape[0]}"'
    return (
        f'<figure><img src="{data_url(pixels)}" {size} alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def legend(colours: np.ndarray, ticks: Sequence[str], caption: str) -> str:
    """A colour scale (1, N, 3) uint8 RGB with evenly spaced tick labels."""
    labels = "".join(f"<span>{escape(tick)}</span>" for tick in ticks)
    return (
        f'<div class="legend">{escape(caption)}<img src="{data_url(colours, "png")}" alt="colour scale">'
        f"<div>{labels}</div></div>"
    )


def latency_chart(milliseconds: Sequence[float], width: int = 1080, height: int = 180) -> str:
    """SVG chart of latency, ms, by image; outliers are clipped at the top and marked."""
    left, bottom, top = 128, 28, 16
    values = np.asarray(milliseconds, float)
    limit = _round_up(1.2 * max(float(np.percentile(values, 98)), 1e-3))
    step = (width - left) / max(len(values) - 1, 1)
    x = left + step * np.arange(len(values))
    y = top + (height - top - bottom) * (1 - np.minimum(values, limit) / limit)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    marks = "".join(
        f'<circle cx="{a:.1f}" cy="{top}" r="3.5" fill="#b2182b"><title>{v:.1f} ms</title></circle>'
        for a, v in zip(x, values, strict=True)
        if v > limit
    )
    grid = "".join(
        f'<line x1="{left}" x2="{width}" y1="{_level(ratio, height):.1f}" y2="{_level(ratio, height):.1f}" '
        f'stroke="#e2e2de"/><text x="{left - 8}" y="{_level(ratio, height) + 4:.1f}" text-anchor="end">'
        f"{ratio * limit:g} ms</text>"
        for ratio in (0, 0.5, 1)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="latency in milliseconds by image">{grid}'
        f'<polyline points="{line}" fill="none" stroke="#0b5c4a" stroke-width="1.5"/>{marks}'
        f'<text x="{left}" y="{height - 4}">image 1</text>'
        f'<text x="{width}" y="{height - 4}" text-anchor="end">{len(values)}</text></svg>'
    )


def _level(ratio: float, height: int, top: int = 16, bottom: int = 28) -> float:
    return top + (height - top - bottom) * (1 - ratio)


def _round_up(value: float) -> float:
    """Round up to 1, 2, 4, 5, 6, 8 or 10 times a power of ten, whose halves are short numbers too."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step for step in (1, 2, 4, 5, 6, 8, 10) if step * power >= value) * power)
