"""Meshes of every format that simulators use, as triangles with materials: one file a format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.rendering.meshes import collada, gltf, obj, stl
from depth_ros.rendering.scene import Mesh

READERS: dict[str, Callable[[Path], Mesh]] = {
    ".dae": collada.read,
    ".glb": gltf.read,
    ".gltf": gltf.read,
    ".obj": obj.read,
    ".stl": stl.read,
}


def read_mesh(file: Path) -> Mesh:
    """The parts of a mesh file, in metres, axes as stored. Raises DepthRosError if it cannot be read or is empty."""
    read = READERS.get(file.suffix.lower())
    if read is None:
        raise DepthRosError(
            f"{file}: meshes are read from {', '.join(READERS)}; convert it, e.g. with Blender"
        )
    try:
        mesh = tuple(part for part in read(file) if len(part.corners))
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DepthRosError(f"{file} cannot be read: {error!r}") from error
    if not mesh:
        raise DepthRosError(f"{file} has no triangles")
    return mesh


def stored_up(file: Path) -> np.ndarray:
    """Rotation (4, 4) that makes z the vertical axis: of glTF and, where it says so, COLLADA. Others are taken as z up,
    as in ROS and Gazebo."""
    axis = {".glb": "y", ".gltf": "y", ".dae": "z"}.get(file.suffix.lower(), "z")
    return up(collada.up_axis(file) if file.suffix.lower() == ".dae" else axis)


def up(axis: str) -> np.ndarray:
    """Rotation (4, 4) from a frame with this vertical axis, x, y or z, to one with z."""
    T = np.eye(4)
    if axis == "y":
        T[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    elif axis == "x":
        T[:3, :3] = [[0, 0, -1], [0, 1, 0], [1, 0, 0]]
    return T
