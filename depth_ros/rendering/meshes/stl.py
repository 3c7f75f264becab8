"""STL, binary or ASCII: triangles without colour."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from depth_ros.rendering.scene import Mesh, Part

_HEADER = 80
"""Bytes before the number of triangles in a binary file."""
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read(file: Path) -> Mesh:
    """The triangles of a file, as one part. Raises OSError or ValueError."""
    data = file.read_bytes()
    count = int.from_bytes(data[_HEADER : _HEADER + 4], "little")
    if len(data) == _HEADER + 4 + count * _TRIANGLE.itemsize:
        corners = np.frombuffer(data, _TRIANGLE, count, _HEADER + 4)["corners"]
        return (Part(corners.astype(float)),)
    numbers = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", data)
    return (Part(np.array(numbers, float).reshape(-1, 3, 3)),)
