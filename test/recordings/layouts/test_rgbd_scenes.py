"""7-Scenes, RGB-D frames of Open3D and exported ScanNet frames, made up."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings import DamagedFrame, RecordingOptions, open_recording

POSE = "0 0 1 5\n1 0 0 6\n0 1 0 7\n0 0 0 1\n"


def write(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), image)


def make_seven_scenes(root: Path, sequences: tuple[int, ...] = (1,)) -> Path:
    for number in sequences:
        for index in range(2):
            stem = f"seq-{number:02d}/frame-{index:06d}"
            write(root / f"{stem}.color.png", np.full((480, 640, 3), index, np.uint8))
            depth = np.full((480, 640), 1500, np.uint16)
            depth[10, 20], depth[30, 40] = 65535, 0
            write(root / f"{stem}.depth.png", depth)
            (root / f"{stem}.pose.txt").write_text(POSE)
    return root


def test_seven_scenes(tmp_path, caplog):
    make_seven_scenes(tmp_path / "chess")
    for path in (tmp_path / "chess/seq-01", tmp_path / "chess", tmp_path):
        recording = open_recording(path)
        assert (recording.layout, recording.names) == ("seven_scenes", ["frame-000000", "frame-000001"])
    assert "not registered" in caplog.text
    sample = recording[1]
    assert sample.left.image[0, 0, 0] == 1
    assert sample.depth[0, 0] == 1.5
    assert np.isnan(sample.depth[10, 20]) and np.isnan(sample.depth[30, 40])
    assert np.isfinite(sample.depth).sum() == 480 * 640 - 2
    assert np.array_equal(sample.T_world_camera[:3, 3], [5, 6, 7])
    assert (sample.left.camera.fx, sample.left.camera.cx, sample.left.camera.cy) == (585, 320, 240)
    assert recording.contents.depth and recording.contents.poses and recording.contents.consecutive


def test_sequences_of_seven_scenes_are_listed_with_their_split(tmp_path):
    make_seven_scenes(tmp_path, (1, 2, 12))
    (tmp_path / "TrainSplit.txt").write_text("sequence2\n")
    (tmp_path / "TestSplit.txt").write_text("sequence1\nsequence12\n")
    with pytest.raises(DepthRosError, match=r"seq-01 \(test\), seq-02 \(training\), seq-12 \(test\)$"):
        open_recording(tmp_path)


def test_damaged_frames_of_seven_scenes(tmp_path):
    recording = open_recording(make_seven_scenes(tmp_path) / "seq-01")
    (tmp_path / "seq-01/frame-000000.pose.txt").write_text("1 0 0\n")
    with pytest.raises(DamagedFrame, match="four rows"):
        _ = recording[0]
    depth = tmp_path / "seq-01/frame-000001.depth.png"
    depth.write_bytes(depth.read_bytes()[:100])
    with pytest.raises(DamagedFrame, match=r"depth\.png"):
        _ = recording[1]


def make_open3d(root: Path, size: tuple[int, int] = (640, 480)) -> Path:
    for number in (9, 10):
        write(root / f"image/{number}.jpg", np.full((*size[::-1], 3), number, np.uint8))
        depth = np.full(size[::-1], 1500 + number, np.uint16)
        depth[10, 20], depth[30, 40] = 65535, 0
        write(root / f"depth/0000{number}.png", depth)
    return root


def test_frames_of_open3d_with_its_default_camera_or_its_intrinsics(tmp_path, caplog):
    recording = open_recording(make_open3d(tmp_path))
    assert (recording.layout, recording.names) == ("open3d", ["9", "10"])
    assert "fx = fy = 525 px" in caplog.text and "default of Open3D" in recording.camera_source
    depth = recording[1].depth
    assert depth[0, 0] == np.float32(1.51) and np.isnan(depth[10, 20]) and np.isnan(depth[30, 40])
    (tmp_path / "camera_intrinsic.json").write_text(
        '{"width": 640, "height": 480, "intrinsic_matrix": [600, 0, 0, 0, 601, 0, 310, 230, 1]}'
    )
    camera = open_recording(tmp_path)[0].left.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (600, 601, 310, 230)


def test_frames_of_open3d_of_another_size_need_a_calibration(tmp_path):
    make_open3d(tmp_path, (320, 240))
    with pytest.raises(DepthRosError, match=r"320x240.*--camera"):
        open_recording(tmp_path)
    assert open_recording(tmp_path, RecordingOptions(fov=90.0))[0].left.camera.fx == pytest.approx(160)
    (tmp_path / "depth/000010.png").unlink()
    with pytest.raises(DepthRosError, match="2 colour and 1 depth"):
        open_recording(tmp_path)


COLOUR_SIZE, DEPTH_SIZE = (162, 122), (80, 60)


def make_scannet(scene: Path, frames: str = "") -> Path:
    """Colour twice the size of depth: pixel (u, v) of depth is (2 u + 1, 2 v + 3) of colour."""
    root = scene / frames
    for index in (0, 10, 20):
        write(root / f"color/{index}.jpg", np.full((*COLOUR_SIZE[::-1], 3), index, np.uint8))
        depth = np.full(DEPTH_SIZE[::-1], 2000, np.uint16)
        depth[20, 30], depth[25, 35] = 3000, 0
        write(root / f"depth/{index}.png", depth)
        (root / "pose").mkdir(exist_ok=True)
        lost = "\n".join(["-inf -inf -inf -inf"] * 4)
        (root / f"pose/{index}.txt").write_text(lost if index == 10 else POSE)
    (root / "intrinsic").mkdir()
    colour = "160 0 81 0\n0 160 61 0\n0 0 1 0\n0 0 0 1\n"
    (root / "intrinsic/intrinsic_color.txt").write_text(colour)
    (root / "intrinsic/intrinsic_depth.txt").write_text("80 0 40 0\n0 80 29 0\n0 0 1 0\n0 0 0 1\n")
    return scene


@pytest.mark.parametrize("frames", ["", "frames"])
def test_scannet_depth_is_resampled_to_the_colour_image(tmp_path, frames):
    recording = open_recording(make_scannet(tmp_path / "scene0000_00", frames))
    assert (recording.layout, recording.names) == ("scannet", ["0", "10", "20"])
    sample = recording[2]
    assert sample.left.image.shape == (122, 162, 3) and sample.left.camera.fx == 160
    assert sample.depth.shape == (122, 162)
    assert sample.depth[43, 61] == 3.0 and sample.depth[43, 59] == 2.0
    assert np.isnan(sample.depth[53, 71]) and np.isnan(sample.depth[0, 0])  # 0; outside the depth image
    assert np.array_equal(sample.T_world_camera[:3, :3], [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert np.array_equal(sample.T_world_camera[:3, 3], [5, 6, 7])
    assert recording[1].T_world_camera is None
    assert recording.stamps[2] - recording.stamps[0] == 666_666_667  # 20 frames at 30 Hz
    assert recording.contents.poses and recording.contents.depth and not recording.contents.planes


def test_scannet_with_the_intrinsics_of_another_size_is_refused(tmp_path):
    scene = make_scannet(tmp_path / "scene")
    (scene / "intrinsic/intrinsic_color.txt").write_text("1160 0 648 0\n0 1160 484 0\n0 0 1 0\n0 0 0 1\n")
    with pytest.raises(DepthRosError, match=r"principal point 648, 484.* 162x122"):
        open_recording(scene)


def test_planes_of_planenet_are_those_of_the_camera(tmp_path):
    scene = make_scannet(tmp_path / "scene")
    world = np.zeros((4, 3))
    # POSE: the camera is at (5, 6, 7) and looks along world x. Plane 1 is x = 8, 3 m before it; plane 3 is z = 6.5:
    # 0.5 m below in world z, which is camera -y (down) ... see the expected equations
    world[1], world[3] = (8, 0, 0), (0, 0, 6.5)
    np.save(scene / "annotation_planes.npy", world)
    (scene / "annotation").mkdir()
    (scene / "annotation_planes.npy").rename(scene / "annotation/planes.npy")
    value = np.zeros(DEPTH_SIZE[::-1], np.int64)
    value[:20], value[20:40], value[40:50], value[50:] = (
        200,
        400,
        100,
        0xFFFFFF,
    )  # planes 1, 3, 0 (zero), none
    bgr = np.stack([value & 255, value >> 8 & 255, value >> 16], -1).astype(np.uint8)
    for index in (0, 10, 20):
        write(scene / f"annotation/segmentation/{index}.png", bgr)
    recording = open_recording(scene)
    assert recording.contents.planes and recording[1].planes is None  # no pose
    planes = recording[0].planes
    # T_world_camera maps camera z to world x, camera y to world z
    assert np.allclose(planes.equations, [[0, 0, -1, 3], [0, 1, 0, 0.5]])
    assert planes.labels.shape == (122, 162)
    assert [planes.labels[2 * row + 3, 61] for row in (5, 30, 45, 55)] == [0, 1, -1, -1]


def test_several_scenes_are_listed(tmp_path):
    for name in ("scene0000_00", "scene0000_01"):
        make_scannet(tmp_path / name)
    with pytest.raises(DepthRosError, match="give one of them: scene0000_00, scene0000_01"):
        open_recording(tmp_path)


def make_sens(file: Path, frames: int = 3, stamps: tuple[int, ...] = (0, 33_000, 70_000)) -> Path:
    """The cameras of `make_scannet`; frame 1 has no pose."""
    identity = np.eye(4)
    colour, depth = np.diag([160.0, 160, 1, 1]), np.diag([80.0, 80, 1, 1])
    colour[:2, 2], depth[:2, 2] = (81, 61), (40, 29)
    matrices = b"".join(m.astype("<f4").tobytes() for m in (colour, identity, depth, identity))
    data = struct.pack("<IQ", 4, 9) + b"StructSen" + matrices
    data += struct.pack("<2i4IfQ", 2, 1, *COLOUR_SIZE, *DEPTH_SIZE, 1000.0, frames)
    values = np.full(DEPTH_SIZE[::-1], 2000, "<u2")
    values[20, 30], values[25, 35] = 3000, 0
    packed = zlib.compress(values.tobytes())
    for index in range(frames):
        pose = np.full(16, -np.inf) if index == 1 else np.array(POSE.split(), float)
        jpeg = cv2.imencode(".jpg", np.full((*COLOUR_SIZE[::-1], 3), 10 * index, np.uint8))[1].tobytes()
        data += pose.astype("<f4").tobytes() + struct.pack("<4Q", stamps[index], 0, len(jpeg), len(packed))
        data += jpeg + packed
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("inside", [True, False], ids=["file", "folder"])
def test_sens_files_of_scannet(tmp_path, inside):
    file = make_sens(tmp_path / "scene0000_00.sens")
    recording = open_recording(file if inside else tmp_path)
    assert (recording.layout, recording.names, list(recording.damage)) == (
        "scannet_sens",
        ["0", "1", "2"],
        [],
    )
    assert np.array_equal(np.diff(recording.stamps), [33_000_000, 37_000_000])
    sample = recording[2]
    assert sample.left.image[0, 0, 0] == 20 and sample.left.camera.cx == 81
    assert sample.depth[43, 61] == 3.0 and sample.depth[43, 59] == 2.0 and np.isnan(sample.depth[53, 71])
    assert np.array_equal(sample.T_world_camera, np.array(POSE.split(), float).reshape(4, 4))
    assert recording[1].T_world_camera is None


def test_damaged_sens_files(tmp_path):
    file = make_sens(tmp_path / "a.sens", stamps=(0, 0, 0))
    data = file.read_bytes()
    file.write_bytes(data[:-10])
    recording = open_recording(file)
    assert len(recording) == 2 and "ends after 2 of 3 frames" in recording.damage[0]
    assert recording.stamps[1] - recording.stamps[0] == 33_333_333  # no stamps: 30 Hz
    start = data.index(b"\x78\x9c")  # the first compressed depth
    file.write_bytes(data[:start] + b"no zlib" + data[start + 7 :])
    with pytest.raises(DamagedFrame, match="frame 0"):
        _ = open_recording(file)[0]
    file.write_bytes(b"\x03" + data[1:])
    with pytest.raises(DepthRosError, match="version 3; known is 4"):
        open_recording(file)
    file.write_bytes(data[:100])
    with pytest.raises(DepthRosError, match=r"no \.sens file of ScanNet"):
        open_recording(file)
