"""Public layouts as published, in small generated folders with known content."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse
from depth_ros.recordings import RecordingOptions, open_recording
from depth_ros.recordings.imu import imu_of
from depth_ros.recordings.layouts.kitti_raw import lidar_depth

WIDTH, HEIGHT = 40, 24
P2 = "40 0 19.5 2 0 40 11.5 0 0 0 1 0"
P3 = "40 0 19.5 -18 0 40 11.5 0 0 0 1 0"  # 0.5 m to the right of camera 02
VELO_TO_CAM = "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 -0.27\n"
DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"


def write_image(file: Path, value: int = 90, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), np.full((size[1], size[0], 3), value, np.uint8))


def make_raw(root: Path, frames: int = 3) -> Path:
    date, drive = root / "2011_09_26", root / DRIVE
    for index in range(frames):
        for camera in ("02", "03"):
            write_image(drive / f"image_{camera}/data/{index:010d}.png", 10 * index)
    size = "4.0e+01 2.4e+01"
    lines = ["calib_time: 09-Jan-2012 13:57:47", "R_rect_00: 1 0 0 0 1 0 0 0 1", f"S_rect_02: {size}",
             f"P_rect_02: {P2}", f"S_rect_03: {size}", f"P_rect_03: {P3}"]  # fmt: skip
    (date / "calib_cam_to_cam.txt").write_text("\n".join(lines))
    (date / "calib_velo_to_cam.txt").write_text("calib_time: x\n" + VELO_TO_CAM)
    (date / "calib_imu_to_velo.txt").write_text("R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n")
    stamps = [f"2011-09-26 13:02:25.{964389445 + index * 10_000_000}" for index in range(frames)]
    (drive / "image_02/timestamps.txt").write_text("\n".join(stamps))
    scan = drive / "velodyne_points/data/0000000001.bin"
    scan.parent.mkdir(parents=True)
    np.array([[10.27, 0, 0, 0.5]], np.float32).tofile(scan)
    for index in range(frames):  # 1 m per frame to the east, heading east
        row = np.zeros(30)
        row[:3] = 0.0, np.degrees(index / 6378137.0), 5.0
        row[11:14], row[17:20] = (0.1, 0.2, 9.81), (0.01, 0.02, 0.3 * index)  # ax ay az, wx wy wz
        file = drive / f"oxts/data/{index:010d}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(" ".join(map(repr, row.tolist())))
    return root


def test_imu_of_kitti_raw(tmp_path):
    recording = open_recording(make_raw(tmp_path))
    imu = imu_of(recording)
    assert recording.contents.imu and imu.stamps.tolist() == list(recording.stamps)
    assert np.allclose(imu.angular_velocity, [[0.01, 0.02, 0.3 * index] for index in range(3)])
    assert np.allclose(imu.linear_acceleration, [0.1, 0.2, 9.81])
    forward = imu.T_camera_imu[:3, :3] @ [1, 0, 0]
    assert np.allclose(forward, [0, 0, 1], atol=0.05)


def test_kitti_raw(tmp_path):
    make_raw(tmp_path)
    for path in (tmp_path, tmp_path / "2011_09_26", tmp_path / DRIVE):
        folder = open_recording(path)
        assert (folder.layout, len(folder)) == ("kitti_raw", 3)
    sample = folder[1]
    assert sample.name == "2011_09_26_drive_0001_sync/0000000001"
    assert sample.left.stamp == 1317042145_974389445
    assert sample.right.camera.baseline == pytest.approx(0.5)
    assert sample.left.camera.baseline == 0
    assert np.isfinite(sample.depth).sum() == 1
    # x = 0.05 m in camera 2, which is that far to the left of camera 0; Matlab counts from 1
    assert sample.depth[round(11.5) - 1, round(19.5 + 0.2) - 1] == pytest.approx(10.0)
    assert folder[0].depth is None
    T = folder[2].T_world_camera
    assert np.allclose(T[:3, 3], [0, 0, 2], atol=1e-6)
    assert np.allclose(T[:3, :3], np.eye(3), atol=1e-9)


def test_lidar_x_is_the_published_ground_truth(tmp_path):
    folder = open_recording(make_raw(tmp_path), RecordingOptions(lidar_x=True))
    assert np.nanmax(folder[1].depth) == pytest.approx(10.27)
    assert folder.note == "g is the distance along the x axis of the lidar"


def test_lidar_depth_keeps_the_nearest_point_and_none_behind_the_lidar():
    P = np.array([[40, 0, 19.5, 0], [0, 40, 11.5, 0], [0, 0, 1, 0.0]])
    T = np.eye(4)
    T[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    points = np.array([[5.0, 0, 0], [9.0, 0, 0], [7.0, 0, 0], [-3.0, 0, 0], [4.0, 90.0, 0]])
    depth = lidar_depth(points, P, T, (WIDTH, HEIGHT), lidar_x=False)
    assert np.nansum(depth) == 5.0


@pytest.mark.parametrize("line", [
    f"{DRIVE}/image_02/data/0000000002.png",
    f"{DRIVE}/image_02/data/0000000002.jpg {DRIVE}/image_03/data/0000000002.jpg",
    f"{DRIVE} 2 l",
    f"{DRIVE.partition('/')[2]}_02 0000000002",
])  # fmt: skip
def test_split_files_select_images(tmp_path, line):
    make_raw(tmp_path)
    file = tmp_path / "split.txt"
    file.write_text(f"{line}\n{DRIVE} 0000000001 r\n")
    folder = open_recording(tmp_path, RecordingOptions(image_list=file))
    assert [name[-3:] for name in folder.names] == ["002", "001"]
    assert folder[0].left.image[0, 0, 0] == 20
    assert folder[1].left.frame_id == "image_03_optical_frame" and folder[1].right is None
    assert np.isfinite(folder[1].depth).sum() == 1  # projected into camera 03


@pytest.mark.parametrize(("text", "message"), [
    ("kitti/1.png", "is not an image of raw KITTI"),
    (f"{DRIVE} 7 l", r"lists .*image_02 0000000007, which is not in .* \(1 of 1 "),
    ("", "lists no image"),
])  # fmt: skip
def test_invalid_split_files_are_rejected(tmp_path, text, message):
    make_raw(tmp_path)
    (tmp_path / "split.txt").write_text(text)
    with pytest.raises(DepthRosError, match=message):
        open_recording(tmp_path, RecordingOptions(image_list=tmp_path / "split.txt"))


def test_kitti_odometry_as_published(tmp_path):
    path = tmp_path / "sequences/09"
    for index in range(2):
        for camera in (0, 1, 2, 3):
            write_image(path / f"image_{camera}/{index:06d}.png", camera)
    rows = ["40 0 19 0 0 40 11 0 0 0 1 0", "40 0 19 -20 0 40 11 0 0 0 1 0", P2, P3]
    (path / "calib.txt").write_text("\n".join(f"P{i}: {row}" for i, row in enumerate(rows)))
    (path / "times.txt").write_text("0.000000e+00\n1.037359e-01\n")
    (tmp_path / "poses").mkdir()
    rotated = "0 0 1 5 0 1 0 0 -1 0 0 0"  # 90 degrees about y
    (tmp_path / "poses/09.txt").write_text(f"1 0 0 0 0 1 0 0 0 0 1 0\n{rotated}\n")
    folder = open_recording(path)
    first, second = folder
    assert first.left.image[0, 0, 0] == 2 and first.right.image[0, 0, 0] == 3
    assert first.right.camera.baseline == pytest.approx(0.5)
    assert second.left.stamp - first.left.stamp == 103_735_900
    # camera 2 is 0.05 m to the left of camera 0
    assert np.allclose(first.T_world_camera[:3, 3], [-0.05, 0, 0])
    assert np.allclose(second.T_world_camera[:3, 3], [5, 0, 0.05])


def test_cityscapes(tmp_path):
    name = "val/bonn/bonn_000003_000019"
    size = (2048, 1024)
    write_image(tmp_path / f"leftImg8bit/{name}_leftImg8bit.png", 7, size)
    write_image(tmp_path / f"rightImg8bit/{name}_rightImg8bit.png", 8, size)
    units = np.zeros(size[::-1], np.uint16)
    units[500, 600], units[501, 600] = 1 + 256 * 10, 1  # 10 px; and 0 px, which is invalid
    (tmp_path / "disparity/val/bonn").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / f"disparity/{name}_disparity.png"), units)
    camera = {
        "extrinsic": {"baseline": 0.22},
        "intrinsic": {"fx": 2262.5, "fy": 2265.3, "u0": 1096.9, "v0": 513.1},
    }
    (tmp_path / "camera/val/bonn").mkdir(parents=True)
    file = tmp_path / "camera/val/bonn/bonn_000003_000012_camera.json"  # another image of the sequence
    file.write_text(json.dumps(camera))
    for path in (tmp_path, tmp_path / "leftImg8bit/val"):
        folder = open_recording(path)
        assert (folder.layout, folder.names) == ("cityscapes", ["bonn_000003_000019"])
    sample = folder[0]
    assert sample.left.camera.fy == 2265.3
    assert sample.right.camera.baseline == pytest.approx(0.22)
    assert np.isfinite(sample.depth).sum() == 1
    assert sample.depth[500, 600] == pytest.approx(2262.5 * 0.22 / 10)
    file.unlink()
    with pytest.raises(DepthRosError, match="camera files of Cityscapes"):
        _ = folder[0]


def test_split_options_are_rejected_for_other_layouts(tmp_path):
    write_image(tmp_path / "image/0.png")
    camera = f"width: {WIDTH}\nheight: {HEIGHT}\nfx: 40\nfy: 40\ncx: 19\ncy: 11\n"
    (tmp_path / "camera.yaml").write_text(camera)
    with pytest.raises(DepthRosError, match="raw KITTI and Make3D only"):
        open_recording(tmp_path, RecordingOptions(lidar_x=True))


def test_kitti_raw_poses_are_rigid(tmp_path):
    poses = [sample.T_world_camera for sample in open_recording(make_raw(tmp_path))]
    assert all(np.allclose(T @ inverse(T), np.eye(4)) for T in poses)
