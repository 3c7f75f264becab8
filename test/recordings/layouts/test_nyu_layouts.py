"""NYU Depth v2 in its published forms, made up at small counts."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from depth_ros.errors import DepthRosError
from depth_ros.recordings import DamagedFrame, RecordingOptions, open_recording
from depth_ros.recordings.layouts.nyu_raw import COLOUR, DEPTH
from depth_ros.recordings.split import held_out, training

SECONDS = "1294886360.208451"


def make_labelled(folder: Path, count: int = 3) -> Path:
    """MATLAB stores arrays column by column: HDF5 shows their axes in the opposite order."""
    h5py = pytest.importorskip("h5py")
    images = np.zeros((count, 3, 640, 480), np.uint8)
    depths = np.zeros((count, 640, 480), np.float32)
    images[1, :, 600, 30] = 10, 20, 30
    depths[1, 600, 30] = 2.5
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"], file["depths"] = images, depths
    return folder / "nyu_depth_v2_labeled.mat"


@pytest.mark.parametrize("inside", [True, False], ids=["file", "folder"])
def test_labelled_images_are_upright_with_depth_in_metres(tmp_path, inside):
    file = make_labelled(tmp_path)
    recording = open_recording(file if inside else tmp_path)
    sample = recording[1]
    assert (recording.layout, len(recording), sample.name) == ("nyu", 3, "0002")
    assert sample.left.image.shape == (480, 640, 3)
    assert tuple(sample.left.image[30, 600]) == (10, 20, 30)
    assert sample.depth[30, 600] == 2.5 and np.isfinite(sample.depth).sum() == 1
    assert sample.left.camera.fx == pytest.approx(518.8579) and sample.left.camera.cy == pytest.approx(
        253.7362
    )
    assert recording.contents.depth and not recording.contents.consecutive


def test_test_images_of_splits_mat_are_held_out(tmp_path):
    file = make_labelled(tmp_path)
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[2]], "testNdxs": [[1], [3]]})
    recording = open_recording(file)
    assert held_out(recording) == [0, 2] and training(recording) == [1]
    assert held_out(open_recording(file, RecordingOptions(fov=60.0))) == [0, 2]
    savemat(tmp_path / "splits.mat", {"testNdxs": [[1], [4]]})
    with pytest.raises(DepthRosError, match="within 1 to 3"):
        open_recording(file)


def test_other_files_are_named_with_what_they_hold(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    file = tmp_path / "other.mat"
    with h5py.File(file, "w") as content:
        content["images"] = np.zeros((2, 3, 8, 8), np.uint8)
    with pytest.raises(DepthRosError, match=r"has \{'images': \(2, 3, 8, 8\)\}"):
        open_recording(file)
    file.write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(DepthRosError, match="no readable HDF5 file"):
        open_recording(file)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DepthRosError, match="pip install h5py"):
        open_recording(file)


def make_raw(folder: Path, raw: np.ndarray, depth_delay: float = 0.010) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    image = np.full((480, 640, 3), (1, 2, 3), np.uint8)
    cv2.imwrite(str(folder / f"r-{SECONDS}-2996770081.ppm"), image)
    cv2.imwrite(str(folder / f"r-{float(SECONDS) + 1:.6f}-2996770081.ppm"), image)
    stamp = f"{float(SECONDS) + depth_delay:.6f}"
    cv2.imwrite(str(folder / f"d-{stamp}-3143255701.pgm"), raw.astype(np.uint16).byteswap())
    (folder / "INDEX.txt").write_text("...")
    return folder


def test_raw_depth_is_decoded_and_projected_into_the_colour_image(tmp_path):
    raw = np.full((480, 640), 2047)
    raw[238, 313] = 1000  # beside the principal point of the depth camera, where distortion is negligible
    recording = open_recording(make_raw(tmp_path / "basements/basement_0001a", raw))
    assert (recording.layout, len(recording)) == ("nyu_raw", 2)
    sample = recording[0]
    assert sample.left.stamp == 1294886360_208451000
    assert tuple(sample.left.image[240, 320]) == (3, 2, 1)
    (v,), (u,) = np.nonzero(np.isfinite(sample.depth))
    z = 351.3 / (1092.5 - 1000)
    assert sample.depth[v, u] == pytest.approx(z, abs=0.005)
    # the colour camera is 25 mm to the right of the depth camera, and 4.3 mrad of yaw; pitch 3.7 mrad
    assert u == round(COLOUR.cx + COLOUR.fx * (-0.02503 / z - 0.0043197 + (313 - DEPTH.cx) / DEPTH.fx))
    assert v == round(COLOUR.cy + COLOUR.fy * (0.000293 / z + 0.0036662 + (238 - DEPTH.cy) / DEPTH.fy))
    assert recording[1].depth is None


def test_raw_values_without_measurement_are_invalid(tmp_path):
    raw = np.full((480, 640), 2047)
    raw[100], raw[200], raw[300], raw[400] = 0, 599, 1092, 1060  # 1092: 702 m; 1060: 10.8 m
    depth = open_recording(make_raw(tmp_path, raw))[0].depth
    assert not np.isfinite(depth).any()


def test_nearer_points_cover_farther_ones(tmp_path):
    """Seen from the colour camera, to the right, a near surface on the right covers more of what is behind it."""
    raw = np.full((480, 640), 1050)
    raw[:, 320:] = 600
    row = open_recording(make_raw(tmp_path, raw))[0].depth[240]
    near, far = 351.3 / 492.5, 351.3 / 42.5
    is_near, is_far = np.abs(row - near) < 0.02, np.abs(row - far) < 0.2
    assert np.array_equal(is_near | is_far, np.isfinite(row))
    edge = int(np.argmax(is_near))
    assert 295 < edge < 315 and is_far[edge - 20 : edge].sum() > 15
    assert not is_far[edge:].any()


def test_several_raw_scenes_are_listed(tmp_path):
    for scene in ("basement_0001a", "basement_0001b"):
        make_raw(tmp_path / "basements" / scene, np.full((480, 640), 2047))
    with pytest.raises(
        DepthRosError, match="2 scenes: give one of them: basements/basement_0001a, basements/b"
    ):
        open_recording(tmp_path)


def test_a_truncated_image_is_one_damaged_frame(tmp_path):
    recording = open_recording(make_raw(tmp_path, np.full((480, 640), 700)))
    file = next(tmp_path.glob("r-1294886360*.ppm"))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DamagedFrame):
        _ = recording[0]
    assert recording[1].left.image.any()
