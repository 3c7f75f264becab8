"""Evaluation of flicker on rendered clips with exact depth and poses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.datatypes import Depth
from depth_ros.evaluation.metrics.flicker import FlickerMetrics
from depth_ros.recordings import open_recording
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "room"
    write_folder(World(WorldSettings(kind="room", frames=4, width=128, height=96)), path)
    return path


def test_exact_depth_does_not_flicker_and_a_changed_scale_does(clip):
    exact, scaled = FlickerMetrics(), FlickerMetrics()
    for index, sample in enumerate(open_recording(clip)):
        depth = Depth(0, "", sample.depth, sample.left.camera.rectified(), sample.left.image)
        exact.add(depth, sample.T_world_camera)
        scaled.add(replace(depth, depth=depth.depth * np.float32(1.1 ** (index % 2))), sample.T_world_camera)
    assert len(exact) == 3 and exact.compute()["flicker"] < 0.004
    assert scaled.compute()["scale_flicker"] == pytest.approx(np.log(1.1), abs=0.02)
    assert FlickerMetrics().compute() == {"flicker": None, "scale_flicker": None}


def test_flicker_of_a_model_with_and_without_fusion(clip, capsys):
    arguments = ["evaluate", "flicker", "--model", "mono_indoor", "--data", str(clip), "--backend", "eager"]
    main([*arguments, "--json", "-"])
    result = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in result["rows"]] == ["each image", "fused", "fused, own odometry"]
    single, fused, own = (row["metrics"] for row in result["rows"])
    assert 0 < fused["flicker"] < single["flicker"] and single["abs_rel"] > 0
    assert 0 < own["flicker"] < single["flicker"] and own["flicker"] != fused["flicker"]
    assert result["images"] == 4 and result["fusion_cpu_ms_per_image"] > 0


def test_recordings_without_poses_are_refused(tmp_path, clip, capsys):
    images = tmp_path / "images"
    images.mkdir()
    for file in sorted(clip.rglob("*.png"))[:2]:
        (images / file.name).write_bytes(file.read_bytes())
    assert main(["evaluate", "flicker", "--model", "mono_indoor", "--data", str(images), "--fov", "90"]) != 0
    assert "poses in metres" in capsys.readouterr().err
