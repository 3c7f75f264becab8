"""Readers of single files for all layouts: images, depth images, tables, trajectories and stamps."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import pose_from
from depth_ros.recordings.sample import DamagedFrame

NS = 1_000_000_000
"""Nanoseconds per second."""

FIRST_STAMP = NS
"""Stamp of the first frame where none is recorded, ns. Not 0, which means "no time" in ROS."""

MAX_POSE_GAP = NS // 10
"""Maximum time between two poses that are interpolated, ns."""

STAMP_ROUNDING = NS // 200
"""Tolerance at the ends of a trajectory, ns; stamps there may have been rounded."""

MAX_SECONDS = 10**14
"""s; a time of a trajectory that is larger is in ns."""

PAIR_WORDS = (("left", "right"), ("Left", "Right"), ("infra1", "infra2"), ("cam0", "cam1"),
              ("image_0", "image_1"), ("image_2", "image_3"), ("image_02", "image_03"))  # fmt: skip
"""Words in the names of topics, folders and files of the left and the right camera of a pair."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_END_MARKERS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}
"""First bytes of JPEG and PNG files -> the marker at their end."""


def images_in(folder: Path) -> dict[str, Path]:
    """The images of a folder by file stem, sorted by name; empty if the folder does not exist."""
    if not folder.is_dir():
        return {}
    images = (
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(file.name)
    )
    files = sorted(images, key=lambda file: natural_order(file.stem))
    return {file.stem: file for file in files}


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the data: macOS puts ._NAME beside NAME, and __MACOSX into archives."""
    return name.startswith(".") or name == "__MACOSX"


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts frame_2 before frame_10."""
    return [(int(part or -1), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _decode(file: Path, flags: int) -> np.ndarray:
    """The pixels of an image file. Truncated files are rejected: OpenCV would fill the rest with grey."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DamagedFrame(f"{file} cannot be read: {error.strerror}") from error
    complete = _END_MARKERS.get(data[:2], b"") in data[-1024:]  # other formats have no marker
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data and complete else None
    if image is None:
        raise DamagedFrame(
            f"{file} is damaged (its {len(data)} bytes cannot be decoded): restore or delete it"
        )
    return image


def _check_size(file: Path, image: np.ndarray, camera: Camera) -> None:
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise DepthRosError(
            f"{file} is {width}x{height}, but its calibration is for {camera.width}x{camera.height}: "
            "use the calibration for this image size"
        )


def read_image(file: Path, camera: Camera) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a colour or grey image. Its size must be that of the camera."""
    image = read_pixels(file)
    _check_size(file, image, camera)
    return image


def read_pixels(file: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a colour or grey image of any size. 16-bit grey is reduced to 8 bits."""
    return cv2.cvtColor(_decode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_raw(file: Path) -> np.ndarray:
    """(H, W) or (H, W, C) as stored, channels in OpenCV's order."""
    return _decode(file, cv2.IMREAD_UNCHANGED)


def read_single_channel(file: Path, camera: Camera) -> np.ndarray:
    """(H, W) uint8 or uint16 as stored: depth, disparity or labels. Its size must be that of the camera."""
    image = read_values(file)
    _check_size(file, image, camera)
    return image


def read_values(file: Path) -> np.ndarray:
    """(H, W) uint8 or uint16 as stored, of any size."""
    image = read_raw(file)
    if image.ndim != 2:
        raise DepthRosError(f"{file} has {image.shape[2]} channels; a depth or label image must have one")
    return image


def read_depth(file: Path, camera: Camera, units_per_metre: float) -> np.ndarray:
    """(H, W) float32 m; 0 in the file is invalid and becomes NaN."""
    values = read_single_channel(file, camera)
    return np.where(values > 0, values / np.float32(units_per_metre), np.float32(np.nan)).astype(np.float32)


class _Loader(yaml.SafeLoader):
    """Knows the tag of OpenCV's matrices."""


_Loader.yaml_constructors = {
    **yaml.SafeLoader.yaml_constructors,
    "tag:yaml.org,2002:opencv-matrix": yaml.SafeLoader.construct_yaml_map,
}


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file. The `%YAML:1.0` line that OpenCV writes is skipped: YAML parsers reject it. Its
    matrices are mappings with `rows`, `cols` and `data`."""
    try:
        text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("%"))
        content = yaml.load(text, _Loader)  # a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DepthRosError(f"{file} must contain a mapping of keys to values")
    return content


def read_rows(file: Path, columns: tuple[int, ...]) -> np.ndarray:
    """(N, C) numbers of a text table; C must be one of `columns`."""
    try:
        rows = np.loadtxt(file, ndmin=2)
    except (OSError, ValueError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}") from error
    if rows.shape[1] not in columns:
        allowed = " or ".join(map(str, columns))
        raise DepthRosError(f"{file} has {rows.shape[1]} numbers per row; it must have {allowed}")
    return rows


def table_lines(file: Path) -> list[tuple[int, list[str]]]:
    """Line number (from 1) and words of each line of a table that is no comment (#) and not empty; commas separate."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}") from error
    words = ((number, line.replace(",", " ").split()) for number, line in enumerate(lines, 1))
    return [(number, row) for number, row in words if row and not row[0].startswith("#")]


def stamped_rows(file: Path, columns: int, stamp_of: Callable[[str], int]) -> list[tuple[int, np.ndarray]]:
    """Stamp and the other numbers of each row. Raises DepthRosError, with the line, unless the stamps increase."""
    rows: list[tuple[int, np.ndarray]] = []
    for number, words in table_lines(file):
        try:
            if len(words) < columns:
                raise ValueError(f"{len(words)} numbers instead of {columns}")
            stamp, values = stamp_of(words[0]), np.array(words[1:], float)
        except ValueError as error:
            raise DepthRosError(f"{file}, line {number}: {error}") from error
        if rows and stamp <= rows[-1][0]:
            raise DepthRosError(
                f"{file}, line {number}: the stamp {words[0]} is not after the previous one: is the trajectory in the "
                "file twice, or not sorted? Sort it and remove doubled stamps"
            )
        rows.append((stamp, values))
    if not rows:
        raise DepthRosError(f"{file} has no poses")
    return rows


def read_pose(file: Path) -> np.ndarray | None:
    """(4, 4) pose of a file of its own, four rows of four numbers; None where it is not finite (tracking was lost)."""
    try:
        T = np.loadtxt(file)
    except (OSError, ValueError) as error:
        raise DamagedFrame(f"{file} cannot be read: {error}") from error
    if T.shape != (4, 4):
        raise DamagedFrame(f"{file} has the shape {T.shape}; it must be four rows of four numbers")
    return T if np.isfinite(T).all() else None


def read_poses(file: Path, count: int) -> np.ndarray:
    """(count, 4, 4) T_world_camera, stored row-major as 12 or 16 numbers, one row per frame."""
    rows = read_rows(file, (12, 16))
    if len(rows) != count:
        raise DepthRosError(
            f"{file} has {len(rows)} poses for {count} images; it must have one row per image"
        )
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3] = rows[:, :12].reshape(count, 3, 4)
    return poses


def open_hdf5(file: Path) -> Any:
    """The h5py.File of an HDF5 file, opened for reading."""
    try:
        import h5py
    except ImportError:
        raise DepthRosError(f"{file}: to read HDF5 files: pip install h5py") from None
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise DamagedFrame(f"{file} is no readable HDF5 file: {error}") from error


def stamp_from_seconds(text: str) -> int:
    """ns from decimal seconds without floating point: a double rounds 1305031029.528748 s to 0.2 us.

    A number with an exponent was such a double (numpy.savetxt, evo): it is rounded to 1 us. Raises ValueError if the
    text is no number.
    """
    try:
        seconds = Decimal(text)
        return int(seconds.quantize(Decimal("1e-6")) * NS) if "e" in text.lower() else int(seconds * NS)
    except (InvalidOperation, OverflowError, ValueError) as error:
        raise ValueError(f"'{text}' is no time in seconds") from error


def stamp_from_name(stem: str) -> int | None:
    """ns from a file stem that is a time (`1403715273262142976` ns, `1305031229.528748` s), else None."""
    if re.fullmatch(r"\d{16,19}", stem):
        return int(stem)
    return stamp_from_seconds(stem) if re.fullmatch(r"\d+\.\d+", stem) else None


def frame_stamps(stems: list[str], rate: float) -> list[int]:
    """ns of every frame: from the file stems if all are times, else generated from the rate (Hz)."""
    stamps = [stamp for stem in stems if (stamp := stamp_from_name(stem)) is not None]
    if len(stamps) == len(stems):
        return stamps
    return [FIRST_STAMP + round(index * NS / rate) for index in range(len(stems))]


class Trajectory:
    """Poses over time. stamps: ns, increasing. poses: (4, 4) each."""

    def __init__(self, stamps: Sequence[int], poses: Sequence[np.ndarray]) -> None:
        self.stamps, self.poses = np.array(stamps, np.int64), list(poses)

    @staticmethod
    def read_tum(file: Path) -> Trajectory:
        """The TUM format: rows of `seconds tx ty tz qx qy qz qw`; ORB-SLAM3 writes those of EuRoC in nanoseconds."""
        return _trajectory(file, stamped_rows(file, 8, _stamp_of_pose), [3, 4, 5, 6])

    @staticmethod
    def read_euroc(file: Path) -> Trajectory:
        """The ground truth of EuRoC: rows of `nanoseconds,px,py,pz,qw,qx,qy,qz` and more."""
        return _trajectory(file, stamped_rows(file, 8, int), [4, 5, 6, 3])

    def covers(self, stamps: Sequence[int]) -> bool:
        """Whether any of the stamps (ns) is between the first and the last pose."""
        times = np.asarray(stamps)
        return bool(
            ((times > self.stamps[0] - STAMP_ROUNDING) & (times < self.stamps[-1] + STAMP_ROUNDING)).any()
        )

    def at(self, stamp: int) -> np.ndarray | None:
        """(4, 4) pose at `stamp` (ns), interpolated linearly in position and angle. None where poses are too sparse."""
        after = int(np.searchsorted(self.stamps, stamp))
        if after in (0, len(self.stamps)):
            nearest = min(after, len(self.stamps) - 1)
            close = abs(int(self.stamps[nearest]) - stamp) < STAMP_ROUNDING
            return self.poses[nearest] if close else None
        start, end = int(self.stamps[after - 1]), int(self.stamps[after])
        if end - start > MAX_POSE_GAP:
            return None
        fraction = (stamp - start) / (end - start)
        A, B = self.poses[after - 1], self.poses[after]
        T = A.copy()
        T[:3, 3] += fraction * (B[:3, 3] - A[:3, 3])
        T[:3, :3] = A[:3, :3] @ cv2.Rodrigues(fraction * cv2.Rodrigues(A[:3, :3].T @ B[:3, :3])[0])[0]
        return T


def _trajectory(file: Path, rows: Sequence[tuple[int, np.ndarray]], quaternion: Sequence[int]) -> Trajectory:
    """Poses of rows that begin with the position. quaternion: columns of x y z w. Rows that are not finite, where
    tracking was lost, are left out. Raises DepthRosError if none is left, or for a quaternion of zeros."""
    rows = [(stamp, values) for stamp, values in rows if np.isfinite(values[:7]).all()]
    if not rows:
        raise DepthRosError(f"{file} has no poses")
    for stamp, values in rows:
        if not values[quaternion].any():
            raise DepthRosError(f"{file}: the quaternion at {stamp / NS:.6f} s is zero")
    return Trajectory(*zip(*((stamp, pose_from(v[:3], v[quaternion])) for stamp, v in rows), strict=True))


def _stamp_of_pose(text: str) -> int:
    """ns from seconds or, where that would be in millions of years, from nanoseconds."""
    stamp = stamp_from_seconds(text)
    return stamp // NS if stamp > MAX_SECONDS * NS else stamp
