"""Planes of a scene: flat parts of its meshes, and those that a frame shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depth_ros.datatypes import Planes
from depth_ros.rendering.scene import Mesh

MAX_PLANES, MIN_AREA = 256, 0.01
"""Maximum number of planes of a mesh, and the smallest one, m2."""
MAX_DISTANCE, MIN_COSINE = 0.005, np.cos(np.radians(2.0))
"""Of the corners, m, and the normal of a triangle from its plane."""
MERGE_DISTANCE = 0.01
"""Planes of an object are one if their offsets differ by less, m, and their normals by less than MIN_COSINE allows."""
NORMAL_STEP, OFFSET_STEP = 0.05, 0.02
"""Rounding by which triangles that may be coplanar are found; offset in m."""
MIN_PIXELS = 50
"""Smallest plane of a frame, px."""


def mesh_planes(mesh: Mesh, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Plane of every triangle of a mesh, (N,), 0 = none, and equations (P, 4) of planes 1 to P: n . X + d = 0.

    scale: metres per unit of the mesh. Triangles are grouped by rounded normal and offset; the largest one of each
    group, the group of the largest area first, gives a plane that takes all triangles close to it.
    """
    corners = np.concatenate([part.corners for part in mesh])
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(cross, axis=1)
    normals = cross / np.maximum(length, 1e-12)[:, None]
    lowest = np.argmax(np.abs(normals) > 1e-3, axis=1)  # both sides of a sheet are one plane
    normals *= np.where(np.take_along_axis(normals, lowest[:, None], 1) < 0, -1, 1)
    offsets = -(normals * corners[:, 0]).sum(1)
    rounded = np.round(np.column_stack([normals / NORMAL_STEP, offsets * scale / OFFSET_STEP])).astype(int)
    _, group = np.unique(rounded, axis=0, return_inverse=True)
    area = length / 2 * scale**2
    areas = np.bincount(group.reshape(-1), area)
    planes, equations = np.zeros(len(corners), int), []
    for candidate in np.argsort(-areas)[:MAX_PLANES]:
        members = np.flatnonzero((group.reshape(-1) == candidate) & (planes == 0))
        if area[members].sum() < MIN_AREA:
            continue
        largest = members[np.argmax(area[members])]
        normal, offset = normals[largest], offsets[largest]
        for _ in range(2):  # of the largest triangle, then of those close to it
            off = np.abs(corners @ normal + offset).max(1) * scale
            flat = (planes == 0) & (off < MAX_DISTANCE) & (normals @ normal > MIN_COSINE)
            if area[flat].sum() < MIN_AREA:  # curved: none is close to the mean
                break
            normal = (area[flat, None] * normals[flat]).sum(0)
            normal = normal / np.linalg.norm(normal)
            offset = -float(np.average(corners[flat].mean(1) @ normal, weights=area[flat]))
        if area[flat].sum() >= MIN_AREA:
            equations.append([*normal, offset])
            planes[flat] = len(equations)
    return planes, np.array(equations).reshape(-1, 4)


def transformed_planes(equations: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Equations (N, 4) of planes that T (4, 4), which may scale, moves; unit normals."""
    moved = equations @ np.linalg.inv(T)
    return moved / np.linalg.norm(moved[:, :3], axis=1, keepdims=True)


def visible_equations(
    numbers: np.ndarray, owners: Sequence[int], equations: np.ndarray, T_world_camera: np.ndarray
) -> Planes:
    """Planes of a frame: those of at least MIN_PIXELS, in the camera frame.

    numbers: (H, W) index in `equations` (N, 4), of the world, -1 = none. owners: (N,) label of the object of each
    plane; coplanar ones of an object become one.
    """
    found = transformed_planes(equations, np.linalg.inv(T_world_camera))
    found[found[:, 3] < 0] *= -1  # normals point to the camera
    shown = np.unique(numbers[numbers >= 0])
    row = np.full(len(equations) + 1, -1, np.int32)
    kept: list[int] = []
    for number in shown:
        same = [
            k
            for k, other in enumerate(kept)
            if owners[other] == owners[number]
            and found[other, :3] @ found[number, :3] > MIN_COSINE
            and abs(found[other, 3] - found[number, 3]) < MERGE_DISTANCE
        ]
        row[number] = same[0] if same else len(kept)
        kept += [] if same else [int(number)]
    labels = row[numbers]
    count = np.bincount(labels[labels >= 0], minlength=len(kept))
    large = np.flatnonzero(count >= MIN_PIXELS)
    final = np.full(len(kept) + 1, -1, np.int32)
    final[large] = np.arange(len(large))
    return Planes(final[labels], found[[kept[k] for k in large]].reshape(-1, 4))
