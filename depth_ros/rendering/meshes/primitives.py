"""Triangles of the geometric shapes of SDF, around the origin, with texture coordinates in metres."""

from __future__ import annotations

import numpy as np

SEGMENTS = 32
"""Around a cylinder, cone or sphere."""
Triangles = tuple[np.ndarray, np.ndarray]
"""corners (N, 3, 3) m and uv (N, 3, 2)."""


def plane(size: np.ndarray, normal: np.ndarray) -> Triangles:
    """A rectangle of size (2,) m through the origin with this normal (3,)."""
    corners, uv = _grid(
        np.array([-0.5, 0.5]), np.array([-0.5, 0.5]), lambda u, v: (u * size[0], v * size[1], 0 * u)
    )
    z = normal / np.linalg.norm(normal)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    return corners @ np.stack([x, np.cross(z, x), z]), uv * size


def box(size: np.ndarray) -> Triangles:
    """A cuboid of size (3,) m."""
    corners, uv = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = np.zeros(3)
            normal[axis] = sign
            sides = [size[k] for k in range(3) if k != axis]
            face, face_uv = _grid(np.array([-0.5, 0.5]), np.array([-0.5, 0.5]), lambda u, v: (u, v, 0 * u))
            placed = np.zeros(face.shape)
            first, second = ((axis + 1) % 3, (axis + 2) % 3) if sign > 0 else ((axis + 2) % 3, (axis + 1) % 3)
            placed[..., first], placed[..., second] = face[..., 0] * size[first], face[..., 1] * size[second]
            corners.append(placed + normal * size[axis] / 2)
            uv.append(face_uv * sides)
    return np.concatenate(corners), np.concatenate(uv)


def sphere(radii: np.ndarray) -> Triangles:
    """An ellipsoid with these radii (3,) m."""
    around, up = (
        np.linspace(0, 2 * np.pi, SEGMENTS + 1),
        np.linspace(-np.pi / 2, np.pi / 2, SEGMENTS // 2 + 1),
    )
    return _grid(around, up, lambda a, b: (
        radii[0] * np.cos(b) * np.cos(a), radii[1] * np.cos(b) * np.sin(a), radii[2] * np.sin(b)
    ))  # fmt: skip


def cylinder(bottom: float, top: float, length: float) -> Triangles:
    """A closed cylinder along z; a cone with the top radius 0. bottom, top, length: m."""
    around = np.linspace(0, 2 * np.pi, SEGMENTS + 1)
    along = np.array([0.0, 1.0, 2.0, 3.0])
    radius, height = np.array([0.0, bottom, top, 0.0]), np.array([-0.5, -0.5, 0.5, 0.5]) * length
    return _grid(around, along, lambda a, b: (
        radius[b.astype(int)] * np.cos(a), radius[b.astype(int)] * np.sin(a), height[b.astype(int)]
    ))  # fmt: skip


def capsule(radius: float, length: float) -> Triangles:
    """A cylinder of this length along z with half spheres at its ends, m."""
    corners, uv = sphere(np.full(3, radius))
    middle = corners[..., 2].mean(1, keepdims=True) > 0
    corners[..., 2] += np.where(middle, length / 2, -length / 2)
    side, side_uv = cylinder(radius, radius, length)
    return np.concatenate([corners, side]), np.concatenate([uv, side_uv])


def _grid(u: np.ndarray, v: np.ndarray, surface) -> Triangles:  # type: ignore[no-untyped-def]
    """Two triangles for each cell of a grid on a surface (u, v) -> x, y, z; those without an area are left out."""
    U, V = np.meshgrid(u, v, indexing="ij")
    points = np.stack(surface(U, V), -1)
    uv = np.stack([U - u[0], V - v[0]], -1)
    a, b, c, d = (slice(0, -1), slice(0, -1)), (slice(1, None), slice(0, -1)), (slice(1, None), slice(1, None)), (
        slice(0, -1), slice(1, None))  # fmt: skip

    def triangles(values: np.ndarray) -> np.ndarray:
        lower, upper = (
            np.stack([values[a], values[b], values[c]], 2),
            np.stack([values[a], values[c], values[d]], 2),
        )
        return np.concatenate(
            [lower.reshape(-1, 3, values.shape[-1]), upper.reshape(-1, 3, values.shape[-1])]
        )

    corners = triangles(points)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return corners[area > 0], triangles(uv)[area > 0]
