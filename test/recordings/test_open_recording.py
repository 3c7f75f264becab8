"""Generated folders with known content: depth, cameras, stamps, poses, and errors of invalid folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse, pose_from, quaternion_from_matrix
from depth_ros.recordings import open_recording
from depth_ros.recordings.files import stamp_from_name, stamp_from_seconds

WIDTH, HEIGHT = 32, 20
CAMERA = "width: 32\nheight: 20\nfx: 40.0\nfy: 41\ncx: 15.5\ncy: 9.25\n"


def write_image(file: Path, image: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Write an RGB or single-channel image, a random one by default, and return it."""
    if image is None:
        image = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    assert cv2.imwrite(str(file), stored)
    return image


def make_stereo(path: Path, extra: str = "baseline: 0.5\nrate_hz: 8\n") -> list[np.ndarray]:
    """Write three pairs; only the second has disparity and moving objects; all have poses."""
    images = [write_image(path / f"left/{i:03d}.png", seed=i) for i in range(3)]
    for i in range(3):
        write_image(path / f"right/{i:03d}.png", seed=10 + i)
    units = np.zeros((HEIGHT, WIDTH), np.uint16)
    units[4, 7], units[5, 8] = 4 * 256, 640  # 4 px and 2.5 px
    write_image(path / "disparity/001.png", units)
    write_image(path / "moving_objects/001.png", np.eye(HEIGHT, WIDTH, dtype=np.uint8) * 3)
    (path / "camera.yaml").write_text(CAMERA + extra)
    rows = [np.hstack([np.eye(3), [[0.0], [0.0], [float(i)]]]).ravel() for i in range(3)]
    np.savetxt(path / "poses.txt", rows)
    return images


def test_stereo_in_the_general_layout(tmp_path):
    images = make_stereo(tmp_path)
    folder = open_recording(tmp_path)
    assert (folder.layout, folder.rate, len(folder)) == ("folder", 8.0, 3)
    for index, sample in enumerate(folder):
        assert sample.name == f"{index:03d}"
        assert np.array_equal(sample.left.image, images[index])
        assert sample.left.stamp == sample.right.stamp == 1_000_000_000 + index * 125_000_000
        assert sample.left.camera.is_rectified
        assert sample.right.camera.is_rectified
        assert sample.left.camera.baseline == 0
        assert sample.right.camera.baseline == pytest.approx(0.5)
        assert (sample.left.frame_id, sample.right.frame_id) == ("left_optical_frame", "right_optical_frame")
        assert sample.T_world_camera[2, 3] == index
        assert (sample.depth is None) == (sample.moving_objects is None) == (index != 1)
    depth = folder[1].depth
    assert depth.dtype == np.float32
    assert np.isfinite(depth).sum() == 2
    assert depth[4, 7] == pytest.approx(40 * 0.5 / 4)
    assert depth[5, 8] == pytest.approx(40 * 0.5 / 2.5)
    assert folder[1].moving_objects.dtype == np.int32
    assert folder[1].moving_objects[6, 6] == 3


@pytest.mark.parametrize(
    ("name", "scale", "metres"),
    [("depth", "", 2.56), ("depth", "depth_scale: 5000", 0.512), ("lidar_depth", "", 10.0)],
)
def test_depth_units(tmp_path, name, scale, metres):
    write_image(tmp_path / "image/0.jpg")
    write_image(tmp_path / name / "0.png", np.full((HEIGHT, WIDTH), 2560, np.uint16))
    (tmp_path / "camera.yaml").write_text(CAMERA + scale)
    sample = open_recording(tmp_path)[0]
    assert np.allclose(sample.depth, metres)
    assert sample.right is None
    assert sample.left.frame_id == "camera_optical_frame"


def test_stamps_are_parsed_exactly():
    assert stamp_from_seconds("1305031229.528748") == 1305031229528748000
    assert stamp_from_seconds("1403715273.123456789") == 1403715273123456789
    assert stamp_from_seconds("1403715273.1") == 1403715273100000000
    assert stamp_from_name("1403715273262142976") == 1403715273262142976
    assert stamp_from_name("0000000010") is None
    assert stamp_from_name("left_3") is None


def test_kitti_odometry(tmp_path):
    for side in ("left", "right"):
        write_image(tmp_path / side / "000000.jpg", np.full((HEIGHT, WIDTH), 90, np.uint8))
    rows = ["40 0 15 0 0 41 9 0 0 0 1 0", "P1: 40 0 15 -20 0 41 9 0 0 0 1 0"]
    (tmp_path / "calib.txt").write_text("\n".join(rows))
    folder = open_recording(str(tmp_path))
    assert folder.layout == "kitti_odometry"
    assert folder[0].right.camera.baseline == pytest.approx(0.5)
    assert folder[0].left.camera.fy == 41
    assert folder[0].left.image.shape == (HEIGHT, WIDTH, 3)


def test_tum_poses_are_interpolated(tmp_path):
    """Poses halfway between two, at a rounded end and in a gap. Depth is found by association, not by name."""
    stamps = ["100.000000", "100.050000", "100.300000", "100.500001"]
    lines = []
    for stamp in stamps:
        write_image(tmp_path / f"rgb/{stamp}.png")
        write_image(tmp_path / f"depth/d{stamp}.png", np.full((HEIGHT, WIDTH), 10000, np.uint16))
        lines.append(f"{stamp} rgb/{stamp}.png 1.0 depth/d{stamp}.png")
    (tmp_path / "associations.txt").write_text("# colour depth\n" + "\n".join(lines))
    (tmp_path / "camera.yaml").write_text(CAMERA)
    quarter = "0 0 0.70710678 0.70710678"  # 90 degrees about z
    rows = ["# t p q", "100.0 0 0 0 0 0 0 1", f"100.1 2 0 0 {quarter}", f"100.5 9 0 0 {quarter}"]
    (tmp_path / "groundtruth.txt").write_text("\n".join(rows))
    folder = open_recording(tmp_path)
    assert folder.layout == "tum"
    assert [s.left.stamp for s in folder][-1] == 100_500_001_000
    assert np.allclose(folder[0].depth, 2.0)
    poses = [sample.T_world_camera for sample in folder]
    assert np.allclose(poses[0], np.eye(4))
    half = np.sqrt(0.5)
    assert np.allclose(poses[1][:2], [[half, -half, 0, 1], [half, half, 0, 0]], atol=1e-6)
    assert poses[2] is None
    assert poses[3][0, 3] == 9


EUROC = """%YAML:1.0
rate_hz: 20
resolution: [{w}, {h}]
distortion_model: {model}
intrinsics: [40.0, 41.0, 15.0, 9.0]
distortion_coefficients: [-0.28, 0.07, 0.0002, -0.0001]
T_BS:
  cols: 4
  rows: 4
  data: {T}
"""


def test_euroc_rectification_of_a_rotated_pair(tmp_path):
    """World points seen by both raw cameras are, after rectification, in the same row at the correct disparity."""
    rotation = cv2.Rodrigues(np.array([0.02, -0.03, 0.05]))[0]
    T_body = [np.eye(4), np.eye(4)]
    T_body[0][:3, :3] = cv2.Rodrigues(np.array([-1.2, 1.2, -1.2]))[0]
    T_body[0][:3, 3] = 0.1, 0.2, 0.3
    T_body[1][:3, :3] = T_body[0][:3, :3] @ rotation
    T_body[1][:3, 3] = T_body[0][:3, 3] + T_body[0][:3, :3] @ [0.2, 0.01, -0.01]
    T_world_body = pose_from(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3, 0.9]))
    for i, T in enumerate(T_body):
        text = EUROC.format(w=WIDTH, h=HEIGHT, T=T.ravel().tolist(), model="radial-tangential")
        (tmp_path / f"cam{i}.yaml").write_text(text)
        write_image(tmp_path / f"cam{i}/1403715273262142976.png")
    q = " ".join(map(repr, map(float, quaternion_from_matrix(T_world_body[:3, :3]))))
    (tmp_path / "groundtruth.txt").write_text(f"1403715273.26214 1 2 3 {q}\n")

    sample = open_recording(tmp_path)[0]
    assert sample.left.stamp == 1403715273262142976
    in_left = np.array([[0.3, -0.2, 3.0], [-0.5, 0.1, 4.0], [0.0, 0.4, 5.0]])
    body = in_left @ T_body[0][:3, :3].T + T_body[0][:3, 3]
    world = body @ T_world_body[:3, :3].T + T_world_body[:3, 3]
    pixels = []
    for T, frame in zip(T_body, (sample.left, sample.right), strict=True):
        camera, T_camera = frame.camera, inverse(T)
        rvec, D = cv2.Rodrigues(T_camera[:3, :3])[0], np.array(camera.distortion)
        raw = cv2.projectPoints(body, rvec, T_camera[:3, 3], camera.K, D)[0]
        pixels.append(cv2.undistortPoints(raw, camera.K, D, R=camera.R, P=camera.P)[:, 0])
    left, right = pixels
    assert np.allclose(left[:, 1], right[:, 1], atol=1e-3)
    # the pose is that of the rectified left camera: world points have the depth that disparity implies
    T = inverse(sample.T_world_camera)
    rectified = world @ T[:3, :3].T + T[:3, 3]
    fx, baseline = sample.left.camera.P[0, 0], sample.right.camera.baseline
    assert baseline == pytest.approx(np.linalg.norm([0.2, 0.01, -0.01]), rel=1e-6)
    assert np.allclose(left[:, 0] - right[:, 0], fx * baseline / rectified[:, 2], atol=1e-3)


def test_folders_without_a_known_layout_are_rejected(tmp_path):
    with pytest.raises(DepthRosError, match="no recording"):
        open_recording(tmp_path / "nowhere")
    (tmp_path / "stuff").mkdir()
    with pytest.raises(
        DepthRosError, match=r"found stuff/; known layouts: cityscapes .*euroc .*kitti_odometry .*folder"
    ):
        open_recording(tmp_path)


@pytest.mark.parametrize(("text", "message"), [
    ("width: 32", "lacks 'height'"),
    (CAMERA + "focal: 3", "unknown key 'focal'"),
    (CAMERA.replace("40.0", "-3"), "'fx' is -3.0 px; it must be at least 1.0 px"),
    (CAMERA, "lacks 'baseline'"),
    ("[1, 2]", "must contain a mapping"),
    ("a: [", "cannot be read"),
])  # fmt: skip
def test_invalid_camera_file_is_rejected(tmp_path, text, message):
    make_stereo(tmp_path)
    (tmp_path / "camera.yaml").write_text(text)
    with pytest.raises(DepthRosError, match=message) as error:
        open_recording(tmp_path)
    assert "camera.yaml" in str(error.value)


def test_incomplete_folders_are_rejected(tmp_path):
    make_stereo(tmp_path)
    (tmp_path / "right/002.png").unlink()
    with pytest.raises(DepthRosError, match=r"right lacks 002 \(1 of 3 missing\)"):
        open_recording(tmp_path)
    (tmp_path / "left/002.png").unlink()
    with pytest.raises(DepthRosError, match=r"poses.txt has 3 poses for 2 images"):
        open_recording(tmp_path)
    np.savetxt(tmp_path / "poses.txt", np.zeros((2, 7)))
    with pytest.raises(DepthRosError, match=r"poses.txt has 7 numbers per row"):
        open_recording(tmp_path)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9, 0.998])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_image_is_named_in_the_error(tmp_path, suffix, fraction):
    (tmp_path / "camera.yaml").write_text(CAMERA)
    file = tmp_path / f"image/7.{suffix}"
    write_image(file)
    assert open_recording(tmp_path)[0].name == "7"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(DepthRosError, match=rf"7.{suffix} is damaged"):
        open_recording(tmp_path)[0]


def test_image_of_another_size_is_rejected(tmp_path):
    (tmp_path / "camera.yaml").write_text(CAMERA)
    write_image(tmp_path / "image/7.png", np.zeros((10, 12, 3), np.uint8))
    with pytest.raises(DepthRosError, match=r"7\.png is 12x10, but its calibration is for 32x20"):
        open_recording(tmp_path)[0]


def test_files_that_macos_adds_to_archives_are_no_data(tmp_path):
    """._NAME beside each NAME, and a second tree of them."""
    images = make_stereo(tmp_path / "data")
    for file in [*tmp_path.rglob("*.png"), *tmp_path.rglob("*.yaml")]:
        for extra in (file.parent, tmp_path / "__MACOSX" / file.parent.relative_to(tmp_path)):
            extra.mkdir(parents=True, exist_ok=True)
            (extra / f"._{file.name}").write_bytes(b"\0\5\26\7")
    recording = open_recording(tmp_path / "data")
    assert len(recording) == 3
    assert (recording[2].left.image == images[2]).all()


def test_an_implausible_camera_is_warned_about(tmp_path, caplog):
    """A focal length in mm, as of a data sheet; that of make_stereo is plausible."""
    make_stereo(tmp_path)
    open_recording(tmp_path)
    assert not caplog.text
    camera = (tmp_path / "camera.yaml").read_text()
    (tmp_path / "camera.yaml").write_text(camera.replace("fx: 40.0", "fx: 1.2").replace("fy: 41", "fy: 1.2"))
    open_recording(tmp_path)
    assert "camera.yaml: the focal length 1.2 px of K is a field of view of 171.4 deg" in caplog.text
