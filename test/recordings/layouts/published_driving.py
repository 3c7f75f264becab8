"""Made-up folders of KITTI depth, SceneFlow, TartanAir and Virtual KITTI 2, true to their official descriptions."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from published_stereo import disparity, write_image, write_pfm


def kitti_selection(root: Path) -> Path:
    """data_depth_selection.zip."""
    size, selection = (64, 48), root / "depth_selection"
    drive, frame = "2011_09_26_drive_0002_sync", "0000000005_image_02"
    folder = selection / "val_selection_cropped"
    write_image(folder / f"image/{drive}_image_{frame}.png", 10, size)
    write_image(
        folder / f"groundtruth_depth/{drive}_groundtruth_depth_{frame}.png", 256 * 20, size, np.uint16
    )
    write_image(folder / f"velodyne_raw/{drive}_velodyne_raw_{frame}.png", 256 * 30, size, np.uint16)
    names = {folder: f"{drive}_image_{frame}"}
    for name, lidar in (
        ("test_depth_completion_anonymous", True),
        ("test_depth_prediction_anonymous", False),
    ):
        write_image(selection / name / "image/0000000000.png", 11, size)
        if lidar:
            write_image(selection / name / "velodyne_raw/0000000000.png", 256 * 40, size, np.uint16)
        names[selection / name] = "0000000000"
    for folder, stem in names.items():
        (folder / "intrinsics").mkdir()
        numbers = "7.215377e+02 0.0 3.05e+01 0.0 7.215377e+02 2.35e+01 0.0 0.0 1.0\n"
        (folder / f"intrinsics/{stem}.txt").write_text(numbers)
    return root


def kitti_annotated(root: Path, drive: str, frames: list[int], split: str = "train") -> Path:
    """data_depth_annotated.zip: 12.5 m, 0 at the first pixel; the size is that of `make_raw`."""
    for camera in ("02", "03"):
        for frame in frames:
            file = root / split / drive / f"proj_depth/groundtruth/image_{camera}/{frame:010d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            units = np.full((24, 40), 3200, np.uint16)
            units[0, 0] = 0
            assert cv2.imwrite(str(file), units)
    return root


def sceneflow(
    root: Path, sequences: tuple[str, ...], suffix: str = ".png", name: str = "frames_cleanpass"
) -> Path:
    """Two frames a sequence; the camera moves by 1 unit to the right of an upright Blender camera."""
    for sequence in sequences:
        for index in (6, 7):
            for side, value in (("left", 10), ("right", 20)):
                write_image(root / name / sequence / side / f"{index:04d}{suffix}", value + index)
            write_pfm(root / "disparity" / sequence / f"left/{index:04d}.pfm", disparity(10))
            write_pfm(root / "disparity" / sequence / f"right/{index:04d}.pfm", disparity(11))
        # x right, y up and z backward in a world with z up: the camera looks along y
        left = "1 0 0 {x} 0 0 -1 5 0 1 0 2 0 0 0 1"
        blocks = [f"Frame {i}\nL {left.format(x=i - 6)}\nR {left.format(x=i - 5)}\n" for i in (6, 7)]
        file = root / "camera_data" / sequence / "camera_data.txt"
        file.parent.mkdir(parents=True)
        file.write_text("\n".join(blocks))
    return root


def tartanair(root: Path, trajectories: tuple[str, ...] = ("abandonedfactory/Easy/P000",)) -> Path:
    """Version 1: the camera moves 1 m forward, then turns to the right by 90 degrees."""
    for trajectory in trajectories:
        folder = root / trajectory
        for index in range(2):
            write_image(folder / f"image_left/{index:06d}_left.png", 10 + index, (640, 480))
            write_image(folder / f"image_right/{index:06d}_right.png", 20 + index, (640, 480))
            (folder / "depth_left").mkdir(exist_ok=True)
            np.save(folder / f"depth_left/{index:06d}_left_depth.npy", _tartanair_depth((480, 640)))
        (folder / "pose_left.txt").write_text("0 0 0 0 0 0 1\n1 0 0 0 0 0.70710678 0.70710678\n")
    return root


def _tartanair_depth(shape: tuple[int, int]) -> np.ndarray:
    values = np.full(shape, 7.25, np.float32)
    values[0, 0] = 10000  # sky
    return values


def tartanair_2(root: Path) -> Path:
    folder = root / "AbandonedCable/Data_easy/P001"
    for index in range(2):
        write_image(folder / f"image_lcam_front/{index:06d}_lcam_front.png", 10, (640, 640))
        write_image(folder / f"image_rcam_front/{index:06d}_rcam_front.png", 20, (640, 640))
        values = _tartanair_depth((640, 640)).view(np.uint8).reshape(640, 640, 4)
        file = folder / f"depth_lcam_front/{index:06d}_lcam_front_depth.png"
        file.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(file), values)
    (folder / "pose_lcam_front.txt").write_text("0 0 0 0 0 0 1\n1 0 0 0 0 0 1\n")
    return root


def write_indexed_png(file: Path, indices: np.ndarray, palette: np.ndarray) -> None:
    """An 8-bit PNG with a palette (N, 3), which OpenCV cannot write."""
    height, width = indices.shape
    rows = np.hstack([np.zeros((height, 1), np.uint8), indices.astype(np.uint8)]).tobytes()
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)), (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows)), (b"IEND", b""),
    )  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


def virtual_kitti(
    root: Path, separate: bool, scenes: tuple[str, ...] = ("Scene01/clone",), moving: str = "True"
) -> Path:
    """All archives in one root, or each in its own; the camera moves forward by 2 m a frame."""
    roots = {
        part: root / f"vkitti_2.0.3_{part}" if separate else root
        for part in ("rgb", "depth", "instanceSegmentation", "textgt")
    }
    palette = np.array([[0, 0, 0], [200, 0, 10], [0, 200, 30], [90, 0, 0]], np.uint8)
    for scene in scenes:
        for frame in range(2):
            for camera in range(2):
                end = f"Camera_{camera}/{{}}_{frame:05d}"
                write_image(roots["rgb"] / scene / f"frames/rgb/{end.format('rgb')}.jpg", 10 * camera + 50)
                file = roots["depth"] / scene / f"frames/depth/{end.format('depth')}.png"
                write_image(file, 1234, kind=np.uint16)
            units = np.full((48, 64), 1234, np.uint16)
            units[0, 0] = 65535
            assert cv2.imwrite(
                str(roots["depth"] / scene / f"frames/depth/Camera_0/depth_{frame:05d}.png"), units
            )
            labels = np.zeros((48, 64), np.uint8)
            labels[10:20], labels[30:40] = 1, 3  # trackIDs 0 and 2
            name = f"frames/instanceSegmentation/Camera_0/instancegt_{frame:05d}.png"
            write_indexed_png(roots["instanceSegmentation"] / scene / name, labels, palette)
        text = roots["textgt"] / scene
        text.mkdir(parents=True, exist_ok=True)
        pairs = [(frame, camera) for frame in range(2) for camera in range(2)]
        rows = [f"{frame} {camera} 725.0087 725.0087 620.5 187" for frame, camera in pairs]
        (text / "intrinsic.txt").write_text("\n".join(["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]", *rows]))
        rows = [
            f"{frame} {camera} 1 0 0 {-0.532725 * camera} 0 1 0 0 0 0 1 {-2.0 * frame} 0 0 0 1"
            for frame, camera in pairs
        ]
        header = "frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1"
        (text / "extrinsic.txt").write_text("\n".join([header, *rows]))
        columns = "left right top bottom number_pixels truncation_ratio occupancy_ratio isMoving"
        header = f"frame cameraID trackID {columns}"
        tracks = ("0 0 63 10 19 640 0.0 1.0 False", f"2 0 63 30 39 640 0.0 1.0 {moving}")
        rows = [f"{frame} 0 {track}" for frame in range(2) for track in tracks]
        (text / "bbox.txt").write_text("\n".join([header, *rows]))
    return root
