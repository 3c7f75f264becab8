"""The general layout, and the one that depth_ros writes itself.

    camera.yaml         width height fx fy cx cy, rectified, px; baseline m, rate_hz, depth_scale if needed;
                        rendered: true where nothing errs
    image/ or left/     colour or grey images, in time order by name
    right/              the right eye under the same names
    depth/              uint16, `depth_scale` units per metre; lidar_depth/ uint16/256 m; or
    disparity/          uint16/256 px of the left image; depth = fx * baseline / disparity; 0 = unknown
    moving_objects/     instance ids, 0 = static
    velocities.txt      name of the image, id, vx vy vz of that object, m/s over ground, in the camera
    poses.txt           camera to world, 3x4 or 4x4 row-major, one row an image

Depth and moving objects may be there for some frames only; they belong to the image of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_ros.config import setting, settings_from
from depth_ros.datasets import Sample
from depth_ros.datasets.files import (
    images_in,
    read_depth,
    read_image,
    read_poses,
    read_units,
    read_yaml,
    stamps_for,
)
from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError

NEEDS = "camera.yaml and image/ or left/"
_REQUIRED = ("width", "height", "fx", "fy", "cx", "cy")
_DISPARITY_UNITS = 256.0  # per px, as KITTI stores it
_LIDAR_UNITS = 256.0  # per m, likewise


@dataclass(frozen=True)
class Calibration:
    """What `camera.yaml` may hold."""

    width: int = setting(0, "width of the images", "px", minimum=1)
    height: int = setting(0, "height of the images", "px", minimum=1)
    fx: float = setting(0.0, "focal length", "px", minimum=1.0)
    fy: float = setting(0.0, "focal length", "px", minimum=1.0)
    cx: float = setting(0.0, "principal point", "px")
    cy: float = setting(0.0, "principal point", "px")
    baseline: float = setting(0.0, "from the left to the right optical centre", "m", minimum=0.0)
    rate_hz: float = setting(10.0, "rate of the recording", "Hz", minimum=0.001)
    depth_scale: float = setting(1000.0, "units of depth/ per metre", minimum=1.0)
    rendered: bool = setting(False, "no lens, shutter or clock adds any error, and the poses are exact")


def fits(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / "camera.yaml").is_file() and bool(images_in(path / "left") or images_in(path / "image"))


def read(path: Path) -> Recording:
    """The recording in a folder of this layout."""
    file = path / "camera.yaml"
    content = read_yaml(file)
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise DepthRosError(f"{file} lacks '{missing[0]}'; it must have {', '.join(_REQUIRED)}")
    c = settings_from(Calibration, content, str(file))
    camera = Camera.pinhole(c.width, c.height, c.fx, c.fy, c.cx, c.cy)
    if ((path / "right").is_dir() or (path / "disparity").is_dir()) and not c.baseline:
        raise DepthRosError(f"{file} lacks 'baseline' (m): right/ and disparity/ cannot be used without it")
    recording = Recording(path, "folder", camera, c.baseline, c.rate_hz, c.depth_scale)
    recording.rendered = c.rendered
    return recording


class Recording:
    """A recording of this layout; `camera` is the left or only one.

    eyes: folders of its images and of the right ones. poses: their file, of something fixed to the camera.
    """

    def __init__(
        self,
        path: Path,
        layout: str,
        camera: Camera,
        baseline: float,
        rate: float,
        depth_scale: float = 1.0,
        eyes: tuple[str, str] = ("left", "right"),
        poses: Path | None = None,
        T_poses_camera: np.ndarray = np.eye(4),  # noqa: B008
    ) -> None:
        self.path, self.layout, self.rate = path, layout, rate
        self.camera = camera
        self.right_camera = Camera.pinhole(
            camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, baseline
        )
        self.depth_scale, self.rendered = depth_scale, False
        self._left = images_in(path / eyes[0]) or images_in(path / "image")
        self._right = images_in(path / eyes[1])
        self._disparity, self._depth = images_in(path / "disparity"), images_in(path / "depth")
        self._lidar, self._moving = images_in(path / "lidar_depth"), images_in(path / "moving_objects")
        self._velocities = read_velocities(path / "velocities.txt")
        self.names = list(self._left)
        self.stamps = stamps_for(self.names, rate)
        poses = poses or path / "poses.txt"
        self._poses = read_poses(poses, len(self.names)) @ T_poses_camera if poses.is_file() else None
        alone = sorted(set(self._left) - set(self._right)) if self._right else []
        if alone:
            raise DepthRosError(
                f"{path}/{eyes[1]} lacks {alone[0]} ({len(alone)} of {len(self.names)} missing)"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, stamp = self.names[index], self.stamps[index]
        right = moving = None
        if self._right:
            image = read_image(self._right[name], self.right_camera)
            right = Frame(stamp, "right_optical_frame", image, self.right_camera)
        if name in self._moving:
            moving = read_units(self._moving[name], self.camera).astype(np.int32)
        return Sample(
            name,
            Frame(
                stamp,
                "left_optical_frame" if right else "camera_optical_frame",
                read_image(self._left[name], self.camera),
                self.camera,
            ),
            right,
            self._depth_of(name),
            None if self._poses is None else self._poses[index],
            moving,
            self._velocities.get(name),
        )

    def _depth_of(self, name: str) -> np.ndarray | None:
        if name in self._depth:
            return read_depth(self._depth[name], self.camera, self.depth_scale)
        if name in self._disparity:
            disparity = read_depth(self._disparity[name], self.camera, _DISPARITY_UNITS)
            return np.float32(self.camera.fx * self.right_camera.baseline) / disparity
        if name in self._lidar:
            return read_depth(self._lidar[name], self.camera, _LIDAR_UNITS)
        return None


def read_velocities(file: Path) -> dict[str, dict[int, np.ndarray]]:
    """{name of the image: {id: (3,) m/s}}; empty without the file."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        name, label, *numbers = line.split()
        if len(numbers) != 3:
            raise DepthRosError(f"{file} has the line '{line}'; it must be: name id vx vy vz")
        found.setdefault(name, {})[int(label)] = np.array(numbers, float)
    return found
