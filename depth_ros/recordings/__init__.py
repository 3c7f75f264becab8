"""Recorded folders as sequences of samples. One module reads each layout; all return a `Recording`.

`open_recording(path)` detects the layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError


@dataclass(frozen=True)
class Sample:
    """One frame of a recording with its ground truth.

    name: identifier of the frame in the folder. left: the image of the left or only camera.
    right: the image of the right camera or None; the pair is rectified if `left.camera.is_rectified`.
    depth: (H, W) float32 m of `left`, NaN = invalid, or None if the folder has no depth for it.
    T_world_camera: (4, 4) pose of the left camera (of the rectified one), or None.
    moving_objects: (H, W) int32 instance ids of moving objects, 0 = static, or None.
    velocities: {instance id: (3,) m/s relative to the ground, in the camera frame}, or None.
    """

    name: str
    left: Frame
    right: Frame | None = None
    depth: np.ndarray | None = None
    T_world_camera: np.ndarray | None = None
    moving_objects: np.ndarray | None = None
    velocities: dict[int, np.ndarray] | None = None

    @property
    def fx_baseline(self) -> float:
        """fx * baseline of the rectified pair, px m: depth times disparity. 0 without a right image."""
        return 0.0 if self.right is None else self.left.camera.rectified().fx * self.right.camera.baseline


class Recording(Protocol):
    """A recording. Samples are in time order and are read from disk on access."""

    layout: str
    rate: float
    """Frames per second; stamps are generated from it where none are recorded."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def open_recording(path: str | Path, images: Path | None = None, lidar_x: bool = False) -> Recording:
    """Open the recording in a folder. Raises DepthRosError if no layout matches.

    images: a split file that lists the images of raw KITTI to use, such as the Eigen split. lidar_x: the depth of
    raw KITTI is the distance along the x axis of the lidar, as in published results on that split, instead of
    the depth along the optical axis of the camera.
    """
    from depth_ros.recordings.layouts import (
        cityscapes,
        euroc,
        folder,
        kitti_odometry,
        kitti_raw,
        middlebury,
        tum,
    )

    path = Path(path)
    if not path.is_dir():
        raise DepthRosError(f"no folder '{path}': give the path of a recorded folder")
    layouts = (tum, euroc, kitti_odometry, kitti_raw, cityscapes, middlebury, folder)  # most general last
    for layout in layouts:
        if layout.matches(path):
            if layout is kitti_raw:
                return kitti_raw.read(path, images, lidar_x)
            if images or lidar_x:
                name = layout.__name__.split(".")[-1]
                raise DepthRosError(
                    f"'{path}' has the layout {name}; split files and lidar_x work with raw KITTI only"
                )
            return layout.read(path)
    entries = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    found = ", ".join(entries[:12]) + (", ..." if len(entries) > 12 else "") if entries else "nothing"
    known = "; ".join(f"{layout.__name__.split('.')[-1]} ({layout.REQUIRED})" for layout in layouts)
    raise DepthRosError(f"'{path}' has no known layout: found {found}; known layouts: {known}")
