"""Report sections that the depth and the stereo report share, and the choice of the images that they show."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from depth_ros.card import Card
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.report.html import latency_chart, tile

IMAGE_WIDTH = 640
"""Maximum width of the images in the strips, px."""
EXAMPLES = {"typical": 0.5, "best": 0.0, "worst": 1.0, "better half": 0.25, "worse half": 0.75}
"""Images shown, by their position in the ranking from best (0) to worst (1)."""


def example_images(ranking: Sequence[int]) -> dict[int, str]:
    """{index: name in EXAMPLES} of the images to show, chosen from indices ranked from best to worst.

    Each image appears once, even if there are few; the typical one comes first.
    """
    names = {
        ranking[round(position * (len(ranking) - 1))]: name for name, position in reversed(EXAMPLES.items())
    }
    return dict(reversed(names.items()))


def model_facts(card: Card) -> dict[str, str]:
    """Rows about a model for `facts_section`."""
    return {
        "model": f"{card.name}, family {card.family}, scale {card.scale.replace('_', ' ')}",
        "licence of the weights": f"{card.licence}. {card.terms}".strip(". "),
        "trained on": "; ".join(card.training_data) or "not stated",
    }


def latency_tiles(latencies: Sequence[float], unit: str = "image") -> list[str]:
    """The tile of latencies, ms per `unit`; empty if there are none."""
    latency = summarise(latencies)
    if latency is None:
        return []
    value = f"{latency.median:.{1 if latency.median < 100 else 0}f} ms"
    rate = f"{latency.rate:.{0 if latency.rate >= 10 else 1}f} {unit}s per second"
    return [tile("Latency", value, f"per {unit}, median", rate)]


def latency_section(latencies: Sequence[float], engine: str) -> str:
    """Chart and statistics of latencies, ms."""
    latency = summarise(latencies)
    if latency is None:
        return ""
    return (
        f"<section><h2>Latency over time</h2>{latency_chart(latencies)}"
        f'<p class="note">{latency.count} images with {escape(engine)}: median {latency.median:.1f} ms, '
        f"95th percentile {latency.p95:.1f} ms, maximum {latency.maximum:.1f} ms.</p></section>"
    )


def training_section(curves: Path | None) -> str:
    """The training curves of the model, an SVG file, if it has them."""
    if curves is None or not curves.is_file():
        return ""
    return f"<section><h2>Training</h2>{curves.read_text(encoding='utf-8')}</section>"


def facts_section(result: dict[str, Any], facts: dict[str, str]) -> str:
    """Table of data, engine and `facts`."""
    rows = {"data": f"{result['data']}, {result['images']} images", "engine": result["engine"]} | facts
    cells = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items() if v)
    table = f'<table class="facts"><tbody>{cells}</tbody></table>'
    return f"<section><h2>Model and data</h2>{table}</section>"
