"""Benchmark of the clouds: every step is timed, and the clouds are those of the rendered room."""

from __future__ import annotations

from depth_ros.playback.bench import table
from depth_ros.playback.bench_clouds import bench_clouds


def test_every_step_is_timed():
    result = bench_clouds(rounds=2)
    steps = {row["step"]: row for row in result["steps"]}
    assert all(0 < row["ms_cpu_min"] <= row["ms_cpu_median"] for row in result["steps"])
    everything, band = (
        steps[f"points_filtered, {which}"]["points"] for which in ("all heights", "height band")
    )
    assert 100 < band < everything < 20_000 and steps["points_clearing"]["points"] == 80 * 60
    assert "temporal fusion" in table(result) and "640x480" in table(result)
