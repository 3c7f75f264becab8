"""Evaluation of object motion on a rendered street."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.recordings import open_recording
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(WorldSettings(seed=3, frames=4, width=480, height=144, moving_count=2, supersample=2))
    return write_folder(world, tmp_path_factory.mktemp("clip") / "street")


def test_velocities_of_a_written_street_are_those_of_the_world(clip: Path):
    world = World(WorldSettings(seed=3, frames=4, width=480, height=144, moving_count=2))
    folder = open_recording(clip)
    assert folder[0].velocities is None
    for index in (1, 3):
        velocities = {each.label: each.velocity for each in world.object_motions(index)}
        assert set(velocities) == set(folder[index].velocities)
        for label, velocity in velocities.items():
            assert folder[index].velocities[label] == pytest.approx(velocity, abs=1e-3)
            assert 1 < np.linalg.norm(velocity) < 30


def test_command_evaluates_a_street_and_given_instances(clip: Path, capsys: pytest.CaptureFixture):
    command = ["evaluate", "object_motion", "--data", str(clip), "--model", "recorded", "--json", "-"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == 3 and result["false_per_frame"] == 0.0
    assert result["speed_error"] < 0.05 and result["angle_error_deg"] < 3 and result["found"] > 0.3
    assert main([*command, "--instances"]) == 0
    given = json.loads(capsys.readouterr().out)
    assert given["moving_iou"] > result["moving_iou"] and given["found"] >= 2 / 3


def test_report_has_two_images_per_frame(clip: Path, tmp_path: Path):
    report = tmp_path / "report.html"
    command = ["evaluate", "object_motion", "--data", str(clip), "--report", str(report)]
    assert main([*command, "--json", str(tmp_path / "result.json")]) == 0
    text = report.read_text()
    assert "Object motion on street" in text and text.count("<img") == 6
