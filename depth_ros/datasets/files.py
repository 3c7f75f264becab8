"""What the layouts share: images, depth images, trajectories and stamps, read from single files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import pose_from

NS = 1_000_000_000
FIRST_STAMP = NS
"""Stamp of the first frame where none is recorded: not 0, which means "no time" in ROS."""

MAX_GAP = NS // 10
"""A pose is interpolated only between neighbours that are at most this far apart, ns."""

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_ENDINGS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}  # first bytes of JPEG, PNG: what must end the file


def images_in(folder: Path) -> dict[str, Path]:
    """The images of a folder by file stem, sorted by name; empty if the folder does not exist."""
    if not folder.is_dir():
        return {}
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _IMAGE_SUFFIXES)
    return {file.stem: file for file in files}


def _decode(file: Path, flags: int) -> np.ndarray:
    """The pixels of an image file. A cut file is refused: OpenCV would fill the rest with grey."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DepthRosError(f"{file} cannot be read: {error.strerror}") from error
    whole = _ENDINGS.get(data[:2], b"") in data[-1024:]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data and whole else None
    if image is None:
        raise DepthRosError(f"{file} is damaged ({len(data)} bytes do not decode): restore or delete it")
    return image


def _check_size(file: Path, image: np.ndarray, camera: Camera) -> None:
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise DepthRosError(
            f"{file} is {width}x{height}, but its camera is {camera.width}x{camera.height}: "
            "the calibration belongs to another image size"
        )


def read_image(file: Path, camera: Camera) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a colour or grey image of the camera's size."""
    image = cv2.cvtColor(_decode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    _check_size(file, image, camera)
    return image


def read_units(file: Path, camera: Camera) -> np.ndarray:
    """(H, W) uint8 or uint16 as stored: depth, disparity or labels of the camera's size."""
    image = _decode(file, cv2.IMREAD_UNCHANGED)
    if image.ndim != 2:
        raise DepthRosError(f"{file} has {image.shape[2]} channels; a depth or label image has one")
    _check_size(file, image, camera)
    return image


def read_depth(file: Path, camera: Camera, units_per_metre: float) -> np.ndarray:
    """(H, W) float32 m; stored 0 becomes NaN."""
    units = read_units(file, camera)
    return np.where(units > 0, units / np.float32(units_per_metre), np.float32(np.nan)).astype(np.float32)


def read_yaml(file: Path) -> dict[str, Any]:
    """A mapping; the `%YAML:1.0` line that OpenCV writes, and no YAML parser takes, is skipped."""
    try:
        text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("%"))
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DepthRosError(f"{file} must hold a mapping of keys to values")
    return content


def read_rows(file: Path, columns: tuple[int, ...]) -> np.ndarray:
    """The numbers of a text table (N, C) with C one of `columns`."""
    try:
        rows = np.loadtxt(file, ndmin=2)
    except (OSError, ValueError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}") from error
    if rows.shape[1] not in columns:
        allowed = " or ".join(map(str, columns))
        raise DepthRosError(f"{file} has {rows.shape[1]} numbers a row; it must have {allowed}")
    return rows


def read_poses(file: Path, count: int) -> np.ndarray:
    """(count, 4, 4) camera-to-world matrices, stored row-major as 12 or 16 numbers, one row a frame."""
    rows = read_rows(file, (12, 16))
    if len(rows) != count:
        raise DepthRosError(f"{file} has {len(rows)} poses for {count} images; it must have one row a frame")
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3] = rows[:, :12].reshape(count, 3, 4)
    return poses


def stamp_from_seconds(text: str) -> int:
    """ns of decimal seconds, digit by digit: a double would round 1305031229.528748 s to 0.2 us."""
    whole, _, fraction = text.partition(".")
    return int(whole) * NS + int(fraction[:9].ljust(9, "0"))


def stamp_of(stem: str) -> int | None:
    """ns of a file stem that is a time (`1403715273262142976` ns, `1305031229.528748` s), else None."""
    if re.fullmatch(r"\d{16,19}", stem):
        return int(stem)
    return stamp_from_seconds(stem) if re.fullmatch(r"\d+\.\d+", stem) else None


def stamps_for(stems: list[str], rate: float) -> list[int]:
    """ns of every frame: from the names if all are times, else made up from the rate (Hz)."""
    named = [stamp for stem in stems if (stamp := stamp_of(stem)) is not None]
    return (
        named
        if len(named) == len(stems)
        else [FIRST_STAMP + round(index * NS / rate) for index in range(len(stems))]
    )


class Trajectory:
    """Poses over time from a file of the TUM format: `seconds tx ty tz qx qy qz qw`, one a row."""

    def __init__(self, file: Path) -> None:
        rows = read_rows(file, (8,))
        lines = (line.split() for line in file.read_text().splitlines())
        self.stamps = np.array([stamp_from_seconds(line[0]) for line in lines if line and line[0] != "#"])
        self.poses = [pose_from(row[1:4], row[4:]) for row in rows]

    def at(self, stamp: int) -> np.ndarray | None:
        """(4, 4) at `stamp` ns, linear in position and angle; None where the neighbours are too far."""
        after = int(np.searchsorted(self.stamps, stamp))
        if after in (0, len(self.stamps)):
            nearest = min(after, len(self.stamps) - 1)
            close = abs(int(self.stamps[nearest]) - stamp) < NS // 200  # stamps that were rounded
            return self.poses[nearest] if close else None
        start, end = int(self.stamps[after - 1]), int(self.stamps[after])
        if end - start > MAX_GAP:
            return None
        share = (stamp - start) / (end - start)
        A, B = self.poses[after - 1], self.poses[after]
        T = A.copy()
        T[:3, 3] += share * (B[:3, 3] - A[:3, 3])
        T[:3, :3] = A[:3, :3] @ cv2.Rodrigues(share * cv2.Rodrigues(A[:3, :3].T @ B[:3, :3])[0])[0]
        return T
