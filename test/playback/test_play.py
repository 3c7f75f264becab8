"""Frames through the real node process: the same depth as offline, and never an outdated one."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Frame
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.playback.latency import LatencyOptions, node_latency
from depth_ros.playback.play import DEPTH_NODE, Played, Player, play


def frames(count: int, rate: float) -> list[Frame]:
    """Noise with old stamps, as in a bag."""
    camera, rng = Camera.pinhole(128, 64, 90, 90, 63.5, 31.5), np.random.default_rng(0)
    return [
        Frame(10**18 + round(i / rate * 1e9), "camera", rng.integers(0, 256, (64, 128, 3), np.uint8), camera)
        for i in range(count)
    ]


def test_depth_through_ros_equals_depth_offline(small_model: Path):
    sequence = frames(6, rate=2.0)
    begin = time.monotonic()
    played = []
    views = ((frame,) for frame in sequence)
    for result in play(DEPTH_NODE, views, str(small_model), parameters={"backend": "eager"}):
        played.append((result, time.monotonic() - begin))
    estimator = DepthEstimator(str(small_model), EngineSettings(backend="eager", precision="float32"))
    by_stamp = {frame.stamp: frame for frame in sequence}
    stamps = [result.stamp for result, _ in played]
    assert stamps == sorted(set(stamps)) and stamps[0] == sequence[0].stamp
    assert len(stamps) >= 3  # the newest frame wins: a busy machine may skip some
    for result, _ in played:
        frame = by_stamp[result.stamp]
        np.testing.assert_allclose(result.image, estimator.estimate(frame).depth, rtol=1e-4)
        assert 0 < result.latency < 30
    assert played[-1][1] - played[0][1] == pytest.approx(2.5, abs=1.5)  # at the recorded rate


def test_an_image_has_one_result_although_a_slow_network_also_answers_its_repetition(monkeypatch):
    results = [
        Played(stamp, np.zeros((1, 1), np.float32), latency)
        for stamp, latency in ((1, 0.2), (1, 2.0), (2, 2.0))
    ]
    player = Player("/test", subprocess.Popen(["true"]))
    monkeypatch.setattr(player, "_results", results)
    assert [(result.stamp, result.latency) for result in player._received()] == [(1, 0.2), (2, 2.0)]


def test_a_node_that_cannot_start_is_an_error():
    with pytest.raises(DepthRosError, match="cannot configure: no model 'no_such_model'"):
        list(play(DEPTH_NODE, ((frame,) for frame in frames(1, 1.0)), "no_such_model"))


def test_newest_frame_wins_while_inference_takes_200_ms():
    """1280x720 at 30 Hz: about every sixth frame is processed, always the newest."""
    result = node_latency(options=LatencyOptions(inference_ms=200, seconds=3))
    assert result["sent"] == 90 and 5 <= result["processed"] <= 17
    assert result["backlog"] == 0
    if os.getloadavg()[0] < os.cpu_count():  # otherwise even the transport is late
        assert result["stale"] <= 1
    assert 200 <= result["estimate_median"] <= result["latency_median"]
