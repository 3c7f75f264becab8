"""Odometry on folders: trajectories from motions, lost frames, and the command with a network of random weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from depth_ros.card import Card, load_model, read_card
from depth_ros.cli import main
from depth_ros.datasets import open_folder
from depth_ros.datatypes import Motion
from depth_ros.engine import EngineSettings
from depth_ros.estimators.odometry.pose_network import PoseNetwork
from depth_ros.evaluation.metrics.trajectory import figures, read_tum
from depth_ros.evaluation.odometry import run
from depth_ros.geometry import inverse
from depth_ros.networks import sfmlearner
from depth_ros.training.export import save
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "street"
    write_folder(World(WorldSettings(kind="street", frames=7, width=128, height=64)), path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A motion network with random weights: real files, nothing learned."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "motion"
    card = Card("motion", "ego_motion", "sfmlearner", 128, 64, "up_to_scale", "none", "", frames=3, path=path)
    save(sfmlearner.EgoMotionModel(sfmlearner.Settings()).eval(), card)
    return path


def test_motions_are_strung_together_and_a_loss_stays_a_loss(clip):
    folder = open_folder(clip)
    poses = [sample.T_world_camera for sample in folder]

    def estimate(sample):
        i = int(sample.name)
        if i in (0, 3):
            return None
        return Motion(0, sample.left.stamp, inverse(poses[i - 1]) @ poses[i], np.eye(6) * 1e-4)

    track = run(estimate, folder)
    assert np.allclose(track.poses[2], inverse(poses[0]) @ poses[2])
    assert np.isnan(track.poses[3]).all()
    assert np.allclose(track.poses[4], track.poses[2] @ inverse(poses[3]) @ poses[4])  # a step is missing
    found = figures(track.poses, track.truth, track.covariances)
    assert found["tracked"] == pytest.approx(6 / 7)
    assert found["rpe_trans_m"] == pytest.approx(0, abs=1e-6)
    assert found["nees"] == pytest.approx(0, abs=1e-6)
    assert len(run(estimate, folder, limit=3).stamps) == 3


def test_network_sees_its_frames_in_order(clip, model, engine_cache):
    """The third motion is that of the last pair of frames 1, 2, 3; before the third frame the first stands in."""
    folder = open_folder(clip)
    estimator = PoseNetwork(str(model), EngineSettings("eager", "float32", "cpu"))
    motions = [estimator.estimate(folder[i].left) for i in range(4)]
    assert motions[0] is None
    network = load_model(read_card(model))
    images = [torch.from_numpy(folder[i].left.image) for i in range(4)]
    K = torch.from_numpy(folder[0].left.camera.K).float()[None]
    for moment, window in ((1, (0, 0, 1)), (2, (0, 1, 2)), (3, (1, 2, 3))):
        with torch.inference_mode():
            T = network(torch.stack([images[i] for i in window])[None], K)[0, -1]
        assert np.allclose(motions[moment].T_old_new, T, atol=1e-6)
        assert motions[moment].stamp_old == folder[moment - 1].left.stamp
    estimator.reset()
    assert estimator.estimate(folder[4].left) is None


def test_command(clip, model, tmp_path, capsys, engine_cache):
    command = ["evaluate", "odometry", "--data", str(clip), "--model", str(model), "--backend", "eager"]
    assert main([*command, "--json", "-", "--trajectories", str(tmp_path / "t")]) == 0
    result = json.loads(capsys.readouterr().out)
    keys = (
        "ate_rmse_m ate_sim_rmse_m scale rpe_trans_m rpe_trans_percent rpe_rot_deg tracked nees ms_per_frame"
    )
    assert set(keys.split()) <= set(result)
    assert (result["frames"], result["tracked"], result["nees"]) == (7, 1.0, None)
    assert result["ms_per_frame"] > 0 and result["lengths"] == "up_to_scale"
    stamps, poses = read_tum(tmp_path / "t/truth.txt")
    assert stamps == [sample.left.stamp for sample in open_folder(clip)]
    assert figures(read_tum(tmp_path / "t/estimate.txt")[1], poses)["ate_rmse_m"] == pytest.approx(
        result["ate_rmse_m"], rel=1e-5
    )


def test_command_with_depth(small_model, tmp_path, capsys, engine_cache):
    """Without a model the eyes' depth serves; a model's depth serves as well, however bad it is."""
    page, clip = tmp_path / "page.html", tmp_path / "clip"
    write_folder(World(WorldSettings(kind="street", frames=5, width=384, height=128)), clip)
    command = ["evaluate", "odometry", "--data", str(clip), "--json", "-"]
    assert main([*command, "--report", str(page)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["model"], result["lengths"], result["tracked"]) == ("semi_global", "metric", 1.0)
    assert result["rpe_rot_deg"] < 0.5 and result["nees"] > 0
    assert result["ms_per_frame"] > result["ms_odometry"] > 0
    assert page.read_text().count("<svg") == 5
    assert main([*command, "--model", "recorded"]) == 0
    exact = json.loads(capsys.readouterr().out)
    assert exact["model"] == "recorded" and exact["rpe_trans_m"] != result["rpe_trans_m"]
    assert max(exact["rpe_trans_percent"], result["rpe_trans_percent"]) < 3
    assert main([*command, "--model", str(small_model), "--backend", "eager"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "small"


def test_errors(clip, model, tmp_path, capsys, engine_cache):
    (tmp_path / "image").mkdir()
    for name in ("camera.yaml", "poses.txt"):
        (tmp_path / name).write_text((clip / name).read_text())
    first = next((clip / "left").iterdir()) if (clip / "left").is_dir() else next((clip / "image").iterdir())
    (tmp_path / "image" / first.name).write_bytes(first.read_bytes())
    (tmp_path / "poses.txt").unlink()
    assert (
        main(["evaluate", "odometry", "--data", str(tmp_path), "--model", str(model), "--backend", "eager"])
        == 1
    )
    assert "has no poses to compare with" in capsys.readouterr().err
