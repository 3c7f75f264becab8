"""Trajectory metrics against values computed by hand and against the programs of evo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.evaluation.metrics import trajectory
from depth_ros.geometry import inverse

NS = 1_000_000_000


def pose(position, rotation=(0.0, 0.0, 0.0)) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.array(rotation, float))[0], position
    return T


def walk(count: int = 60, seed: int = 0) -> np.ndarray:
    """A trajectory in 3-D with random rotations, 1 m per frame."""
    random = np.random.default_rng(seed)
    poses = [np.eye(4)]
    for _ in range(count - 1):
        poses.append(poses[-1] @ pose(random.normal((0, 0, 1), 0.1), random.normal(0, 0.05, 3)))
    return np.array(poses)


def noisy(poses: np.ndarray, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.array([T @ pose(random.normal(0, 0.05, 3), random.normal(0, 0.01, 3)) for T in poses])


def test_metrics_of_a_scaled_trajectory_in_another_world_frame():
    ground_truth = walk()
    estimated = pose((3, -2, 9), (0.4, -1.0, 2.0)) @ ground_truth
    estimated[:, :3, 3] *= 0.25
    metrics = trajectory.trajectory_metrics(estimated, ground_truth)
    assert metrics["ate_sim_rmse_m"] == pytest.approx(0, abs=1e-9)
    assert metrics["scale"] == pytest.approx(4)
    assert metrics["ate_rmse_m"] > 1
    assert metrics["snippet_ate_m"] == pytest.approx(0, abs=1e-9)
    assert metrics["rpe_rot_deg"] == pytest.approx(0, abs=1e-5)
    assert metrics["rpe_trans_percent"] == pytest.approx(75, rel=0.02)  # every step is too short by 3/4
    assert metrics["tracked"] == 1


def test_alignment_of_mirrored_points_is_a_rotation():
    g = np.random.default_rng(0).normal(size=(9, 3))
    _, R, _ = trajectory.umeyama_alignment(g * [1, 1, -1], g)
    assert np.linalg.det(R) == pytest.approx(1)


def test_metrics_match_hand_computed_values():
    """A straight trajectory of 1 m per frame; the estimate is 10 % too long and rolls 0.1 degree per frame."""
    ground_truth = np.array([pose((0, 0, i)) for i in range(401)])
    estimate = np.array([pose((0, 0, 1.1 * i), (0, 0, np.radians(0.1) * i)) for i in range(401)])
    metrics = trajectory.trajectory_metrics(estimate, ground_truth)
    assert metrics["rpe_trans_m"] == pytest.approx(0.1)
    assert metrics["rpe_trans_percent"] == pytest.approx(10)
    assert metrics["rpe_rot_deg"] == pytest.approx(0.1, rel=1e-5)
    # a segment ends at the first frame beyond its length: 101, 201, 301 m; one starts at frames 0, 10, ...
    starts = [(length, (400 - length - 1) // 10 + 1) for length in (100, 200, 300)]
    t = sum(count * 0.1 * (length + 1) / length for length, count in starts) / sum(n for _, n in starts)
    r = sum(count * 0.1 * (length + 1) / length for length, count in starts) / sum(n for _, n in starts)
    assert metrics["kitti_t_percent"] == pytest.approx(100 * t)
    assert metrics["kitti_r_deg_per_100m"] == pytest.approx(100 * r)
    assert metrics["ate_sim_rmse_m"] == pytest.approx(0, abs=1e-9)
    centred = np.arange(401) - 200
    assert metrics["ate_rmse_m"] == pytest.approx(0.1 * np.sqrt(np.mean(centred**2)))


def test_snippet_error_is_divided_by_the_number_of_frames():
    """Only the last of five frames has an error, 1 m sideways, which scaling cannot reduce."""
    ground_truth = np.array([pose((0, 0, i)) for i in range(5)])
    estimate = ground_truth.copy()
    estimate[4, 0, 3] = 1.0
    s = 30 / 31  # of sum(g . p) / sum(p . p)
    g, p = ground_truth[:, :3, 3], estimate[:, :3, 3]
    expected = np.sqrt(((s * p - g) ** 2).sum()) / 5
    assert trajectory.trajectory_metrics(estimate, ground_truth)["snippet_ate_m"] == pytest.approx(expected)
    assert trajectory.snippet_errors(estimate[None], ground_truth[None]) == pytest.approx([expected])
    assert trajectory.snippet_errors(ground_truth[None] * np.nan, ground_truth[None]).size == 0


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_snippets_are_made_of_inputs_that_join_without_overlap(frames):
    """Each input has its own scale: only if a snippet uses the right ones are all its steps those expected."""
    rng = np.random.default_rng(0)
    motions = rng.normal(size=(9, frames - 1, 3))
    windows = [None] * (frames - 1) + [
        np.array([pose(step) for step in motions[end]]) for end in range(frames - 1, 9)
    ]
    found = trajectory.snippets_of_windows(windows)
    assert found.shape == (5, 5, 4, 4)
    for first in range(5):
        ends = range(first + frames - 1, first + 5, frames - 1)
        steps = np.concatenate([motions[end] for end in ends])
        expected = np.vstack([np.zeros(3), np.cumsum(steps, 0)])
        np.testing.assert_allclose(found[first, :, :3, 3], expected)


def test_inputs_that_do_not_divide_a_snippet_give_none():
    assert trajectory.snippets_of_windows([None] * 3 + [np.tile(np.eye(4), (3, 1, 1))] * 5) is None
    assert trajectory.snippets_of_windows([None] * 8) is None


def test_frames_without_a_pose_are_excluded_and_counted():
    ground_truth = walk(30)
    estimate = ground_truth.copy()
    estimate[10:16] = np.nan
    metrics = trajectory.trajectory_metrics(estimate, ground_truth)
    assert metrics["tracked"] == pytest.approx(24 / 30)
    assert metrics["ate_rmse_m"] == pytest.approx(0, abs=1e-9)
    assert metrics["kitti_t_percent"] is None
    nothing = trajectory.trajectory_metrics(ground_truth * np.nan, ground_truth)
    assert nothing["tracked"] == 0
    assert {value for key, value in nothing.items() if key != "tracked"} == {None}


def test_nees_of_consistent_and_of_overconfident_covariances():
    random = np.random.default_rng(3)
    A = random.normal(size=(6, 6)) * 0.01
    covariance = A @ A.T + 1e-6 * np.eye(6)
    ground_truth = walk(2000)
    errors = random.multivariate_normal(np.zeros(6), covariance, 1999)
    true = trajectory.relative_poses(ground_truth)
    estimated = true.copy()
    for T, e in zip(estimated, errors):
        T[:3, 3] += e[:3]
        T[:3, :3] = cv2.Rodrigues(e[3:])[0] @ T[:3, :3]
    many = np.tile(covariance, (1999, 1, 1))
    assert trajectory.nees(estimated, true, many).mean() == pytest.approx(6, abs=0.3)
    assert trajectory.nees(estimated, true, many / 4).mean() == pytest.approx(24, abs=1.2)


def test_nees_skips_motions_without_a_covariance():
    """Only the last of three motions has an error and no covariance."""
    ground_truth = walk(4)
    estimate = ground_truth.copy()
    estimate[3] = estimate[3] @ pose((1, 0, 0))
    covariances = np.tile(np.eye(6), (3, 1, 1))
    assert trajectory.trajectory_metrics(estimate, ground_truth, covariances)["nees"] == pytest.approx(1 / 3)
    covariances[2] = np.nan
    assert trajectory.trajectory_metrics(estimate, ground_truth, covariances)["nees"] == pytest.approx(0)


def test_nees_bounds_contain_consistent_trajectories():
    low, high = trajectory.nees_bounds(walk(2000), walk(2000))
    assert low < 6 < high and high - low < 0.7
    assert trajectory.nees_bounds(walk(2) * np.nan, walk(2)) is None


def test_tum_file_round_trip(tmp_path):
    poses = walk(9)
    poses[3] = np.nan
    stamps = [1403715273262142976 + i * NS // 20 for i in range(9)]
    trajectory.write_tum(tmp_path / "t.txt", stamps, poses)
    back, again = trajectory.read_tum(tmp_path / "t.txt")
    assert back == stamps[:3] + stamps[4:]
    assert np.allclose(again, np.delete(poses, 3, axis=0), atol=1e-8)


EVO = os.environ.get("EVO_BIN", "") or os.path.dirname(shutil.which("evo_ape") or "")
"""Folder of the programs of evo (PyPI) if they are not on the path; they may live in another environment."""


def evo(program: str, *arguments: str, folder: Path) -> float:
    """RMSE computed by a program of evo."""
    result = folder / "result.zip"
    result.unlink(missing_ok=True)
    command = [str(Path(EVO) / program), "tum", "ground_truth.txt", "estimate.txt", *arguments]
    environment = os.environ | {"PYTHONPATH": os.path.dirname(EVO), "HOME": str(folder)}
    done = subprocess.run([*command, "--save_results", str(result)], cwd=folder, env=environment,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(result) as archive:
        return json.loads(archive.read("stats.json"))["rmse"]


@pytest.mark.skipif(
    not EVO, reason="evo is not installed: pip install --target FOLDER evo; EVO_BIN=FOLDER/bin"
)
def test_metrics_match_evo(tmp_path):
    ground_truth = walk(120)
    estimate = pose((1, 2, 3), (0.1, 0.2, 0.3)) @ noisy(ground_truth)
    estimate[:, :3, 3] *= 0.8
    stamps = [NS + i * NS // 10 for i in range(120)]
    trajectory.write_tum(tmp_path / "ground_truth.txt", stamps, ground_truth)
    trajectory.write_tum(tmp_path / "estimate.txt", stamps, estimate)
    metrics = trajectory.trajectory_metrics(estimate, ground_truth)
    frame = ("--delta", "1", "--delta_unit", "f")
    for key, program, *arguments in (
        ("ate_rmse_m", "evo_ape", "--align"),
        ("ate_sim_rmse_m", "evo_ape", "--align", "--correct_scale"),
        ("rpe_trans_m", "evo_rpe", "--pose_relation", "trans_part", *frame),
        ("rpe_rot_deg", "evo_rpe", "--pose_relation", "angle_deg", *frame),
    ):
        assert metrics[key] == pytest.approx(evo(program, *arguments, folder=tmp_path), rel=1e-5), key


def test_relative_poses_are_independent_of_the_world_frame():
    poses = walk(5)
    assert np.allclose(poses[2] @ trajectory.relative_poses(poses)[2], poses[3])
    assert np.allclose(
        trajectory.relative_poses(inverse(poses[:1]) @ poses), trajectory.relative_poses(poses)
    )
