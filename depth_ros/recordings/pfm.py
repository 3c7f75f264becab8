"""Portable float maps, the format of disparity in Middlebury, ETH3D and SceneFlow."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.recordings.sample import DamagedFrame

_HEADER = re.compile(rb"(P[fF])\s+(\d+)\s+(\d+)\s+([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s")


def read_pfm(file: Path) -> np.ndarray:
    """(H, W) float32 as stored, first row at the top; where a value is unknown, it is infinite.

    The sign of the scale in the header is the byte order. Its absolute value is ignored, as the Middlebury benchmark
    states; OpenCV multiplies by it, which is wrong for these files (1 / maximum disparity in those of Middlebury).
    Raises DamagedFrame for a truncated file, DepthRosError for one that is no map of one channel.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DamagedFrame(f"{file} cannot be read: {error.strerror}") from error
    header = _HEADER.match(data)
    if header is None or header[1] != b"Pf":
        raise DepthRosError(f"{file} is no portable float map of one channel: its first line must be Pf")
    width, height, scale = int(header[2]), int(header[3]), float(header[4])
    expected, got = 4 * width * height, len(data) - header.end()
    if got < expected:
        raise DamagedFrame(f"{file} is damaged ({got} of {expected} bytes of pixels): restore or delete it")
    values = np.frombuffer(data, "<f4" if scale < 0 else ">f4", width * height, header.end())
    return np.flipud(values.reshape(height, width)).astype(np.float32)  # the last row is stored first
