"""Make3D, DIODE and the files of MannequinChallenge, made up."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from depth_ros.errors import DepthRosError
from depth_ros.recordings import DamagedFrame, RecordingOptions, open_recording


def write(file: Path, value: int, size: tuple[int, int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), np.full((size[1], size[0], 3), value, np.uint8))


def make_make3d(root: Path) -> Path:
    grid = np.zeros((55, 305, 4))
    grid[..., 3] = 20.0
    grid[0, 0, 3], grid[27, 152, 3], grid[54, 304, 3] = 30.0, 40.0, 81.0
    for images, depths, name in (
        ("Train400Img", "Train400Depth", "math1-p-31t0"),
        ("Test134", "Gridlaserdata", "op9-p-1t0"),
    ):
        write(root / f"{images}/img-{name}.jpg", 9, (852, 1136))  # half the published size
        (root / depths).mkdir()
        savemat(root / f"{depths}/depth_sph_corr-{name}.mat", {"Position3DGrid": grid})
    return root


def test_make3d_depth_is_along_the_optical_axis(tmp_path):
    recording = open_recording(make_make3d(tmp_path))
    assert (recording.layout, recording.names) == ("make3d", ["math1-p-31t0", "op9-p-1t0"])
    assert open_recording(tmp_path / "Test134").names == ["op9-p-1t0"]
    sample = recording[0]
    assert sample.left.image.shape == (*sample.depth.shape, 3) == (1136, 852, 3)
    assert sample.left.camera.fx == pytest.approx(2407.3313 / 2) and sample.left.camera.cx == 425.5
    assert sample.depth[567, 425] == pytest.approx(40, abs=1e-4)
    ray = np.hypot(1, np.hypot(425.5 / sample.left.camera.fx, 567.5 / sample.left.camera.fy))
    assert sample.depth[0, 0] == pytest.approx(30 / ray, rel=1e-5) and ray == pytest.approx(1.16, abs=0.005)
    assert np.isnan(sample.depth[-1, -1])  # beyond the range of the scanner
    cell = sample.depth[: 1136 // 55, : 852 // 305]
    assert cell.min() > 25  # every pixel of the cell


def test_make3d_depth_of_published_results(tmp_path):
    recording = open_recording(make_make3d(tmp_path), RecordingOptions(lidar_x=True))
    assert (recording[0].depth[0, 0], recording[0].depth[-1, -1]) == (30, 81)
    assert "along the ray" in recording.note


def test_a_damaged_grid_is_one_damaged_frame(tmp_path):
    recording = open_recording(make_make3d(tmp_path))
    (tmp_path / "Train400Depth/depth_sph_corr-math1-p-31t0.mat").write_bytes(b"no MATLAB file" * 20)
    with pytest.raises(DamagedFrame, match="Position3DGrid"):
        _ = recording[0]
    assert recording[1].depth is not None


def make_diode(root: Path) -> Path:
    for kind, scene in (("indoors", "scene_00019/scan_00183"), ("outdoor", "scene_00022/scan_00193")):
        stem = root / kind / scene / f"00019_00183_{kind}_000_010"
        write(stem.with_suffix(".png"), 7, (1024, 768))
        depth = np.full((768, 1024, 1), 5.5, np.float32)
        mask = np.ones((768, 1024), np.float32)
        mask[3, 4], depth[5, 6] = 0, 0
        np.save(f"{stem}_depth.npy", depth)
        np.save(f"{stem}_depth_mask.npy", mask)
    return root


def test_diode(tmp_path):
    root = make_diode(tmp_path / "val")
    recording = open_recording(root)
    assert recording.names == [
        "indoors/scene_00019/scan_00183/00019_00183_indoors_000_010",
        "outdoor/scene_00022/scan_00193/00019_00183_outdoor_000_010",
    ]
    for path, count in ((tmp_path, 2), (root / "indoors", 1), (root / "outdoor/scene_00022", 1)):
        assert (open_recording(path).layout, len(open_recording(path))) == ("diode", count)
    sample = open_recording(root / "indoors/scene_00019/scan_00183")[0]
    assert sample.depth.shape == (768, 1024) and sample.depth.dtype == np.float32
    assert sample.depth[0, 0] == 5.5 and np.isnan(sample.depth[3, 4]) and np.isnan(sample.depth[5, 6])
    assert (sample.left.camera.fx, sample.left.camera.fy) == (886.81, 927.06)
    assert recording.contents.depth and not recording.contents.consecutive


def test_damaged_depth_of_diode(tmp_path):
    recording = open_recording(make_diode(tmp_path))
    file = next(tmp_path.glob("indoors/*/*/*_depth.npy"))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DamagedFrame, match="damaged"):
        _ = recording[0]
    assert recording[1].depth is not None


ROW = "0.9 1.6 0.5 0.5 0.0 0.0 0 -1 0 1 1 0 0 2 0 0 1 3"


def make_clip(root: Path, name: str = "0a1b2c") -> Path:
    for stamp in (900_000, 1_000_000):
        write(root / f"{name}/{stamp}.jpg", stamp // 100_000, (160, 90))
    lines = [
        "https://www.youtube.com/watch?v=x",
        *(f"{stamp} {ROW}" for stamp in (900_000, 966_667, 1_000_000)),
    ]
    (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_mannequin_challenge(tmp_path):
    make_clip(tmp_path)
    for path in (tmp_path / "0a1b2c", tmp_path):
        recording = open_recording(path)
        assert (recording.layout, recording.names) == ("mannequin_challenge", ["900000", "1000000"])
    assert recording.stamps[1] - recording.stamps[0] == 100_000_000
    sample = recording[1]
    assert sample.left.image[0, 0, 0] == 10
    camera = sample.left.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((144, 144, 79.5, 44.5))
    # published: R = rotation by 90 degrees about z, t = (1, 2, 3), from the world to the camera
    assert np.allclose(sample.T_world_camera[:3, 3], [-2, 1, -3])
    assert np.allclose(sample.T_world_camera[:3, :3], [[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    assert recording.contents.poses and not recording.contents.metric


def test_frames_of_mannequin_challenge_must_be_named_by_their_timestamp(tmp_path):
    make_clip(tmp_path)
    for number, file in enumerate(sorted((tmp_path / "0a1b2c").iterdir())):
        file.rename(file.with_name(f"frame_{number}.jpg"))
    with pytest.raises(DepthRosError, match=r"timestamp of 0a1b2c.txt, such as 900000\.jpg"):
        open_recording(tmp_path / "0a1b2c")
    make_clip(tmp_path, "3d4e")
    (tmp_path / "3d4e.txt").write_text(f"https://x\n900000 {ROW}\n1000000 {ROW} 4\n")
    with pytest.raises(DepthRosError, match=r"3d4e.txt, line 3: 20 numbers"):
        open_recording(tmp_path / "3d4e")
    with pytest.raises(DepthRosError, match="give one of them: 0a1b2c, 3d4e"):
        open_recording(tmp_path)


def make_hdf5(file: Path, image: str, depth: str, kind: type) -> Path:
    h5py = pytest.importorskip("h5py")
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[1, 2] = 255, 51, 0
    values = np.zeros((6, 8))
    values[3, 4] = 2.5
    T = np.eye(4)
    T[:3, 3] = 1, 2, 3
    with h5py.File(file, "w") as content:
        content[f"gt/{image}"] = pixels if kind is np.uint8 else (pixels / 255).astype(kind)
        content[f"gt/{depth}"], content["gt/T_1_G"] = values, T
        content["gt/intrinsic"] = np.array([[7.0, 0, 4], [0, 7, 3], [0, 0, 1]])
    return file


@pytest.mark.parametrize(("image", "depth", "kind", "metric"), [
    ("img", "mvs_depth", np.uint8, False), ("im1", "mvs_depth", np.float32, False),
    ("img_1", "gt_depth", np.float32, True),
])  # fmt: skip
def test_hdf5_of_the_released_code(tmp_path, image, depth, kind, metric):
    file = make_hdf5(tmp_path / "KDWm2mJrR7s_25100000.jpg.h5", image, depth, kind)
    for path in (file, tmp_path):
        recording = open_recording(path)
        assert (recording.layout, recording.names) == ("mannequin_hdf5", ["KDWm2mJrR7s_25100000.jpg"])
    sample = recording[0]
    assert tuple(sample.left.image[1, 2]) == (255, 51, 0) and sample.left.image.dtype == np.uint8
    assert sample.depth[3, 4] == 2.5 and np.isfinite(sample.depth).sum() == 1
    assert np.array_equal(sample.T_world_camera[:3, 3], [-1, -2, -3])
    assert sample.left.camera.fx == 7 and recording.contents.metric is metric and recording.contents.depth


def test_a_file_without_an_image_is_one_damaged_frame(tmp_path):
    make_hdf5(tmp_path / "b.h5", "img", "mvs_depth", np.uint8)
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    make_hdf5(tmp_path / "c.h5", "other", "mvs_depth", np.uint8)
    recording = open_recording(tmp_path)
    assert recording[1].depth is not None and recording.contents.depth
    with pytest.raises(DamagedFrame, match="no readable HDF5 file"):
        _ = recording[0]
    with pytest.raises(DamagedFrame, match=r"c\.h5 has no readable image"):
        _ = recording[2]
