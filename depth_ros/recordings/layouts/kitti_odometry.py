"""KITTI odometry: calib.txt, left/ and right/ (grey or colour), poses.txt, 10 Hz; or sequences/NN as published.

calib.txt holds one 3x4 projection matrix of the rectified images per row, left then right; the baseline is
-P_right[0, 3] / P_right[0, 0]. Rows may have the published labels (`P0: ...`). A published sequence has four rows,
image_0 to image_3 (the colour pair is preferred), times.txt, and the poses of camera 0 in ../../poses/NN.txt.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.recordings.files import FIRST_STAMP, NS, images_in, read_rows
from depth_ros.recordings.layouts.folder import CameraFile, Layout, Recording
from depth_ros.recordings.options import RecordingOptions

REQUIRED = "calib.txt and left/ or image_2/"
_RATE = 10.0  # Hz

_PAIRS = (("left", "right", 0), ("image_2", "image_3", 2), ("image_0", "image_1", 0))
"""Folders of the left and right images, and the row of the left one in calib.txt."""


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / "calib.txt").is_file() and any(images_in(path / left) for left, _, _ in _PAIRS)


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    file = path / "calib.txt"
    left, right, row = next(pair for pair in _PAIRS if images_in(path / pair[0]))
    try:
        lines = [line.split(":")[-1].split() for line in file.read_text().splitlines() if line.strip()]
        P, P_right = (np.array(line, float).reshape(3, 4) for line in lines[row : row + 2])
    except (OSError, ValueError) as error:
        raise DepthRosError(f"{file} must hold rows of 12 numbers, left then right: {error}") from error
    first = next(iter(images_in(path / left).values()))
    image = cv2.imread(str(first), cv2.IMREAD_GRAYSCALE)  # calib.txt has no image size
    if image is None:
        raise DepthRosError(f"{first} is damaged: restore or delete it")
    height, width = image.shape
    T_0_left = np.eye(4)
    T_0_left[:3, 3] = -np.linalg.solve(P[:, :3], P[:, 3])
    baseline = (P[0, 3] - P_right[0, 3]) / P[0, 0]
    calibration = CameraFile(
        width, height, P[0, 0], P[1, 1], P[0, 2], P[1, 2], baseline=baseline, rate_hz=_RATE, depth_scale=1.0
    )
    sequence = path.absolute()
    published_poses = sequence.parent.parent / "poses" / f"{sequence.name}.txt"
    poses = Path("poses.txt") if left == "left" else published_poses
    recording = Recording(path, calibration, Layout("kitti_odometry", left, right, poses, T_0_left))
    if (path / "times.txt").is_file():
        times = read_rows(path / "times.txt", (1,))[: len(recording)]
        recording.stamps = [FIRST_STAMP + round(NS * float(seconds)) for (seconds,) in times]
    return recording
