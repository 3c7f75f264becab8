"""Evaluation of the filters: coverage and errors, of one camera and of stereo."""

from __future__ import annotations

import json

import pytest

from depth_ros.cli import main
from depth_ros.world import World, WorldSettings, write_folder


@pytest.mark.parametrize(("kind", "model"), [("room", "mono_indoor"), ("street", "semi_global")])
def test_each_filter_leaves_fewer_pixels(tmp_path, capsys, kind: str, model: str):
    write_folder(World(WorldSettings(kind=kind, frames=2, width=256, height=128)), tmp_path / kind)
    arguments = ["--model", model, "--data", str(tmp_path / kind), "--backend", "eager", "--json", "-"]
    assert main(["evaluate", "depth", "--filters", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    rows = {row["row"]: row["metrics"] for row in result["rows"]}
    assert result["images"] == 2 and result["metrics"] == rows["none"]
    coverage = {row: metrics["coverage"] for row, metrics in rows.items()}
    assert coverage["image_border 0.05"] < 0.85 * coverage["none"] <= 1
    assert coverage["max_depth 5"] < coverage["none"] and coverage["flying_pixels 0.05"] <= coverage["none"]
    assert ("min_confidence 0.5" in rows) == (model == "semi_global")  # has standard deviations


def test_filters_have_no_report(tmp_path, capsys):
    arguments = ["--model", "mono_indoor", "--data", str(tmp_path), "--report", "report.html"]
    assert main(["evaluate", "depth", "--filters", *arguments]) != 0
    assert "--report" in capsys.readouterr().err
