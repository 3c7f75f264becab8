"""Recorded folders, read as a sequence of samples: one file a layout, all with the same face.

`open_folder(path)` looks at what is there and returns a `Folder`.
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
    """One moment of a recording.

    name: the frame id in the folder. left: the image of the left or only camera.
    right: the right eye or None; the pair is rectified where `left.camera.is_rectified`.
    depth: (H, W) float32 m of `left`, NaN = unknown, or None where the folder has no truth for it.
    T_world_camera: (4, 4) pose of the left camera (of the rectified one), or None.
    moving: (H, W) int32 instance ids of moving objects, 0 = static, or None.
    velocities: of those objects by id, (3,) m/s over ground, in the camera, or None.
    """

    name: str
    left: Frame
    right: Frame | None = None
    depth: np.ndarray | None = None
    T_world_camera: np.ndarray | None = None
    moving: np.ndarray | None = None
    velocities: dict[int, np.ndarray] | None = None

    @property
    def fx_baseline(self) -> float:
        """Depth times disparity, m px, of the rectified pair; 0 without a right eye."""
        return 0.0 if self.right is None else self.left.camera.rectified().fx * self.right.camera.baseline


class Folder(Protocol):
    """A recording. Samples are read from disk when they are asked for, in time order."""

    layout: str
    rate: float
    """Frames per second, for recordings whose stamps are made up from it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def open_folder(path: str | Path, images: Path | None = None, lidar_x: bool = False) -> Folder:
    """The recording in a folder. DepthRosError says what was found and which layouts are known.

    images: a file that lists which images of raw KITTI to take, as the Eigen split does. lidar_x: their depth is
    the distance in front of the lidar, as in the published tables of that split, not in front of the camera.
    """
    from depth_ros.datasets import cityscapes, euroc, folder, kitti_odometry, kitti_raw, middlebury, tum

    path = Path(path)
    if not path.is_dir():
        raise DepthRosError(f"no folder '{path}': give the path of a recorded folder")
    layouts = (tum, euroc, kitti_odometry, kitti_raw, cityscapes, middlebury, folder)  # the general one last
    for layout in layouts:
        if layout.fits(path):
            if layout is kitti_raw:
                return kitti_raw.read(path, images, lidar_x)
            if images or lidar_x:
                name = layout.__name__.split(".")[-1]
                raise DepthRosError(f"'{path}' is {name}; lists of images and lidar_x are for raw KITTI only")
            return layout.read(path)
    entries = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    found = ", ".join(entries[:12]) + (", ..." if len(entries) > 12 else "") if entries else "nothing"
    known = "; ".join(f"{layout.__name__.split('.')[-1]} ({layout.NEEDS})" for layout in layouts)
    raise DepthRosError(f"no known recording in '{path}': found {found}; known layouts are {known}")
