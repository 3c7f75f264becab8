"""Evaluation of odometry: the trajectory measured is the one that the node publishes."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from depth_ros.card import Card
from depth_ros.cli import main
from depth_ros.datatypes import Motion, Odometry, Pose
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.evaluation.depth_source import RecordedSource
from depth_ros.evaluation.metrics.trajectory import read_tum, trajectory_metrics
from depth_ros.evaluation.odometry import DepthOdometry, default_settings, run_odometry
from depth_ros.geometry import T_BODY_OPTICAL, inverse
from depth_ros.networks import sfmlearner
from depth_ros.recordings import Sample, open_recording
from depth_ros.recordings.imu import Imu
from depth_ros.training.export import save_model
from depth_ros.world import World, WorldSettings, write_folder

SETTINGS = OdometrySettings()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "street"
    write_folder(World(WorldSettings(kind="street", frames=7, width=128, height=64)), path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A pose network with random weights on disk."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "motion"
    card = Card("motion", "ego_motion", "sfmlearner", 128, 64, "up_to_scale", "none", "", frames=3, path=path)
    save_model(sfmlearner.EgoMotionModel(sfmlearner.Settings()).eval(), card)
    return path


class TrueOdometry:
    """Ground-truth odometry in the frame of the first camera that is lost at some frames.

    It then continues from the pose of the last frame before: the motion in the meantime is missing.
    """

    name, method, scale, engine_name = "true", "ground truth", "metric", "none"
    window = None

    def __init__(self, folder, lost: tuple[int, ...] = ()) -> None:
        self.poses = [sample.T_world_camera for sample in folder]
        self.stamps = [sample.left.stamp for sample in folder]
        self.lost, self.milliseconds, self.T = lost, {}, np.eye(4)

    def estimate(self, sample: Sample) -> Odometry:
        i = int(sample.name)
        state = "starting" if i == 0 else "lost" if i in self.lost else "tracking"
        motion = None
        if state == "tracking":
            T_old_new = inverse(self.poses[i - 1]) @ self.poses[i]
            motion = Motion(self.stamps[i - 1], self.stamps[i], T_old_new, np.eye(6) * 1e-4)
            self.T = self.T @ T_old_new
        return Odometry(sample.left.stamp, state, Pose(sample.left.stamp, self.T), motion)


def test_lost_frames_have_no_pose_and_tracking_continues_from_the_last_one(clip):
    folder = open_recording(clip)
    poses = [sample.T_world_camera for sample in folder]
    run = run_odometry(TrueOdometry(folder, lost=(3,)), folder, SETTINGS)
    assert np.allclose(run.poses[2], inverse(poses[0]) @ poses[2])
    assert np.isnan(run.poses[3]).all()
    assert np.allclose(run.poses[4], run.poses[2] @ inverse(poses[3]) @ poses[4])
    metrics = trajectory_metrics(run.poses, run.ground_truth, run.covariances)
    assert metrics["tracked"] == pytest.approx(6 / 7)
    assert metrics["rpe_trans_m"] == pytest.approx(0, abs=1e-6)
    assert metrics["nees"] == pytest.approx(0, abs=1e-6)
    assert len(run_odometry(TrueOdometry(folder), folder, SETTINGS, limit=3).stamps) == 3


def test_extrapolated_poses_count_as_long_as_the_node_publishes_them(clip):
    """Two frames are lost, 0.1 s each; the velocity may be extrapolated over the first of them only."""
    folder = open_recording(clip)
    settings = dataclasses.replace(SETTINGS, when_lost="extrapolate", extrapolation_timeout=0.15)
    run = run_odometry(TrueOdometry(folder, lost=(3, 4)), folder, settings)
    assert np.isfinite(run.poses).all(axis=(1, 2)).tolist() == [True] * 4 + [False] + [True] * 2
    step = inverse(run.poses[1]) @ run.poses[2]
    assert np.allclose(run.poses[3], run.poses[2] @ step, atol=1e-6)


def test_poses_are_those_of_the_estimator(clip):
    """Integrating the estimator's poses gives these poses again, and not the chain of its motions."""
    folder, poses = open_recording(clip), []

    class Recording(DepthOdometry):
        def estimate(self, sample: Sample) -> Odometry:
            odometry = super().estimate(sample)
            poses.append(odometry.pose.T)
            return dataclasses.replace(odometry, motion=odometry.motion and shifted(odometry.motion))

    def shifted(motion: Motion) -> Motion:
        return dataclasses.replace(motion, T_old_new=motion.T_old_new + 0.1 * np.eye(4, k=3))

    run = run_odometry(Recording(RecordedSource(), default_settings(folder)), folder, SETTINGS)
    np.testing.assert_allclose(run.poses, poses, atol=1e-9)
    assert np.linalg.norm(run.poses[-1, :3, 3]) > 0.1


def test_command_with_a_pose_network(clip, model, tmp_path, capsys, engine_cache):
    command = ["evaluate", "odometry", "--data", str(clip), "--model", str(model), "--backend", "eager"]
    assert main([*command, "--json", "-", "--trajectories", str(tmp_path / "t")]) == 0
    result = json.loads(capsys.readouterr().out)
    keys = (
        "ate_rmse_m ate_sim_rmse_m scale rpe_trans_m rpe_trans_percent rpe_rot_deg tracked nees ms_per_frame"
    )
    assert set(keys.split()) <= set(result)
    assert (result["frames"], result["tracked"], result["nees"]) == (7, 1.0, None)
    assert result["ms_per_frame"] > 0 and result["model_scale"] == "up_to_scale"
    stamps, poses = read_tum(tmp_path / "t/ground_truth.txt")
    assert stamps == [sample.left.stamp for sample in open_recording(clip)]
    estimate = read_tum(tmp_path / "t/estimate.txt")[1]
    assert trajectory_metrics(estimate, poses)["ate_rmse_m"] == pytest.approx(result["ate_rmse_m"], rel=1e-5)


@pytest.mark.parametrize("frames", [3, 5])
def test_snippets_of_a_pose_network_are_those_of_its_inputs(clip, frames, tmp_path, capsys, engine_cache):
    """As published: one pass of a network of five frames per snippet, or two of one of three frames."""
    torch.manual_seed(0)
    settings = sfmlearner.Settings(frames=frames, width_divisor=8)
    network = sfmlearner.EgoMotionModel(settings).eval()
    torch.nn.init.normal_(network.network.pred.weight, std=50.0)
    card = Card("motion", "ego_motion", "sfmlearner", 128, 64, "up_to_scale", "none", "", frames=frames,
                path=tmp_path / "motion", settings={"frames": frames, "width_divisor": 8})  # fmt: skip
    save_model(network, card)
    command = ["evaluate", "odometry", "--data", str(clip), "--model", str(tmp_path / "motion")]
    assert main([*command, "--backend", "eager", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    samples = list(open_recording(clip))
    images = torch.from_numpy(np.stack([sample.left.image for sample in samples]))
    K = torch.from_numpy(samples[0].left.camera.K).float()[None]
    errors = []
    for first in range(3):  # seven frames have three snippets
        chain = [np.eye(4)]
        for start in range(first, first + 4, frames - 1):
            with torch.inference_mode():
                motions = network(images[None, start : start + frames], K)[0].double().numpy()
            for T in motions:
                chain.append(chain[-1] @ T)
        p = np.array(chain)[:, :3, 3]
        truth = [
            np.linalg.inv(samples[first].T_world_camera) @ each.T_world_camera
            for each in samples[first : first + 5]
        ]
        g = np.array(truth)[:, :3, 3]
        errors.append(np.sqrt(((p * (g * p).sum() / (p * p).sum() - g) ** 2).sum()) / 5)
    assert result["snippets"] == "3, each from its own 5 frames"
    assert result["snippet_ate_m"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert result["snippet_ate_std_m"] == pytest.approx(np.std(errors), rel=1e-3)


def test_command_with_depth(small_model, tmp_path, capsys, engine_cache):
    """The default is stereo matching; recorded depth and the depth of a model can be chosen."""
    report, clip = tmp_path / "report.html", tmp_path / "clip"
    write_folder(World(WorldSettings(kind="street", frames=5, width=384, height=128)), clip)
    command = ["evaluate", "odometry", "--data", str(clip), "--json", "-"]
    assert main([*command, "--report", str(report)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["model"], result["model_scale"], result["tracked"]) == ("semi_global", "metric", 1.0)
    assert result["rpe_rot_deg"] < 0.5 and result["nees"] > 0
    assert result["ms_per_frame"] > result["ms_odometry"] > 0
    text = report.read_text()
    assert text.count("<svg") == 5 and f"<td>{result['ate_rmse_m']:.4g}</td>" in text
    assert main([*command, "--model", "recorded"]) == 0
    exact = json.loads(capsys.readouterr().out)
    assert exact["model"] == "recorded" and exact["rpe_trans_m"] != result["rpe_trans_m"]
    assert max(exact["rpe_trans_percent"], result["rpe_trans_percent"]) < 3
    assert main([*command, "--model", str(small_model), "--backend", "eager"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "small"


def test_folder_without_poses_is_rejected(clip, model, tmp_path, capsys, engine_cache):
    (tmp_path / "image").mkdir()
    (tmp_path / "camera.yaml").write_text((clip / "camera.yaml").read_text())
    first = next((clip / "left").iterdir())
    (tmp_path / "image" / first.name).write_bytes(first.read_bytes())
    command = ["evaluate", "odometry", "--data", str(tmp_path), "--model", str(model), "--backend", "eager"]
    assert main(command) == 1
    assert "has a pose to compare with: groundtruth.txt or --poses is needed" in capsys.readouterr().err


def test_rotation_of_the_imu_is_that_of_the_camera_since_the_last_sample(clip):
    """An IMU with the axes of a body turns to the left, which is negative about the camera's y axis, down."""
    stamps = 10**9 + 10**7 * np.arange(50)
    velocity = np.tile([0.0, 0.0, 0.5], (50, 1))
    imu = Imu(stamps, velocity, np.zeros((50, 3)), "imu", inverse(T_BODY_OPTICAL))
    odometry = DepthOdometry(RecordedSource(), SETTINGS, imu)
    assert odometry._imu_rotation(10**9) is None
    R = odometry._imu_rotation(10**9 + 2 * 10**8)
    assert np.allclose(cv2.Rodrigues(R)[0].ravel(), [0, -0.1, 0])
    assert odometry._imu_rotation(10**10) is None  # no measurements


def test_recording_without_an_imu_is_refused(clip, capsys):
    assert main(["evaluate", "odometry", "--data", str(clip), "--imu"]) == 1
    assert "has no IMU; of a bag with several, choose one with --imu-topic" in capsys.readouterr().err
