"""Poses and key points from files beside a recording."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings import RecordingOptions, open_recording
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clip") / "room"
    write_folder(World(WorldSettings(kind="room", frames=3, width=48, height=32, moving_count=1)), root)
    return root


def write_labels(folder, names):
    """Label images in which row i of image i has the value 9."""
    folder.mkdir()
    for i, name in enumerate(names):
        labels = np.zeros((32, 48), np.uint8)
        labels[i] = 9
        cv2.imwrite(str(folder / f"{name}.png"), labels)
    return folder


@pytest.mark.parametrize("names", [("000000", "000001", "000002"), ("a_9", "a_10", "b")])
def test_joints_belong_to_the_frame_of_the_same_name_or_else_to_the_same_position(folder, tmp_path, names):
    joints = write_labels(tmp_path / "joints", names)
    keypoints = open_recording(folder, RecordingOptions(keypoints=joints))[2].left.extra_inputs["keypoints"]
    assert (keypoints[2] == 0.5).all() and keypoints.sum() == 24  # 9 of 18


def test_trajectory_replaces_recorded_poses(folder, tmp_path):
    """Half a turn about z at x = 2 m, at the stamp of the second frame only."""
    recording = open_recording(folder)
    (tmp_path / "poses.txt").write_text(f"{recording.stamps[1] / 1e9:.9f} 2 0 0 0 0 1 0\n")
    supplemented = open_recording(folder, RecordingOptions(poses=tmp_path / "poses.txt"))
    assert supplemented.contents.poses and supplemented[0].T_world_camera is None
    expected = np.diag([-1.0, -1.0, 1.0, 1.0])
    expected[0, 3] = 2
    np.testing.assert_allclose(supplemented[1].T_world_camera, expected, atol=1e-12)
    assert supplemented.stamps == recording.stamps and supplemented.names == recording.names


def test_a_trajectory_of_other_times_is_refused(folder, tmp_path):
    (tmp_path / "poses.txt").write_text("1700000000.5 2 0 0 0 0 1 0\n1700000001.5 2 0 0 0 0 1 0\n")
    with pytest.raises(
        DepthRosError, match=r"from 1700000000.500 to 1700000001.500 s, the images are from 1.000 to"
    ):
        open_recording(folder, RecordingOptions(poses=tmp_path / "poses.txt"))


def test_labels_that_do_not_fit_are_reported(folder, tmp_path):
    joints = write_labels(tmp_path / "joints", ["000000", "000001"])
    recording = open_recording(folder, RecordingOptions(keypoints=joints))
    with pytest.raises(DepthRosError, match="joints has no readable image for frame '000002'"):
        recording[2]
    cv2.imwrite(str(joints / "000002.png"), np.zeros((7, 9), np.uint8))
    with pytest.raises(DepthRosError, match=r"000002\.png is 9x7, its frame 48x32"):
        open_recording(folder, RecordingOptions(keypoints=joints))[2]
