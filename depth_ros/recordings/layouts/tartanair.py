"""TartanAir as published (Wang et al., IROS 2020; data_type.md of tartanair_tools; 2: tartanair.org/modalities).

    image_left/000000_left.png image_right/ depth_left/000000_left_depth.npy pose_left.txt          version 1, 640x480
    image_lcam_front/000000_lcam_front.png image_rcam_front/ depth_lcam_front/000000_lcam_front_depth.png
    pose_lcam_front.txt                                                                             version 2, 640x640

The folder is one trajectory, such as ENVIRONMENT/Easy/P001. fx = fy = 320 px, the principal point is (320, 240) or
(320, 320), the baseline 0.25 m. Depth is in m; in version 2, the four bytes of a pixel are one float32. The sky has a
very large depth, which is invalid here. Poses, one row `tx ty tz qx qy qz qw` an image, are those of the left camera in
the axes x forward, y right, z down; the axes of the world are north, east, down.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import pose_from
from depth_ros.recordings import Contents, DamagedFrame, Sample
from depth_ros.recordings.files import frame_stamps, images_in, read_raw, read_rows
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.search import folders_with, only_one
from depth_ros.recordings.two_view import pair_cameras, read_pair

REQUIRED = "image_left/ and depth_left/ or pose_left.txt, or image_lcam_front/"
FOCAL, BASELINE = 320.0, 0.25
"""px and m."""
MAX_DEPTH = 1000.0
"""m; the sky sphere is farther."""
T_NED_OPTICAL = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])


@dataclass(frozen=True)
class Version:
    """Names of the left and the right camera, the suffix of the depth files, and width and height, px."""

    left: str
    right: str
    depth_suffix: str
    size: tuple[int, int]


VERSIONS = (
    Version("left", "right", ".npy", (640, 480)),
    Version("lcam_front", "rcam_front", ".png", (640, 640)),
)


def trajectories_in(path: Path) -> list[tuple[Path, Version]]:
    """The trajectories in a folder that is one, or at most four levels below it."""
    return [
        (folder, version)
        for version in VERSIONS
        for folder in folders_with(path, (f"image_{version.left}",), levels=4)
        if (folder / f"pose_{version.left}.txt").is_file() or (folder / f"depth_{version.left}").is_dir()
    ]


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(trajectories_in(path))


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    found = dict(trajectories_in(path))
    folder = only_one(path, list(found), "trajectories")
    return Recording(folder, found[folder])


class Recording:
    """One trajectory."""

    layout, rate = "tartanair", 10.0
    damage = ()
    camera_source = "published"

    def __init__(self, path: Path, version: Version) -> None:
        self._path, self._version = path, version
        self._left = images_in(path / f"image_{version.left}")
        self.names = [name.removesuffix(f"_{version.left}") for name in self._left]
        if not self.names:
            raise DepthRosError(f"{path}/image_{version.left} has no images")
        self.stamps = frame_stamps(self.names, self.rate)
        self._right = images_in(path / f"image_{version.right}")
        self._poses = _poses(path / f"pose_{version.left}.txt", len(self.names))
        self.contents = Contents(
            pairs=bool(self._right), depth=(path / f"depth_{version.left}").is_dir(),
            poses=self._poses is not None, exact=True,
        )  # fmt: skip
        (width, height) = version.size
        K = np.array([[FOCAL, 0, width / 2], [0, FOCAL, height / 2], [0, 0, 1]])
        self._cameras = pair_cameras(version.size, K, 0.0, BASELINE)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, version = self.names[index], self._version
        left, right = self._left[f"{name}_{version.left}"], self._right.get(f"{name}_{version.right}")
        frames = read_pair(self.stamps[index], left, right, self._cameras)
        depth = self._path / f"depth_{version.left}/{name}_{version.left}_depth{version.depth_suffix}"
        return Sample(
            name, *frames, read_float_depth(depth, self._cameras[0]) if depth.is_file() else None,
            None if self._poses is None else self._poses[index],
        )  # fmt: skip


def _poses(file: Path, count: int) -> list[np.ndarray] | None:
    """(4, 4) T_world_camera of every image."""
    if not file.is_file():
        return None
    rows = read_rows(file, (7,))
    if len(rows) != count:
        raise DepthRosError(
            f"{file} has {len(rows)} poses for {count} images; it must have one row per image"
        )
    return [pose_from(row[:3], row[3:]) @ T_NED_OPTICAL for row in rows]


def read_float_depth(file: Path, camera: Camera) -> np.ndarray:
    """(H, W) float32 m, NaN = invalid or sky. file: NPY, or PNG whose four bytes of a pixel are one float32."""
    if file.suffix == ".npy":
        try:
            values = np.load(file, allow_pickle=False).astype(np.float32)
        except (OSError, ValueError, EOFError) as error:
            raise DamagedFrame(f"{file} is damaged ({error}): restore or delete it") from error
    else:
        stored = read_raw(file)
        if stored.ndim != 3 or stored.shape[2] != 4 or stored.dtype != np.uint8:
            raise DepthRosError(f"{file} must have four channels of 8 bits, the bytes of a float32")
        values = np.ascontiguousarray(stored).view("<f4")[..., 0]
    if values.shape != (camera.height, camera.width):
        raise DepthRosError(f"{file} has the shape {values.shape}, not that of its image")
    return np.where((values > 0) & (values < MAX_DEPTH), values, np.float32(np.nan))
