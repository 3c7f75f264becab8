"""Latency statistics."""

from __future__ import annotations

import pytest

from depth_ros.evaluation.metrics.latency import Latency, summarise


def test_statistics_match_hand_computed_values() -> None:
    assert summarise([]) is None
    assert summarise([4.0, 5.0, 6.0]) == Latency(5.0, pytest.approx(5.9), 6.0, 200.0, 3)
