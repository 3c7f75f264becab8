"""Raw KITTI as published: DATE/calib_*.txt and DATE/DRIVE_sync/ with image_02, image_03, velodyne_points, oxts.

The folder is the root, one date or one drive. Depth is the improved ground truth (see `kitti_depth`), and that alone,
if any of the drives has it; else the projected lidar scan, as in Eigen et al. (NIPS 2014) and the results compared with
theirs. Poses are those of the camera relative to the first image of the drive, from GPS and
IMU on a Mercator projection (Geiger et al., IJRR 2013, devkit).
"""

from __future__ import annotations

import functools
import logging
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import NS, frame_stamps, images_in, read_depth, read_image
from depth_ros.recordings.imu import Imu
from depth_ros.recordings.layouts.kitti_depth import UNITS_PER_METRE, improved_depth
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.oxts import imu_measurements, imu_pose

REQUIRED = "DATE/calib_cam_to_cam.txt and DATE/DRIVE_sync/image_02/data/"
PUBLISHED_DEPTH = True
"""`lidar_x` selects the depth of published results."""
RATE = 10.0  # Hz
log = logging.getLogger("depth_ros.recordings")
SPLIT_LINE = re.compile(
    r"(?:\d{4}_\d\d_\d\d/)?(?P<drive>(?P<date>\d{4}_\d\d_\d\d)_drive_\d{4}_sync)"
    r"(?:/image_(?P<camera>0[23])/data/(?P<name>\d+)\.\w+"
    r"|(?:_(?P<folder>0[23]))?\s+(?P<number>\d+)(?:\s+(?P<side>[lr]))?)"
)
"""A line of a split file: one or two image paths (monodepth), `DATE/DRIVE_sync FRAME l` (monodepth2), or
`DRIVE_sync_02 FRAME` (SfMLearner). The rest of the line is ignored."""


@dataclass(frozen=True)
class ImageId:
    """One image: its drive, its file stem, and its camera, 02 (left) or 03 (right)."""

    drive: Path
    name: str
    camera: str = "02"


@dataclass(frozen=True)
class RigCalibration:
    """Calibration of one date. P: (3, 4) and size: (width, height), by camera, 02 or 03.

    T_rectified_velo, T_rectified_imu: (4, 4), to rectified camera 0.
    """

    P: dict[str, np.ndarray]
    size: dict[str, tuple[int, int]]
    T_rectified_velo: np.ndarray
    T_rectified_imu: np.ndarray

    def camera(self, number: str) -> Camera:
        """The rectified camera; 03 has its baseline to 02."""
        P = self.P[number]
        baseline = (self.P["02"][0, 3] - P[0, 3]) / P[0, 0] if "02" in self.P else 0.0
        return Camera.pinhole(*self.size[number], P[0, 0], P[1, 1], P[0, 2], P[1, 2], baseline)

    def T_rectified_camera(self, number: str) -> np.ndarray:
        """(4, 4) from a camera to rectified camera 0."""
        T = np.eye(4)
        T[:3, 3] = -np.linalg.solve(self.P[number][:, :3], self.P[number][:, 3])
        return T


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(drives_in(path))


def drives_in(path: Path) -> list[Path]:
    """The drives in a folder that is a drive, a date or the root, sorted."""
    for found in ([path], sorted(path.glob("*_sync")), sorted(path.glob("*/*_sync"))):
        drives = [drive.resolve() for drive in found if (drive / "image_02/data").is_dir()]
        if drives:
            return [d for d in drives if (d.parent / "calib_cam_to_cam.txt").is_file()]
    return []


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout, or its images that a split file lists, in the order of the file."""
    lidar_x = options.lidar_x
    if options.image_list is not None:
        return Recording(images_of_split(path, options.image_list), lidar_x)
    drives = drives_in(path)
    return Recording([ImageId(d, n) for d in drives for n in images_in(d / "image_02/data")], lidar_x)


def images_of_split(path: Path, file: Path) -> list[ImageId]:
    """The images that a split file lists, relative to the root."""
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise DepthRosError(f"{file} cannot be read: {error.strerror}") from error
    found = []
    for line in lines:
        match = SPLIT_LINE.match(line)
        if match is None:
            raise DepthRosError(
                f"{file}: '{line}' is not an image of raw KITTI; each line must be "
                "DATE/DRIVE_sync/image_02/data/FRAME.png, DATE/DRIVE_sync FRAME l or DRIVE_sync_02 FRAME"
            )
        name = match["name"] or match["number"].zfill(10)
        camera = match["camera"] or match["folder"] or ("03" if match["side"] == "r" else "02")
        found.append(ImageId(path / match["date"] / match["drive"], name, camera))
    missing = [image for image in found if image.name not in _images(image.drive, image.camera)]
    if missing or not found:
        raise DepthRosError(_split_problem(path, file, missing, len(found)))
    return found


def _split_problem(path: Path, file: Path, missing: list[ImageId], listed: int) -> str:
    if not listed:
        return f"{file} lists no image"
    first = missing[0]
    return (
        f"{file} lists {first.drive.name} image_{first.camera} {first.name}, which is not in {path} "
        f"({len(missing)} of {listed} listed images are missing)"
    )


class Recording:
    """Images of raw KITTI. lidar_x: depth is the distance along the x axis of the lidar, not of the camera.

    The two differ by 0.27 m and a small rotation; published results on the Eigen split use the former.
    """

    layout, rate, camera_source = "kitti_raw", RATE, "calib_cam_to_cam.txt"
    damage = ()

    def __init__(self, images: list[ImageId], lidar_x: bool = False) -> None:
        self._images, self._lidar_x = images, lidar_x
        self.names = [f"{image.drive.name}/{image.name}" for image in images]
        self.stamps = [_stamps(image.drive, image.camera)[image.name] for image in images]
        drives = {image.drive for image in images}
        self._improved = {} if lidar_x else _improved(drives)
        self.contents = Contents(
            pairs=any((drive / "image_03/data").is_dir() for drive in drives),
            depth=bool(self._improved) or any((drive / "velodyne_points/data").is_dir() for drive in drives),
            poses=any((drive / "oxts/data").is_dir() for drive in drives),
            imu=len(drives) == 1 and (next(iter(drives)) / "oxts/data").is_dir(),
        )
        self.note = "g is the distance along the x axis of the lidar" if lidar_x else ""
        if self._improved:
            self.note = "g is the improved ground truth (Uhrig et al., 3DV 2017)"

    def imu(self) -> Imu | None:
        """The IMU of the only drive; drives have no common frame of time."""
        if not self.contents.imu:
            return None
        drive, camera = self._images[0].drive, self._images[0].camera
        calibration = _calibration(drive.parent)
        stamps, values = imu_measurements(drive, _stamps(drive, camera))
        T_camera_rectified = inverse(calibration.T_rectified_camera(camera))
        return Imu(
            stamps, values[:, :3], values[:, 3:], "imu", T_camera_rectified @ calibration.T_rectified_imu
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image = self._images[index]
        calibration = _calibration(image.drive.parent)
        left, right = self._frame(index, image.camera, calibration), None
        if image.camera == "02" and image.name in _images(image.drive, "03"):
            right = self._frame(index, "03", calibration)
        depth, T = self._depth(image, calibration), _pose(image, calibration)
        return Sample(self.names[index], left, right, depth, T)

    def with_neighbours(self) -> tuple[Recording, list[int]]:
        """All images of the same drives and cameras, in time order, and which of them these are: the frames that a
        split file lists are the middle ones of clips."""
        sequences = dict.fromkeys((image.drive, image.camera) for image in self._images)
        images = [
            ImageId(drive, name, camera) for drive, camera in sequences for name in _images(drive, camera)
        ]
        number = {image: index for index, image in enumerate(images)}
        return Recording(images, self._lidar_x), [number[image] for image in self._images]

    def _frame(self, index: int, number: str, calibration: RigCalibration) -> Frame:
        image, camera = self._images[index], calibration.camera(number)
        pixels = read_image(_images(image.drive, number)[image.name], camera)
        return Frame(self.stamps[index], f"image_{number}_optical_frame", pixels, camera)

    def _depth(self, image: ImageId, calibration: RigCalibration) -> np.ndarray | None:
        if self._improved:
            file = self._improved.get((image.drive, image.camera), {}).get(image.name)
            return (
                None if file is None else read_depth(file, calibration.camera(image.camera), UNITS_PER_METRE)
            )
        scan = image.drive / f"velodyne_points/data/{image.name}.bin"
        if not scan.is_file():
            return None
        points = np.fromfile(scan, np.float32).reshape(-1, 4)[:, :3].astype(np.float64)
        P, size = calibration.P[image.camera], calibration.size[image.camera]
        return lidar_depth(points, P, calibration.T_rectified_velo, size, self._lidar_x)


def _improved(drives: set[Path]) -> dict[tuple[Path, str], dict[str, Path]]:
    """Files of the improved ground truth, by drive and camera, of those that have it."""
    found = {(drive, camera): improved_depth(drive, camera) for drive in drives for camera in ("02", "03")}
    return {key: files for key, files in found.items() if files}


def lidar_depth(
    points: np.ndarray, P: np.ndarray, T_rectified_velo: np.ndarray, size: tuple[int, int], lidar_x: bool
) -> np.ndarray:
    """Depth (H, W) float32 m, NaN = invalid, of lidar points (N, 3) m (x forward), as in Eigen et al. (2014).

    Points behind the lidar are discarded; pixels are rounded and counted from 1 as in Matlab; the nearest point of
    each pixel is kept. lidar_x: depth is x of the point, as in the published ground truth.
    """
    points = points[points[:, 0] >= 0]
    image = (np.hstack([points, np.ones((len(points), 1))]) @ T_rectified_velo.T) @ P.T
    front = image[:, 2] > 0
    points, image = points[front], image[front]
    u, v = (np.round(image[:, i] / image[:, 2]).astype(int) - 1 for i in (0, 1))
    width, height = size
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    z = np.where(inside, points[:, 0] if lidar_x else image[:, 2], np.inf)
    order = np.argsort(-z)  # the nearest point is written last
    order = order[inside[order]]
    depth = np.full((height, width), np.nan, np.float32)
    depth[v[order], u[order]] = z[order]
    depth[depth <= 0] = np.nan
    return depth


@functools.lru_cache(maxsize=8)
def _calibration(date: Path) -> RigCalibration:
    cameras = _read_calibration(date / "calib_cam_to_cam.txt")
    try:
        P = {number: cameras[f"P_rect_{number}"].reshape(3, 4) for number in ("02", "03")}
        size = {number: tuple(cameras[f"S_rect_{number}"].astype(int)) for number in ("02", "03")}
        R = np.eye(4)
        R[:3, :3] = cameras["R_rect_00"].reshape(3, 3)
        T_rectified_velo = R @ _rigid(_read_calibration(date / "calib_velo_to_cam.txt"))
        T_velo_imu = np.full((4, 4), np.nan)
        if (date / "calib_imu_to_velo.txt").is_file():
            T_velo_imu = _rigid(_read_calibration(date / "calib_imu_to_velo.txt"))
    except (KeyError, ValueError) as error:
        raise DepthRosError(f"{date}/calib_*.txt: {error} is missing or malformed") from error
    return RigCalibration(P, size, T_rectified_velo, T_rectified_velo @ T_velo_imu)


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
def _images(drive: Path, camera: str) -> dict[str, Path]:
    return images_in(drive / f"image_{camera}/data")


@functools.lru_cache(maxsize=256)
def _stamps(drive: Path, camera: str) -> dict[str, int]:
    """ns of every image, from timestamps.txt, else generated from the rate."""
    names = list(_images(drive, camera))
    file = drive / f"image_{camera}/timestamps.txt"
    if not file.is_file():
        return dict(zip(names, frame_stamps(names, RATE)))
    lines = file.read_text().splitlines()
    try:
        return {name: _nanoseconds(lines[int(name)]) for name in names}
    except (IndexError, ValueError):
        log.warning(
            "%s has no time for each of the %d images: stamps are made from the rate, %g Hz",
            file,
            len(names),
            RATE,
        )
        return dict(zip(names, frame_stamps(names, RATE)))


def _nanoseconds(text: str) -> int:
    seconds, _, fraction = text.strip().partition(".")
    time = datetime.strptime(seconds, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
    return int(time.timestamp()) * NS + int(fraction[:9].ljust(9, "0"))


def _pose(image: ImageId, calibration: RigCalibration) -> np.ndarray | None:
    """(4, 4) pose of the camera relative to the first image of the drive; None without GPS and IMU."""
    first = imu_pose(image.drive, min(_images(image.drive, image.camera)))
    current = imu_pose(image.drive, image.name)
    if first is None or current is None or not np.isfinite(calibration.T_rectified_imu).all():
        return None
    T_imu_camera = inverse(calibration.T_rectified_imu) @ calibration.T_rectified_camera(image.camera)
    return inverse(first @ T_imu_camera) @ current @ T_imu_camera
