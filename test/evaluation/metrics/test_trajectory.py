"""Trajectory figures by hand, by construction, and against evo run as a program."""

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


def pose(position, turn=(0.0, 0.0, 0.0)) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.array(turn, float))[0], position
    return T


def walk(count: int = 60, seed: int = 0) -> np.ndarray:
    """A drive in 3-D: a metre a frame, turning."""
    random = np.random.default_rng(seed)
    poses = [np.eye(4)]
    for _ in range(count - 1):
        poses.append(poses[-1] @ pose(random.normal((0, 0, 1), 0.1), random.normal(0, 0.05, 3)))
    return np.array(poses)


def noisy(poses: np.ndarray, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.array([T @ pose(random.normal(0, 0.05, 3), random.normal(0, 0.01, 3)) for T in poses])


def test_alignment_is_undone():
    truth = walk()
    moved = pose((3, -2, 9), (0.4, -1.0, 2.0)) @ truth
    moved[:, :3, 3] *= 0.25
    found = trajectory.figures(moved, truth)
    assert found["ate_sim_rmse_m"] == pytest.approx(0, abs=1e-9)
    assert found["scale"] == pytest.approx(4)
    assert found["ate_rmse_m"] > 1
    assert found["snippet_ate_m"] == pytest.approx(0, abs=1e-9)
    assert found["rpe_rot_deg"] == pytest.approx(0, abs=1e-5)
    assert found["rpe_trans_percent"] == pytest.approx(
        75, rel=0.02
    )  # a quarter of every step is missing a 3/4
    assert found["tracked"] == 1


def test_mirrored_points_are_turned_not_mirrored():
    g = np.random.default_rng(0).normal(size=(9, 3))
    _, R, _ = trajectory.align(g * [1, 1, -1], g)
    assert np.linalg.det(R) == pytest.approx(1)


def test_figures_by_hand():
    """A straight drive of 1 m a frame, measured 10 % long and turning 0.1 degree a frame about its own axis."""
    truth = np.array([pose((0, 0, i)) for i in range(401)])
    estimate = np.array([pose((0, 0, 1.1 * i), (0, 0, np.radians(0.1) * i)) for i in range(401)])
    found = trajectory.figures(estimate, truth)
    assert found["rpe_trans_m"] == pytest.approx(0.1)
    assert found["rpe_trans_percent"] == pytest.approx(10)
    assert found["rpe_rot_deg"] == pytest.approx(0.1, rel=1e-5)
    # a segment ends at the first frame beyond its length: 101, 201, 301 m; frames 0, 10, ... begin one
    starts = [(length, (400 - length - 1) // 10 + 1) for length in (100, 200, 300)]
    t = sum(count * 0.1 * (length + 1) / length for length, count in starts) / sum(n for _, n in starts)
    r = sum(count * 0.1 * (length + 1) / length for length, count in starts) / sum(n for _, n in starts)
    assert found["kitti_t_percent"] == pytest.approx(100 * t)
    assert found["kitti_r_deg_per_100m"] == pytest.approx(100 * r)
    assert found["ate_sim_rmse_m"] == pytest.approx(0, abs=1e-9)
    centred = np.arange(401) - 200
    assert found["ate_rmse_m"] == pytest.approx(0.1 * np.sqrt(np.mean(centred**2)))


def test_snippet_root_is_divided_by_the_frames():
    """Of five frames only the last is off, by 1 m sideways, where scaling cannot help."""
    truth = np.array([pose((0, 0, i)) for i in range(5)])
    estimate = truth.copy()
    estimate[4, 0, 3] = 1.0
    s = 30 / 31  # of sum(g . p) / sum(p . p)
    g, p = truth[:, :3, 3], estimate[:, :3, 3]
    expected = np.sqrt(((s * p - g) ** 2).sum()) / 5
    assert trajectory.snippet_errors(estimate, truth) == pytest.approx([expected])
    assert trajectory.snippet_errors(truth * np.nan, truth).size == 0


def test_lost_frames_count_and_break_no_figure():
    truth = walk(30)
    estimate = truth.copy()
    estimate[10:16] = np.nan
    found = trajectory.figures(estimate, truth)
    assert found["tracked"] == pytest.approx(24 / 30)
    assert found["ate_rmse_m"] == pytest.approx(0, abs=1e-9)
    assert found["kitti_t_percent"] is None
    nothing = trajectory.figures(truth * np.nan, truth)
    assert nothing["tracked"] == 0
    assert {value for key, value in nothing.items() if key != "tracked"} == {None}


def test_nees_of_honest_and_of_boasting_covariances():
    random = np.random.default_rng(3)
    A = random.normal(size=(6, 6)) * 0.01
    covariance = A @ A.T + 1e-6 * np.eye(6)
    truth = walk(2000)
    errors = random.multivariate_normal(np.zeros(6), covariance, 1999)
    really = trajectory.steps(truth)
    moved = really.copy()
    for T, e in zip(moved, errors):
        T[:3, 3] += e[:3]
        T[:3, :3] = cv2.Rodrigues(e[3:])[0] @ T[:3, :3]
    many = np.tile(covariance, (1999, 1, 1))
    assert trajectory.nees(moved, really, many).mean() == pytest.approx(6, abs=0.3)
    assert trajectory.nees(moved, really, many / 4).mean() == pytest.approx(24, abs=1.2)


def test_association_is_nearest_and_one_to_one():
    ms = NS // 1000
    a, b = [0, 100 * ms, 110 * ms, 300 * ms], [9 * ms, 104 * ms, 321 * ms]
    assert trajectory.associate(a, b) == [(0, 0), (1, 1)]
    assert trajectory.associate(a, b, within=30 * ms) == [(0, 0), (1, 1), (3, 2)]


def test_tum_files_come_back(tmp_path):
    poses = walk(9)
    poses[3] = np.nan
    stamps = [1403715273262142976 + i * NS // 20 for i in range(9)]
    trajectory.write_tum(tmp_path / "t.txt", stamps, poses)
    back, again = trajectory.read_tum(tmp_path / "t.txt")
    assert back == stamps[:3] + stamps[4:]
    assert np.allclose(again, np.delete(poses, 3, axis=0), atol=1e-8)


EVO = os.environ.get("EVO_BIN", "") or os.path.dirname(shutil.which("evo_ape") or "")
"""Folder of the programs of evo (PyPI), where they are not on the path: they need not share our environment."""


def evo(program: str, *arguments: str, folder: Path) -> float:
    """The RMSE that a program of evo finds."""
    result = folder / "result.zip"
    result.unlink(missing_ok=True)
    command = [str(Path(EVO) / program), "tum", "truth.txt", "estimate.txt", *arguments]
    environment = os.environ | {"PYTHONPATH": os.path.dirname(EVO), "HOME": str(folder)}
    done = subprocess.run([*command, "--save_results", str(result)], cwd=folder, env=environment,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(result) as archive:
        return json.loads(archive.read("stats.json"))["rmse"]


@pytest.mark.skipif(
    not EVO, reason="evo is not installed: pip install --target FOLDER evo; EVO_BIN=FOLDER/bin"
)
def test_evo_finds_the_same(tmp_path):
    truth = walk(120)
    estimate = pose((1, 2, 3), (0.1, 0.2, 0.3)) @ noisy(truth)
    estimate[:, :3, 3] *= 0.8
    stamps = [NS + i * NS // 10 for i in range(120)]
    trajectory.write_tum(tmp_path / "truth.txt", stamps, truth)
    trajectory.write_tum(tmp_path / "estimate.txt", stamps, estimate)
    found = trajectory.figures(estimate, truth)
    frame = ("--delta", "1", "--delta_unit", "f")
    for key, program, *arguments in (
        ("ate_rmse_m", "evo_ape", "--align"),
        ("ate_sim_rmse_m", "evo_ape", "--align", "--correct_scale"),
        ("rpe_trans_m", "evo_rpe", "--pose_relation", "trans_part", *frame),
        ("rpe_rot_deg", "evo_rpe", "--pose_relation", "angle_deg", *frame),
    ):
        assert found[key] == pytest.approx(evo(program, *arguments, folder=tmp_path), rel=1e-5), key


def test_steps_undo_the_world():
    poses = walk(5)
    assert np.allclose(poses[2] @ trajectory.steps(poses)[2], poses[3])
    assert np.allclose(trajectory.steps(inverse(poses[:1]) @ poses), trajectory.steps(poses))
