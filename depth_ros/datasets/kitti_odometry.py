"""KITTI odometry: calib.txt, left/ and right/ (grey or colour), poses.txt, 10 Hz.

calib.txt holds a 3x4 projection matrix a row, left then right, of the rectified images; the baseline is
-P_right[0, 3] / P_right[0, 0]. Lines may carry the published labels (`P0: ...`).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_ros.datasets.files import images_in
from depth_ros.datasets.folder import Recording
from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError

NEEDS = "calib.txt and left/"
_RATE = 10.0


def fits(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / "calib.txt").is_file() and bool(images_in(path / "left"))


def read(path: Path) -> Recording:
    """The recording in a folder of this layout."""
    file = path / "calib.txt"
    try:
        lines = [line.split(":")[-1].split() for line in file.read_text().splitlines() if line.strip()]
        left, right = (np.array(line, float).reshape(3, 4) for line in lines[:2])
    except (OSError, ValueError) as error:
        raise DepthRosError(f"{file} must hold two rows of 12 numbers, left then right: {error}") from error
    first = next(iter(images_in(path / "left").values()))
    image = cv2.imread(str(first), cv2.IMREAD_GRAYSCALE)  # calib.txt does not say the size
    if image is None:
        raise DepthRosError(f"{first} is damaged: restore or delete it")
    height, width = image.shape
    camera = Camera.pinhole(width, height, left[0, 0], left[1, 1], left[0, 2], left[1, 2])
    return Recording(path, "kitti_odometry", camera, -right[0, 3] / right[0, 0], _RATE)
