"""The general layout, which depth_ros itself writes.

    camera.yaml         width height fx fy cx cy, rectified, px; baseline m, rate_hz, depth_scale where needed;
                        rendered: true for rendered images
    image/ or left/     colour or grey images; their names sort in time order
    right/              right images under the same names
    depth/              uint16, `depth_scale` units per metre; or lidar_depth/, uint16, 256 units per metre; or
    disparity/          uint16, 256 units per px of the left image; depth = fx * baseline / disparity; 0 = invalid
    moving_objects/     instance ids, 0 = static
    planes/             NAME.png, uint16, plane of each pixel, 0 = none; NAME.txt, a line for each plane from 1:
                        nx ny nz d, unit normal and offset (m) with n . X + d = 0 in the camera frame
    keypoints/          numbers of the joints of people, 1 to 17, as discs, 0 = none
    velocities.txt      image name, id, vx vy vz of that object: m/s relative to the ground, in the camera frame
    poses.txt           T_world_camera, 3x4 or 4x4 row-major, one row per image

Depth and moving objects may exist for some images only; they belong to the image of the same name.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_ros.config import setting, settings_from
from depth_ros.datatypes import Camera, Frame, Planes
from depth_ros.errors import DepthRosError
from depth_ros.parallax import keypoints_input
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.calibration import warn_about
from depth_ros.recordings.files import (
    frame_stamps,
    images_in,
    read_depth,
    read_image,
    read_poses,
    read_single_channel,
    read_yaml,
)
from depth_ros.recordings.options import RecordingOptions

REQUIRED = "camera.yaml and image/ or left/"
_REQUIRED_KEYS = ("width", "height", "fx", "fy", "cx", "cy")
_DISPARITY_SCALE = 256.0
"""Stored units per px, as in KITTI."""
_LIDAR_DEPTH_SCALE = 256.0
"""Stored units per metre, as in KITTI."""


@dataclass(frozen=True)
class CameraFile:
    """Contents of `camera.yaml`."""

    width: int = setting(0, "Image width", "px", minimum=1)
    height: int = setting(0, "Image height", "px", minimum=1)
    fx: float = setting(0.0, "Horizontal focal length", "px", minimum=1.0)
    fy: float = setting(0.0, "Vertical focal length", "px", minimum=1.0)
    cx: float = setting(0.0, "Principal point, x", "px")
    cy: float = setting(0.0, "Principal point, y", "px")
    baseline: float = setting(0.0, "Distance from the left to the right optical centre", "m", minimum=0.0)
    rate_hz: float = setting(10.0, "Frame rate of the recording", "Hz", minimum=0.001)
    depth_scale: float = setting(1000.0, "Stored units of depth/ per metre", minimum=1.0)
    rendered: bool = setting(
        False, "Rendered images: exact poses, and no errors of a lens, a shutter or a clock"
    )
    predicted: bool = setting(False, "The depth is what a model predicted, no ground truth")

    def camera(self, baseline: float = 0.0) -> Camera:
        """The rectified camera, `baseline` m to the right of the left one."""
        return Camera.pinhole(self.width, self.height, self.fx, self.fy, self.cx, self.cy, baseline)


@dataclass(frozen=True)
class Layout:
    """File names of a layout that is read like the general one.

    left, right: folders of the images; without `left` the images are in image/. poses: absolute, or relative to the
    folder. T_poses_camera: (4, 4), from the left camera to the frame whose poses are stored.
    """

    name: str = "folder"
    left: str = "left"
    right: str = "right"
    poses: Path = Path("poses.txt")
    T_poses_camera: np.ndarray | None = None


GENERAL = Layout()


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / "camera.yaml").is_file() and bool(images_in(path / "left") or images_in(path / "image"))


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    file = path / "camera.yaml"
    content = read_yaml(file)
    missing = [key for key in _REQUIRED_KEYS if key not in content]
    if missing:
        raise DepthRosError(f"{file} lacks '{missing[0]}'; it must have {', '.join(_REQUIRED_KEYS)}")
    calibration = settings_from(CameraFile, content, str(file))
    if ((path / "right").is_dir() or (path / "disparity").is_dir()) and not calibration.baseline:
        raise DepthRosError(f"{file} lacks 'baseline' (m), which right/ and disparity/ need: add it")
    warn_about(calibration.camera(), file)
    return Recording(path, calibration)


class Recording:
    """A recording of this layout; `camera` is the left or only one."""

    damage = ()

    def __init__(self, path: Path, calibration: CameraFile, layout: Layout = GENERAL) -> None:
        self.path, self.layout = path, layout.name
        self.rate, self.depth_scale = calibration.rate_hz, calibration.depth_scale
        self.camera_source = "camera.yaml" if layout is GENERAL else "calib.txt"
        self.camera = calibration.camera()
        self.right_camera = calibration.camera(calibration.baseline)
        self._left = images_in(path / layout.left) or images_in(path / "image")
        self._right = images_in(path / layout.right)
        self._disparity, self._depth = images_in(path / "disparity"), images_in(path / "depth")
        self._lidar_depth = images_in(path / "lidar_depth")
        self._moving_objects = images_in(path / "moving_objects")
        self._planes, self._keypoints = images_in(path / "planes"), images_in(path / "keypoints")
        self._velocities = read_velocities(path / "velocities.txt")
        self.names = list(self._left)
        self.stamps = frame_stamps(self.names, self.rate)
        self._poses: np.ndarray | None = None
        if (path / layout.poses).is_file():
            self._poses = read_poses(path / layout.poses, len(self.names))
            if layout.T_poses_camera is not None:
                self._poses = self._poses @ layout.T_poses_camera
        missing = sorted(set(self._left) - set(self._right)) if self._right else []
        if missing:
            raise DepthRosError(
                f"{path}/{layout.right} lacks {missing[0]} ({len(missing)} of {len(self.names)} missing)"
            )

        measured = self._depth.keys() | self._disparity.keys() | self._lidar_depth.keys()
        depth = 2 * len(measured & set(self.names)) > len(self.names)
        self.contents = Contents(
            pairs=bool(self._right), depth=depth and not calibration.predicted, poses=self._poses is not None,
            moving_objects=bool(self._moving_objects), predicted_depth=depth and calibration.predicted,
            planes=bool(self._planes), consecutive=not _are_independent(self.names), exact=calibration.rendered,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, stamp = self.names[index], self.stamps[index]
        right = moving_objects = None
        if self._right:
            image = read_image(self._right[name], self.right_camera)
            right = Frame(stamp, "right_optical_frame", image, self.right_camera)
        if name in self._moving_objects:
            moving_objects = read_single_channel(self._moving_objects[name], self.camera).astype(np.int32)
        inputs = {}
        if name in self._keypoints:
            inputs = keypoints_input(read_single_channel(self._keypoints[name], self.camera))
        frame_id = "left_optical_frame" if right else "camera_optical_frame"
        return Sample(
            name,
            Frame(stamp, frame_id, read_image(self._left[name], self.camera), self.camera, inputs),
            right,
            self._depth_of(name),
            None if self._poses is None else self._poses[index],
            moving_objects,
            self._velocities.get(name),
            planes=None if name not in self._planes else read_planes(self._planes[name], self.camera),
        )

    def _depth_of(self, name: str) -> np.ndarray | None:
        if name in self._depth:
            return read_depth(self._depth[name], self.camera, self.depth_scale)
        if name in self._disparity:
            disparity = read_depth(self._disparity[name], self.camera, _DISPARITY_SCALE)
            return np.float32(self.camera.fx * self.right_camera.baseline) / disparity
        if name in self._lidar_depth:
            return read_depth(self._lidar_depth[name], self.camera, _LIDAR_DEPTH_SCALE)
        return None


def read_planes(file: Path, camera: Camera) -> Planes:
    """The planes of an image; file: planes/NAME.png. Raises DepthRosError if NAME.txt does not have all of them."""
    labels = read_single_channel(file, camera).astype(np.int32) - 1
    lines = file.with_suffix(".txt")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file without planes is empty
            equations = np.loadtxt(lines, ndmin=2).reshape(-1, 4)
    except (OSError, ValueError) as error:
        raise DepthRosError(f"{lines} must have four numbers a line, nx ny nz d: {error}") from error
    if labels.max() >= len(equations):
        raise DepthRosError(
            f"{lines} has {len(equations)} planes; {file.name} has the label {labels.max() + 1}"
        )
    return Planes(labels, equations)


def _are_independent(names: list[str]) -> bool:
    """Whether the names are numbers with gaps, as those of single pairs are, instead of consecutive frames."""
    return all(map(str.isdigit, names)) and int(names[-1]) - int(names[0]) >= len(names)


def read_velocities(file: Path) -> dict[str, dict[int, np.ndarray]]:
    """{image name: {id: (3,) m/s}}; empty if the file does not exist."""
    velocities: dict[str, dict[int, np.ndarray]] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        name, label, *numbers = line.split()
        if len(numbers) != 3:
            raise DepthRosError(f"{file} has the line '{line}'; each line must be: name id vx vy vz")
        velocities.setdefault(name, {})[int(label)] = np.array(numbers, float)
    return velocities
