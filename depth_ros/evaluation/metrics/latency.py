"""Latency statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """median, p95, maximum: ms. rate: images per second at the median latency. count: number of samples."""

    median: float
    p95: float
    maximum: float
    rate: float
    count: int


def summarise(milliseconds: Sequence[float]) -> Latency | None:
    """Statistics of latencies, ms; None for an empty list. A slow start affects p95, but not the median."""
    if not len(milliseconds):
        return None
    median, p95, maximum = (float(v) for v in np.percentile(milliseconds, [50, 95, 100]))
    return Latency(median, p95, maximum, 1000 / median if median else float("inf"), len(milliseconds))
