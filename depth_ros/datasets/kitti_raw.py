"""Raw KITTI as published: DATE/calib_*.txt and DATE/DRIVE_sync/ with image_02, image_03, velodyne_points, oxts.

The folder may be all of it, one date or one drive. Depth is made from the lidar scan as Eigen et al. (NIPS 2014)
and all who compare with them do it. Poses come from GPS and IMU by way of a Mercator map (Geiger et al., IJRR 2013,
devkit) and are those of each drive's camera, seen from its first image.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from depth_ros.datasets import Sample
from depth_ros.datasets.files import NS, images_in, read_image, read_rows, stamps_for
from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse

NEEDS = "DATE/calib_cam_to_cam.txt and DATE/DRIVE_sync/image_02/data/"
RATE = 10.0  # Hz
EARTH = 6378137.0  # m, radius of the map
LISTED = re.compile(
    r"(?P<drive>\d{4}_\d\d_\d\d/\d{4}_\d\d_\d\d_drive_\d{4}_sync)"
    r"(?:/image_(?P<eye>0[23])/data/(?P<name>\d+)\.\w+|\s+(?P<number>\d+)(?:\s+(?P<side>[lr]))?)"
)
"""A line of a split: the path of an image, or `DATE/DRIVE_sync FRAME l`; what follows is not looked at."""


@dataclass(frozen=True)
class Place:
    """One image: its drive, the stem of its file, and its camera, 02 (left) or 03."""

    drive: Path
    name: str
    eye: str = "02"


@dataclass(frozen=True)
class Calibration:
    """Of one date. P: (3, 4) by camera. T_rectified_velo, T_rectified_imu: into rectified camera 0."""

    P: dict[str, np.ndarray]
    size: dict[str, tuple[int, int]]
    T_rectified_velo: np.ndarray
    T_rectified_imu: np.ndarray

    def camera(self, eye: str) -> Camera:
        """The rectified camera; that of 03 with its baseline to 02."""
        P = self.P[eye]
        baseline = (self.P["02"][0, 3] - P[0, 3]) / P[0, 0] if "02" in self.P else 0.0
        return Camera.pinhole(*self.size[eye], P[0, 0], P[1, 1], P[0, 2], P[1, 2], baseline)

    def T_rectified_eye(self, eye: str) -> np.ndarray:
        """Takes points from a camera to rectified camera 0."""
        T = np.eye(4)
        T[:3, 3] = -np.linalg.solve(self.P[eye][:, :3], self.P[eye][:, 3])
        return T


def fits(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(drives_in(path))


def drives_in(path: Path) -> list[Path]:
    """The drives of a folder that is a drive, a date or the whole, sorted."""
    for found in ([path], sorted(path.glob("*_sync")), sorted(path.glob("*/*_sync"))):
        drives = [drive.resolve() for drive in found if (drive / "image_02/data").is_dir()]
        if drives:
            return [d for d in drives if (d.parent / "calib_cam_to_cam.txt").is_file()]
    return []


def read(path: Path, images: Path | None = None, lidar_x: bool = False) -> Recording:
    """The recording in a folder of this layout, or those of its images that a file lists, in its order."""
    if images is not None:
        return Recording(listed(path, images), lidar_x)
    return Recording([Place(d, n) for d in drives_in(path) for n in images_in(d / "image_02/data")], lidar_x)


def listed(path: Path, file: Path) -> list[Place]:
    """The images that a split file names, relative to the folder of all dates."""
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise DepthRosError(f"{file} cannot be read: {error.strerror}") from error
    found = []
    for line in lines:
        match = LISTED.match(line)
        if match is None:
            raise DepthRosError(
                f"{file}: '{line}' is no image of raw KITTI; lines are "
                "DATE/DRIVE_sync/image_02/data/FRAME.png, or DATE/DRIVE_sync FRAME l"
            )
        name = match["name"] or match["number"].zfill(10)
        eye = match["eye"] or ("03" if match["side"] == "r" else "02")
        found.append(Place(path / match["drive"], name, eye))
    missing = [p for p in found if p.name not in _images(p.drive, p.eye)]
    if missing or not found:
        first = missing[0] if missing else None
        lacks = f"{first.drive.name} image_{first.eye} {first.name}" if first else "no image"
        raise DepthRosError(f"{file} lists {lacks} ({len(missing)} of {len(found)} are not in {path})")
    return found


class Recording:
    """Images of raw KITTI. lidar_x: depth is the distance in front of the lidar, not of the camera.

    That is 0.27 m and a small turn off, but what every published table of this split compares with.
    """

    layout, rate = "kitti_raw", RATE

    def __init__(self, places: list[Place], lidar_x: bool = False) -> None:
        self._places, self._lidar_x = places, lidar_x
        self.names = [f"{place.drive.name}/{place.name}" for place in places]
        self.stamps = [_stamps(place.drive, place.eye)[place.name] for place in places]
        self.note = "g is the distance in front of the lidar" if lidar_x else ""

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        place, stamp = self._places[index], self.stamps[index]
        calibration = _calibration(place.drive.parent)
        frames = {
            eye: Frame(stamp, f"image_{eye}_optical_frame", read_image(files[place.name], camera), camera)
            for eye in (place.eye, *(["03"] if place.eye == "02" else []))
            if place.name in (files := _images(place.drive, eye))
            for camera in [calibration.camera(eye)]
        }
        return Sample(
            self.names[index],
            frames[place.eye],
            frames.get("03") if place.eye == "02" else None,
            self._depth(place, calibration),
            _pose(place, calibration),
        )

    def _depth(self, place: Place, calibration: Calibration) -> np.ndarray | None:
        scan = place.drive / f"velodyne_points/data/{place.name}.bin"
        if not scan.is_file():
            return None
        points = np.fromfile(scan, np.float32).reshape(-1, 4)[:, :3].astype(np.float64)
        P = calibration.P[place.eye]
        return lidar_depth(
            points, P, calibration.T_rectified_velo, calibration.size[place.eye], self._lidar_x
        )


def lidar_depth(
    points: np.ndarray, P: np.ndarray, T_rectified_velo: np.ndarray, size: tuple[int, int], lidar_x: bool
) -> np.ndarray:
    """Depth (H, W) float32 m, NaN = unknown, of lidar points (N, 3) (x forward), by Eigen's protocol.

    Points behind the lidar are dropped, pixels are rounded and counted from 1 as in Matlab, of points that
    share a pixel the nearest wins. lidar_x: the depth is x itself, as in the published truth.
    """
    points = points[points[:, 0] >= 0]
    image = (np.hstack([points, np.ones((len(points), 1))]) @ T_rectified_velo.T) @ P.T
    front = image[:, 2] > 0
    points, image = points[front], image[front]
    u, v = (np.round(image[:, i] / image[:, 2]).astype(int) - 1 for i in (0, 1))
    width, height = size
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    z = np.where(inside, points[:, 0] if lidar_x else image[:, 2], np.inf)
    order = np.argsort(-z)  # written last = nearest
    order = order[inside[order]]
    depth = np.full((height, width), np.nan, np.float32)
    depth[v[order], u[order]] = z[order]
    depth[depth <= 0] = np.nan
    return depth


@functools.lru_cache(maxsize=8)
def _calibration(date: Path) -> Calibration:
    cameras = _read_calibration(date / "calib_cam_to_cam.txt")
    try:
        P = {eye: cameras[f"P_rect_{eye}"].reshape(3, 4) for eye in ("02", "03")}
        size = {eye: tuple(cameras[f"S_rect_{eye}"].astype(int)) for eye in ("02", "03")}
        R = np.eye(4)
        R[:3, :3] = cameras["R_rect_00"].reshape(3, 3)
        T_rectified_velo = R @ _rigid(_read_calibration(date / "calib_velo_to_cam.txt"))
        T_velo_imu = np.full((4, 4), np.nan)
        if (date / "calib_imu_to_velo.txt").is_file():
            T_velo_imu = _rigid(_read_calibration(date / "calib_imu_to_velo.txt"))
    except (KeyError, ValueError) as error:
        raise DepthRosError(f"{date}/calib_*.txt: {error} is missing or malformed") from error
    return Calibration(P, size, T_rectified_velo, T_rectified_velo @ T_velo_imu)


def _read_calibration(file: Path) -> dict[str, np.ndarray]:
    try:
        rows = (line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
        return {key: np.array(text.split(), float) for key, text in rows if key != "calib_time"}
    except (OSError, ValueError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}") from error


def _rigid(content: dict[str, np.ndarray]) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = content["R"].reshape(3, 3), content["T"]
    return T


@functools.lru_cache(maxsize=256)
def _images(drive: Path, eye: str) -> dict[str, Path]:
    return images_in(drive / f"image_{eye}/data")


@functools.lru_cache(maxsize=256)
def _stamps(drive: Path, eye: str) -> dict[str, int]:
    """ns of every image, from timestamps.txt, else made up from the rate."""
    names = list(_images(drive, eye))
    file = drive / f"image_{eye}/timestamps.txt"
    if not file.is_file():
        return dict(zip(names, stamps_for(names, RATE)))
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    return {name: _nanoseconds(lines[int(name)]) for name in names if int(name) < len(lines)}


def _nanoseconds(text: str) -> int:
    seconds, _, fraction = text.strip().partition(".")
    moment = datetime.strptime(seconds, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * NS + int(fraction[:9].ljust(9, "0"))


def _pose(place: Place, calibration: Calibration) -> np.ndarray | None:
    """The camera's pose on the map, seen from its first image; None without GPS and IMU."""
    first = _map_pose(place.drive, min(_images(place.drive, place.eye)))
    now = _map_pose(place.drive, place.name)
    if first is None or now is None or not np.isfinite(calibration.T_rectified_imu).all():
        return None
    T_imu_eye = inverse(calibration.T_rectified_imu) @ calibration.T_rectified_eye(place.eye)
    return inverse(first @ T_imu_eye) @ now @ T_imu_eye


def _map_pose(drive: Path, name: str) -> np.ndarray | None:
    file = drive / f"oxts/data/{name}.txt"
    if not file.is_file():
        return None
    latitude, longitude, altitude, roll, pitch, yaw = read_rows(file, (30,))[0, :6]
    first = read_rows(min((drive / "oxts/data").glob("*.txt")), (30,))[0, 0]
    scale = np.cos(np.radians(first)) * EARTH
    T = np.eye(4)
    T[:3, 3] = (
        scale * np.radians(longitude),
        scale * np.log(np.tan(np.radians(90 + latitude) / 2)),
        altitude,
    )
    T[:3, :3] = _turn(2, yaw) @ _turn(1, pitch) @ _turn(0, roll)
    return T


def _turn(axis: int, angle: float) -> np.ndarray:
    a, b = (axis + 1) % 3, (axis + 2) % 3
    R = np.eye(3)
    R[a, a] = R[b, b] = np.cos(angle)
    R[b, a], R[a, b] = np.sin(angle), -np.sin(angle)
    return R
