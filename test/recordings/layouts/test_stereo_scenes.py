"""Middlebury of all years and ETH3D two-view in the published folders, made up at small sizes."""

from __future__ import annotations

import numpy as np
import published_stereo as published
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.stereo import ground_truth_disparity
from depth_ros.recordings import DamagedFrame, open_recording
from depth_ros.recordings.pfm import read_pfm
from depth_ros.recordings.sample import with_common_principal_point


@pytest.mark.parametrize("scale", [-1.0, 1.0, -0.003922, 255.0])
def test_pfm_has_its_last_row_first_and_only_the_sign_of_its_scale_counts(tmp_path, scale):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    values[0, 1] = np.inf
    read = read_pfm(published.write_pfm(tmp_path / "a.pfm", values, scale))
    assert read.dtype == np.float32 and np.array_equal(read, values)


def test_pfm_that_is_cut_or_of_three_channels_is_named(tmp_path):
    file = published.write_pfm(tmp_path / "a.pfm", np.ones((3, 4)))
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(DamagedFrame, match=r"a.pfm is damaged \(47 of 48 bytes"):
        read_pfm(file)
    file.write_bytes(content.replace(b"Pf", b"PF"))
    with pytest.raises(DepthRosError, match="no portable float map of one channel"):
        read_pfm(file)


def test_middlebury_2014_has_metric_depth_and_its_own_principal_points(tmp_path):
    recording = open_recording(published.middlebury_2014(tmp_path))
    assert (recording.layout, recording.camera_source) == ("middlebury", "calib.txt")
    assert recording.names == ["Adirondack-perfect", "Pipes-perfect"]
    assert recording.contents.depth and recording.contents.pairs and not recording.contents.consecutive
    sample = recording[0]
    assert sample.right.camera.baseline == pytest.approx(0.16)
    assert np.isnan(sample.depth[0, 0]) and np.isnan(sample.depth).sum() == 1
    assert sample.depth[5, 5] == pytest.approx(500 * 0.16 / (16 + 4))
    assert sample.depth[-1, 5] == pytest.approx(500 * 0.16 / (18 + 4))
    assert ground_truth_disparity(sample)[5, 5] == pytest.approx(16)


def test_pairs_for_training_have_a_common_principal_point(tmp_path):
    sample = open_recording(published.middlebury_2014(tmp_path))[0]
    sample.right.image[:, 40:] = 200
    common = with_common_principal_point(sample)
    assert common.right.camera.cx == common.left.camera.cx == 30
    assert common.fx_baseline / common.depth[5, 5] == pytest.approx(20)
    assert (common.right.image[5, 35, 0], common.right.image[5, 36, 0]) == (20, 200)
    assert with_common_principal_point(common) is common


def test_midd_eval3(tmp_path):
    recording = open_recording(published.midd_eval3(tmp_path / "trainingQ"))
    assert (recording.layout, recording.names) == ("middlebury", ["Adirondack", "ArtL"])
    assert recording[0].depth[5, 5] == pytest.approx(500 * 0.16 / 20)
    assert recording[1].left.camera.is_rectified and recording[1].right.camera.is_rectified
    published.midd_eval3(tmp_path / "trainingH")
    with pytest.raises(DepthRosError, match=r"2 sets of scenes: give one of them: trainingH, trainingQ"):
        open_recording(tmp_path)


@pytest.mark.parametrize(("width", "focal"), [(417, 3740 / 3), (626, 3740 / 2), (1252, 3740)])
def test_middlebury_2005_in_all_sizes(tmp_path, width, focal):
    recording = open_recording(published.middlebury_2005(tmp_path, width))
    sample = recording[0]
    assert recording.camera_source == "nominal focal length and baseline"
    assert sample.left.camera.fx == pytest.approx(focal)
    assert ground_truth_disparity(sample)[5, 5] == pytest.approx(12)
    assert sample.depth[5, 5] == pytest.approx(3740 * 0.16 / (12 * 3740 / focal + 200))


@pytest.mark.parametrize("suffixes", [(".png", ".png"), (".ppm", ".pgm")])
@pytest.mark.parametrize("width", [450, 900, 1800])
def test_middlebury_2003_in_all_sizes(tmp_path, width, suffixes):
    recording = open_recording(published.middlebury_2003(tmp_path, width, suffixes))
    assert recording.names == ["cones", "teddy"]
    assert ground_truth_disparity(recording[1])[5, 5] == pytest.approx(12)
    assert recording[1].right.image[0, 0, 0] == 20


def test_middlebury_2003_of_another_size_has_no_known_scale(tmp_path):
    path = published.middlebury_2003(tmp_path, 600)
    with pytest.raises(
        DepthRosError, match=r"600 px wide, which is no size of Middlebury 2003 \(450, 900, 1800\)"
    ):
        open_recording(path)[0]


def test_eth3d(tmp_path):
    path = published.eth3d(tmp_path)
    for folder in (path, path / "two_view_training", path / "two_view_training/playground_1l"):
        recording = open_recording(folder)
        assert (recording.layout, recording.names[-1]) == ("eth3d", "playground_1l")
        assert recording.contents.depth
        sample = recording[-1]
        assert np.isnan(sample.depth[0, 0])
        assert sample.depth[5, 5] == pytest.approx(500 * 0.16 / 20)
        assert (sample.left.image[0, 0, 0], sample.right.image[0, 0, 0]) == (10, 20)
    published.write_calibrated_scene(path / "two_view_testing/lakeside_1l")
    (path / "two_view_testing/lakeside_1l/cameras.txt").write_text("")
    with pytest.raises(DepthRosError, match="give one of them: two_view_testing, two_view_training"):
        open_recording(path)
    assert not open_recording(path / "two_view_testing").contents.depth


def test_calibration_without_a_baseline_is_rejected(tmp_path):
    path = published.midd_eval3(tmp_path) / "ArtL/calib.txt"
    path.write_text(path.read_text().replace("baseline", "base"))
    with pytest.raises(DepthRosError, match=r"calib.txt: 'baseline' is missing"):
        open_recording(tmp_path)[1]


def test_recorded_middlebury_pairs_match_at_their_disparity(data_root):
    """Pixels of the right image at the disparity of the left ones are similar, less so at 0.9 or 1.1 times it."""
    if not (data_root / "middlebury").is_dir():
        pytest.skip(f"{data_root} has no middlebury")
    recording = open_recording(data_root / "middlebury")
    assert recording.names == ["cloth3", "cone", "reindeer", "wood2"]
    for sample in recording:
        disparity = ground_truth_disparity(sample)
        rows, columns = np.nonzero(disparity >= 0)
        left, errors = sample.left.image[rows, columns].astype(float), {}
        for factor in (0.9, 1.0, 1.1):
            matches = np.rint(columns - factor * disparity[rows, columns]).clip(0).astype(int)
            errors[factor] = np.abs(sample.right.image[rows, matches] - left).mean()
        assert errors[1.0] < 0.8 * min(errors[0.9], errors[1.1])
