"""Inputs of two-view networks in the HDF5 files of MannequinChallenge, against formulas of its code."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.recordings import open_recording
from depth_ros.recordings.two_view_inputs import TwoViewInputs

PEOPLE = np.zeros((6, 8), bool)
PEOPLE[:, 6:] = True


def write(file, image: str, depth: str, **changes: np.ndarray):
    """A frame whose second camera is 0.5 m to the right; everything in it is 2 m away, except for the `changes`."""
    h5py = pytest.importorskip("h5py")
    T_2, people = np.eye(4), PEOPLE if image != "img" else ~PEOPLE
    T_2[0, 3] = -0.5
    gt = {
        image: np.zeros((6, 8, 3), np.float32), depth: np.full((6, 8), 2.0), "pp_depth": np.full((6, 8), 2.0),
        "intrinsic": np.array([[8.0, 0, 4], [0, 8, 3], [0, 0, 1]]), "T_1_G": np.eye(4), "T_2_G": T_2,
        "flow": np.stack([np.full((6, 8), -2.0), np.zeros((6, 8))], 2), "lr_error": np.zeros((6, 8)),
        "angle_prior": np.full((6, 8), 9.0), "human_mask": people, "keypoints_img": np.zeros((6, 8), np.int32),
        **changes,
    }  # fmt: skip
    with h5py.File(file, "w") as content:
        for key, value in gt.items():
            content[f"gt/{key}"] = value
    return open_recording(file)


def changed(value: float, change: dict[tuple[int, int], float]) -> np.ndarray:
    array = np.full((6, 8), value)
    for place, new in change.items():
        array[place] = new
    return array


def test_confidence_is_the_product_of_three_terms(tmp_path):
    """1 - 0.5^2 for half a pixel of flow error, 1 - (1/2)^2 for 1 px from the epipolar line, which is a row, and
    1 - (0.5 - 1)^2 for half a degree."""
    flow = np.zeros((6, 8, 2))
    flow[..., 0] = -2
    flow[0, 2, 1] = flow[0, 3, 1] = 1.0
    inputs = write(
        tmp_path / "a.h5", "im1", "mvs_depth", flow=flow,
        lr_error=changed(0.0, {(0, 0): 0.5, (0, 3): 0.5, (0, 4): 1.2}),
        angle_prior=changed(9.0, {(0, 1): 0.5, (0, 3): 0.5, (0, 5): 0.13}),
        pp_depth=changed(2.0, {(1, 0): 4.0, (2, 0): 0.0}),
        keypoints_img=changed(0, {(3, 3): 17}),
    )[0].left.extra_inputs  # fmt: skip
    np.testing.assert_allclose(inputs["confidence"][0], [0.75, 0.75, 0.75, 0.75**3, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(inputs["confidence"][1], [1, 1, 1, 1, 1, 1, 0, 0])  # people have none
    expected = np.where(PEOPLE, 0, np.zeros((6, 8)))
    expected[1, 0] = np.log(2)  # the median of the others is ln 2
    np.testing.assert_allclose(inputs["parallax"], expected, atol=1e-6)
    assert np.array_equal(inputs["people"], PEOPLE) and inputs["flow_x"][5, 5] == pytest.approx(-0.02)
    assert inputs["keypoints"][3, 3] == pytest.approx(17 / 18) and inputs["keypoints"].sum() < 1


@pytest.mark.parametrize(
    ("image", "depth"), [("img", "mvs_depth"), ("im1", "mvs_depth"), ("img_1", "gt_depth")]
)
def test_masks_are_of_people_whatever_the_kind_of_file(tmp_path, image, depth):
    recording = write(tmp_path / "a.h5", image, depth)
    sample = TwoViewInputs(recording)[0]  # nothing is computed anew: the files are independent
    assert recording.contents.moving_objects and np.array_equal(sample.moving_objects > 0, PEOPLE)
    assert np.array_equal(sample.left.extra_inputs["people"], PEOPLE)
    assert sample.left.extra_inputs["confidence"][0, 0] == 1


def test_depth_for_training_is_cleaned_and_completed(tmp_path):
    """|3.1 - 2| / 5.1 = 0.216 is too much and |2.9 - 2| / 4.9 = 0.184 is not; a flow error of 2 px proves nothing."""
    changes = {
        "mvs_depth": changed(2.0, {(0, 0): 3.1, (0, 1): 2.9, (0, 2): 3.1, (4, 4): 0.0, (4, 5): 0.0, (4, 7): 0.0}),
        "lr_error": changed(0.0, {(0, 2): 2.0}),
        "keypoints_img": changed(0, {(4, 4): 3, (4, 7): 5}),
        "pp_depth": changed(2.0, {(4, 4): 7.0}),
    }  # fmt: skip
    depth = write(tmp_path / "a.h5", "img", "mvs_depth", **changes)[0].depth
    assert np.isnan(depth[0, 0]) and depth[0, 1] == np.float32(2.9) and depth[0, 2] == np.float32(3.1)
    assert depth[4, 4] == 7 and np.isnan(depth[4, 5]) and depth[4, 7] == 2  # also on people, who stand still
    assert np.isnan(depth).sum() == 2
    test = write(tmp_path / "b.h5", "im1", "mvs_depth", **changes)[0].depth
    assert test[0, 0] == np.float32(3.1) and np.isnan(test[4, 4]) and np.isnan(test).sum() == 3


def test_a_file_without_the_second_view_has_only_people_and_key_points(tmp_path):
    h5py = pytest.importorskip("h5py")
    write(tmp_path / "a.h5", "img", "mvs_depth")
    with h5py.File(tmp_path / "a.h5", "a") as content:
        del content["gt/flow"]
    assert set(open_recording(tmp_path)[0].left.extra_inputs) == {"people", "keypoints"}
