"""Trajectory files: exponents, comments, commas, and stamps that do not increase."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings.files import Trajectory, stamp_from_seconds

PLAIN = "1305031102.175304 1 2 3 0 0 0 1\n1305031102.211214 1.5 2 3 0 0 0 1\n"


@pytest.mark.parametrize("text", [
    PLAIN,
    "#no space after the sign\n# timestamp tx ty tz qx qy qz qw\n\n" + PLAIN,
    "1.305031102175304000e+09 1e0 2e+00 3.0e0 0e0 0e0 0e0 1e0\n1.305031102211214e9 15e-1 2 3 0 0 0 1\n",
    "1305031102175304000.000000 1 2 3 0 0 0 1\n1305031102211214000.000000 1.5 2 3 0 0 0 1\n",
    PLAIN + "1305031103 nan nan nan nan nan nan nan\n",
    PLAIN.replace(" ", ","), PLAIN.replace(" ", ", "), PLAIN.replace("\n", "\r\n"), PLAIN.replace(" ", "\t"),
])  # fmt: skip
def test_all_notations_give_the_same_poses(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    trajectory = Trajectory.read_tum(tmp_path / "t.txt")
    assert trajectory.stamps.tolist() == [1305031102_175304000, 1305031102_211214000]
    assert np.allclose([T[:3, 3] for T in trajectory.poses], [[1, 2, 3], [1.5, 2, 3]])


@pytest.mark.parametrize(("text", "problem"), [
    (PLAIN + PLAIN, r"line 3: the stamp 1305031102.175304 is not after the previous one.*twice"),
    (PLAIN.splitlines()[0] + "\n" + PLAIN, "line 2: the stamp"),
    ("# nothing\n", "has no poses"),
    (PLAIN + "1305031103 1 2 3\n", "line 3: 4 numbers instead of 8"),
    (PLAIN + "1305031103 1 2 3 0 0 0 one\n", "line 3: could not convert"),
    ("1305031102 1 2 3 0 0 0 0\n", "the quaternion at 1305031102.000000 s is zero"),
    ("1305031102 nan nan nan 0 0 0 1\n", "has no poses"),
    ("later 1 2 3 0 0 0 1\n", "line 1: 'later' is no time in seconds"),
])  # fmt: skip
def test_other_files_are_refused_with_the_line(tmp_path, text, problem):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(DepthRosError, match=problem):
        Trajectory.read_tum(tmp_path / "t.txt")


def test_ground_truth_of_euroc_has_the_scalar_first(tmp_path):
    (tmp_path / "data.csv").write_text(
        "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], v_RS_R_x\n"
        "1403715274302142976,0.878612,2.142470,0.947262,0.5,0.5,-0.5,0.5,0.01\n"
    )
    trajectory = Trajectory.read_euroc(tmp_path / "data.csv")
    assert trajectory.stamps.tolist() == [1403715274302142976]
    assert np.allclose(trajectory.poses[0][:3, :3], [[0, -1, 0], [0, 0, -1], [1, 0, 0]])


def test_seconds_are_exact():
    assert stamp_from_seconds("1305031029.528748123") == 1305031029_528748123
    assert stamp_from_seconds("1.5e-3") == 1_500_000
    written_by_numpy = f"{1305031102.033333:.18e}"
    assert stamp_from_seconds(written_by_numpy) == 1305031102_033333000
