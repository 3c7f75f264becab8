"""KITTI depth, SceneFlow, TartanAir and Virtual KITTI 2 in the published folders, made up at small sizes."""

from __future__ import annotations

import numpy as np
import published_driving as published
import pytest
from test_public_layouts import DRIVE, make_raw

from depth_ros.errors import DepthRosError
from depth_ros.recordings import DamagedFrame, RecordingOptions, open_recording
from depth_ros.recordings.indexed_png import read_indices

DRIVE_NAME = DRIVE.split("/")[1]


def test_kitti_selection_has_ground_truth(tmp_path):
    path = published.kitti_selection(tmp_path)
    for folder in (path, path / "depth_selection", path / "depth_selection/val_selection_cropped"):
        recording = open_recording(folder)
        assert (recording.layout, len(recording)) == ("kitti_depth", 1)
        assert recording.contents.depth and not recording.contents.consecutive
        sample = recording[0]
        assert sample.depth[5, 5] == 20.0
        assert (sample.left.camera.fx, sample.left.camera.cx) == (721.5377, 30.5)


def test_kitti_test_images_have_lidar_or_nothing(tmp_path):
    path = published.kitti_selection(tmp_path) / "depth_selection"
    recording = open_recording(path / "test_depth_completion_anonymous")
    assert (recording[0].depth[5, 5], recording.note) == (40.0, "g is the raw lidar scan")
    recording = open_recording(path / "test_depth_prediction_anonymous")
    assert recording[0].depth is None and not recording.contents.depth


@pytest.mark.parametrize("where", ["", "data_depth_annotated", "../data_depth_annotated"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_kitti_raw_uses_the_improved_ground_truth(tmp_path, where, split):
    raw = make_raw(tmp_path / "kitti")
    assert np.isfinite(open_recording(raw)[1].depth).sum() == 1
    published.kitti_annotated(raw / where, DRIVE_NAME, [1], split)
    for path in (raw, raw / DRIVE):
        recording = open_recording(path)
        assert recording.layout == "kitti_raw" and recording.note.startswith("g is the improved ground truth")
        depth = recording[1].depth
        assert np.isnan(depth[0, 0]) and depth[5, 5] == 12.5
        assert recording[0].depth is None
    assert np.nanmax(open_recording(raw, RecordingOptions(lidar_x=True))[1].depth) == pytest.approx(10.27)


def test_improved_ground_truth_without_raw_kitti_is_explained(tmp_path):
    published.kitti_annotated(tmp_path / "data_depth_annotated", DRIVE_NAME, [5])
    for path in (tmp_path, tmp_path / "data_depth_annotated"):
        with pytest.raises(
            DepthRosError, match="improved ground truth of KITTI, but no images: put the folders"
        ):
            open_recording(path)


def test_sceneflow_sequence(tmp_path):
    path = published.sceneflow(tmp_path, ("TRAIN/A/0000", "TRAIN/B/0010"))
    recording = open_recording(path / "frames_cleanpass/TRAIN/A/0000")
    assert (recording.layout, recording.names) == ("sceneflow", ["TRAIN/A/0000/0006", "TRAIN/A/0000/0007"])
    assert recording.contents.consecutive and recording.contents.poses and recording.contents.exact
    assert "no metric scale" in recording.note and "no metric scale" in recording.camera_source
    sample = recording[1]
    assert (sample.left.image[0, 0, 0], sample.right.image[0, 0, 0]) == (17, 27)
    assert (sample.left.camera.fx, sample.left.camera.cx, sample.right.camera.baseline) == (1050, 479.5, 1.0)
    assert np.isnan(sample.depth[0, 0]) and sample.depth[5, 5] == pytest.approx(105.0)
    # Blender: 1 unit to the right of the first frame; the optical axis is the world's y, down is -z
    assert np.allclose(sample.T_world_camera[:3, 3], [1, 5, 2])
    assert np.allclose(sample.T_world_camera[:3, 2], [0, 1, 0])
    assert np.allclose(sample.T_world_camera[:3, 1], [0, 0, -1])


def test_sceneflow_sequences_are_independent_pairs(tmp_path):
    path = published.sceneflow(tmp_path, ("TRAIN/A/0000", "TRAIN/B/0010"))
    for folder in (path, path / "frames_cleanpass/TRAIN"):
        recording = open_recording(folder)
        assert len(recording) == 4 and recording[3].name == "TRAIN/B/0010/0007"
        assert (
            recording.contents.depth and not recording.contents.consecutive and not recording.contents.poses
        )
        assert recording[3].T_world_camera is None and not recording.contents.metric


@pytest.mark.parametrize(("sequence", "focal"), [
    ("15mm_focallength/scene_forwards/fast", 450), ("35mm_focallength/scene_backwards/slow", 1050),
    ("a_rain_of_stones_x2", 1050),
])  # fmt: skip
def test_sceneflow_driving_and_monkaa(tmp_path, sequence, focal):
    recording = open_recording(published.sceneflow(tmp_path, (sequence,), ".webp", "frames_finalpass_webp"))
    assert recording[0].left.camera.fx == focal
    assert recording[0].depth[5, 5] == pytest.approx(focal / 10)
    assert recording.contents.poses and not recording.contents.exact


def test_tartanair(tmp_path):
    recording = open_recording(published.tartanair(tmp_path))
    assert (recording.layout, recording.names) == ("tartanair", ["000000", "000001"])
    assert recording.contents.exact and recording.contents.consecutive and recording.contents.poses
    first, second = recording
    camera = first.left.camera
    assert (camera.fx, camera.cx, camera.cy, first.right.camera.baseline) == (320, 320, 240, 0.25)
    assert np.isnan(first.depth[0, 0]) and first.depth[5, 5] == 7.25
    # looking north, the optical axis is x, the image's right is east (y), down is z; then looking east
    assert np.allclose(first.T_world_camera[:3, :3], [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert np.allclose(second.T_world_camera[:3, 2], [0, 1, 0], atol=1e-6)
    assert np.allclose(second.T_world_camera[:3, 3], [1, 0, 0])


def test_tartanair_2(tmp_path):
    recording = open_recording(published.tartanair_2(tmp_path))
    sample = recording[1]
    assert (sample.left.camera.cy, sample.left.camera.height, sample.right.camera.baseline) == (
        320,
        640,
        0.25,
    )
    assert np.isnan(sample.depth[0, 0]) and sample.depth[5, 5] == 7.25
    assert np.allclose(sample.T_world_camera[:3, 3], [1, 0, 0])


def test_one_of_several_trajectories_has_to_be_given(tmp_path):
    path = published.tartanair(tmp_path, ("ocean/Easy/P000", "ocean/Hard/P010", "ocean/Hard/P009"))
    message = r"3 trajectories: give one of them: ocean/Easy/P000, ocean/Hard/P009, ocean/Hard/P010$"
    with pytest.raises(DepthRosError, match=message):
        open_recording(path)
    assert open_recording(path / "ocean/Easy").layout == "tartanair"
    (path / "ocean/Easy/P000/pose_left.txt").write_text("0 0 0 0 0 0 1\n")
    with pytest.raises(DepthRosError, match="1 poses for 2 images"):
        open_recording(path / "ocean/Easy")
    (path / "ocean/Hard/P009/depth_left/000000_left_depth.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DamagedFrame, match="is damaged"):
        open_recording(path / "ocean/Hard/P009")[0]


@pytest.mark.parametrize(("separate", "moving"), [(False, "True"), (True, "1")])
def test_virtual_kitti(tmp_path, separate, moving):
    recording = open_recording(published.virtual_kitti(tmp_path, separate, moving=moving))
    assert (recording.layout, recording.names, recording.camera_source) == (
        "virtual_kitti", ["00000", "00001"], "intrinsic.txt",
    )  # fmt: skip
    contents = recording.contents
    assert contents.pairs and contents.depth and contents.poses and contents.moving_objects and contents.exact
    sample = recording[1]
    assert abs(int(sample.left.image[5, 5, 0]) - 50) <= 1 and abs(int(sample.right.image[5, 5, 0]) - 60) <= 1
    assert (sample.left.camera.fx, sample.left.camera.cx) == (725.0087, 620.5)
    assert sample.right.camera.baseline == pytest.approx(0.532725)
    assert np.isnan(sample.depth[0, 0]) and sample.depth[5, 5] == pytest.approx(12.34)
    assert np.allclose(sample.T_world_camera[:3, 3], [0, 0, 2])  # stored is world to camera
    assert set(np.unique(sample.moving_objects)) == {0, 3} and (sample.moving_objects[30:40] == 3).all()


def test_virtual_kitti_without_its_text_files_has_the_published_camera(tmp_path):
    path = published.virtual_kitti(tmp_path, separate=False)
    for file in path.rglob("*.txt"):
        file.unlink()
    recording = open_recording(path / "Scene01/clone")
    assert recording.camera_source == "published" and not recording.contents.poses
    assert recording[0].right.camera.baseline == 0.532725 and recording[0].moving_objects is None


def test_one_of_several_scenes_has_to_be_given(tmp_path):
    path = published.virtual_kitti(tmp_path, True, ("Scene01/clone", "Scene01/fog"))
    with pytest.raises(DepthRosError, match=r"2 sequences: .*_rgb/Scene01/clone, .*_rgb/Scene01/fog"):
        open_recording(path)
    assert open_recording(path / "vkitti_2.0.3_rgb/Scene01/fog").contents.depth


def test_indexed_png(tmp_path):
    indices = np.arange(12).reshape(3, 4) % 5
    palette = np.array([[0, 0, 0], [255, 1, 0], [0, 255, 1], [1, 0, 255], [0, 0, 0], [7, 7, 7]], np.uint8)
    published.write_indexed_png(tmp_path / "a.png", indices, palette)
    assert np.array_equal(read_indices(tmp_path / "a.png"), np.where(indices == 4, 0, indices))
