"""What there is: models with the state of their engines, and families with the size of their networks."""

from __future__ import annotations

from typing import Any

from depth_ros.card import Card, cards
from depth_ros.engine import cache
from depth_ros.networks import families, parameter_counts


def list_models() -> list[dict[str, Any]]:
    """One row a model; the values that `depth_ros models --json` writes."""
    return [
        {
            "name": card.name,
            "task": card.task,
            "family": card.family,
            "scale": card.scale,
            "width": card.width,
            "height": card.height,
            "megabytes": round(card.weights.stat().st_size / 1e6, 2) if card.weights.is_file() else 0.0,
            "engine": engine_state(card),
            "licence": card.licence,
            "path": str(card.path),
        }
        for card in cards()
    ]


def engine_state(card: Card) -> str:
    """The engines of a model in the cache, in words."""
    prefix = f"{card.name}-"
    names = [
        folder.name.removeprefix(prefix).rsplit("-", 1)[0].replace("-", " ")
        for folder in sorted(cache.cache_root().glob(f"{prefix}*-{card.sha256[:8]}"))
        if (folder / "manifest.json").is_file()
    ]
    return "; ".join(names) or "not compiled"


def list_families() -> list[dict[str, Any]]:
    """[{"family", "parameters": {network: trainable parameters}}]"""
    return [{"family": name, "parameters": parameter_counts(name)} for name in families()]
