"""Independent stereo pairs, one folder a scene, and the scenes with calib.txt that Middlebury and ETH3D share.

    calib.txt       cam0=[f 0 cx; 0 f cy; 0 0 1], cam1, doffs (cx1 - cx0), px; baseline, mm; width, height; ...
    im0.png im1.png
    disp0.pfm       or disp0GT.pfm: disparity of im0, px; infinite = unknown; occluded pixels have a value
    mask0nocc.png   pixels that both cameras see; not read

Depth is f * baseline / (disparity + doffs) (description of the Middlebury 2014 data set): the cameras differ in their
principal points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings.files import frame_stamps, read_image
from depth_ros.recordings.pfm import read_pfm
from depth_ros.recordings.sample import Contents, Sample

CALIBRATION, LEFT, RIGHT = CALIBRATED_FILES = ("calib.txt", "im0.png", "im1.png")
MM = 1e-3


class Scene(Protocol):
    """One pair. name: identifier. has_depth: whether ground truth exists."""

    @property
    def name(self) -> str: ...

    @property
    def has_depth(self) -> bool: ...

    def sample(self, stamp: int) -> Sample:
        """The pair with its ground truth. stamp: ns."""
        ...


class Scenes:
    """A recording of independent pairs."""

    rate = 1.0
    damage = ()

    def __init__(self, layout: str, scenes: Sequence[Scene], camera_source: str) -> None:
        self.layout, self._scenes, self.camera_source = layout, scenes, camera_source
        self.names = [scene.name for scene in scenes]
        self.stamps = frame_stamps([""] * len(scenes), self.rate)
        depth = 2 * sum(scene.has_depth for scene in scenes) > len(scenes)
        self.contents = Contents(pairs=True, depth=depth, consecutive=False)

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        return self._scenes[index].sample(self.stamps[index])


@dataclass(frozen=True)
class CalibratedScene:
    """A scene with calib.txt. folder: its files. disparity: PFM, or None without ground truth."""

    folder: Path
    disparity: Path | None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def has_depth(self) -> bool:
        return self.disparity is not None

    def sample(self, stamp: int) -> Sample:
        """The pair with its ground truth. stamp: ns."""
        cameras = read_calib_txt(self.folder / CALIBRATION)
        pair = read_pair(stamp, self.folder / LEFT, self.folder / RIGHT, cameras)
        depth = None if self.disparity is None else disparity_to_depth(read_pfm(self.disparity), cameras)
        return Sample(self.name, *pair, depth)


def read_pair(
    stamp: int, left: Path, right: Path | None, cameras: tuple[Camera, Camera]
) -> tuple[Frame, Frame | None]:
    """The left and the right frame, which is None without its file."""
    frame_id = "camera_optical_frame" if right is None else "left_optical_frame"
    frame = Frame(stamp, frame_id, read_image(left, cameras[0]), cameras[0])
    if right is None:
        return frame, None
    return frame, Frame(stamp, "right_optical_frame", read_image(right, cameras[1]), cameras[1])


def disparity_to_depth(disparity: np.ndarray, cameras: tuple[Camera, Camera]) -> np.ndarray:
    """(H, W) float32 m of the left image, NaN = invalid. disparity: (H, W) px, not finite = unknown."""
    left, right = cameras
    if disparity.shape != (left.height, left.width):
        raise DepthRosError(
            f"disparity is {disparity.shape[1]}x{disparity.shape[0]}, not as large as its image"
        )
    inverse = disparity + np.float32(right.cx - left.cx)  # 0 at infinity
    valid = np.isfinite(inverse) & (inverse > 0)
    depth = np.full(disparity.shape, np.nan, np.float32)
    return np.divide(np.float32(left.fx * right.baseline), inverse, out=depth, where=valid)


def pair_cameras(
    size: tuple[int, int], K: np.ndarray, doffs: float, baseline: float
) -> tuple[Camera, Camera]:
    """Cameras of a rectified pair. size: width, height. K: (3, 3) of the left one. doffs: cx right - cx left, px.
    baseline: m."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    return Camera.pinhole(*size, fx, fy, cx, cy), Camera.pinhole(*size, fx, fy, cx + doffs, cy, baseline)


def read_calib_txt(file: Path) -> tuple[Camera, Camera]:
    """The left and the right camera."""
    try:
        content = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
        K0, K1 = (
            np.array([row.split() for row in content[key].strip(" []").split(";")], float).reshape(3, 3)
            for key in ("cam0", "cam1")
        )
        size = int(content["width"]), int(content["height"])
        return pair_cameras(size, K0, K1[0, 2] - K0[0, 2], MM * float(content["baseline"]))
    except (OSError, KeyError, ValueError) as error:
        raise DepthRosError(
            f"{file}: {error} is missing or malformed; it must have cam0, cam1, baseline (mm), width and height"
        ) from error
