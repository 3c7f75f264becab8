"""Evaluation of object motion on a rendered street."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_ros.card import Card
from depth_ros.cli import main
from depth_ros.networks import struct2depth
from depth_ros.recordings import open_recording
from depth_ros.training.export import save_model
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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of task object_motion."""
    torch.manual_seed(0)
    path, settings = tmp_path_factory.mktemp("models") / "moved", {"width_divisor": 16}
    card = Card("moved", "object_motion", "struct2depth", 96, 32, "up_to_scale", "none", "", frames=3,
                path=path, settings=settings)  # fmt: skip
    save_model(struct2depth.ObjectMotionModel(struct2depth.Settings(**settings)).eval(), card)
    return path


def test_a_model_of_object_motion_is_measured_with_given_masks(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture, engine_cache: Path
):
    """Masks with other ids in every frame give the same objects as the recording's own, whose ids are constant."""
    command = ["evaluate", "object_motion", "--data", str(clip), "--model", str(model), "--backend", "eager"]
    command += ["--depth-model", "recorded", "--json", "-"]
    assert main(command) == 0
    own = json.loads(capsys.readouterr().out)
    assert own["method"] == "ground-truth instance masks, metres from the depth of 'recorded'"
    assert own["model"] == str(model) and own["frames"] == 3 and own["objects_per_frame"] > 0
    for index, sample in enumerate(open_recording(clip)):
        ids = np.where(sample.moving_objects > 0, 26000 + (sample.moving_objects * 7 + index) % 10, 0)
        cv2.imwrite(str(tmp_path / f"{sample.name}.png"), ids.astype(np.uint16))
    assert main([*command, "--masks", str(tmp_path)]) == 0
    given = json.loads(capsys.readouterr().out)
    assert given["method"].startswith("instance masks, aligned by their overlap")
    for key in ("objects_per_frame", "found", "moving_iou", "speed_error"):
        assert given[key] == pytest.approx(own[key]), key
