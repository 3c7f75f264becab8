"""Objects put into a view: where they stand free, on the floor or on furniture, in front of the camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_ros.geometry import rays
from depth_ros.rendering.free_space import FreeSpace
from depth_ros.rendering.scene import Mesh, Scene, extent
from depth_ros.rendering.settings import SceneSettings

SIZES = (0.05, 0.8)
"""Largest extents of objects of a scene that serve as clutter, m."""
TRIES = 6
"""Places that are tried for an object."""
NEAREST, FARTHEST = 0.2, 6.0
"""Distance from the camera, m."""


@dataclass(frozen=True)
class Object:
    """A mesh that may stand anywhere; low, high: its extent (3,) m."""

    mesh: str
    low: np.ndarray
    high: np.ndarray


def movable_objects(scene: Scene) -> list[Object]:
    """The objects of a scene that are small enough to stand anywhere, each mesh once."""
    objects: dict[str, Object] = {}
    for each in scene.instances:
        scale = np.linalg.norm(each.T_world_mesh[:3, :3], axis=0)
        low, high = extent(scene.meshes[each.mesh])
        size = float(((high - low) * scale).max())
        if np.allclose(scale, 1.0, atol=1e-3) and SIZES[0] < size < SIZES[1]:
            objects.setdefault(each.mesh, Object(each.mesh, low, high))
    return list(objects.values())


def extra_objects(meshes: dict[str, Mesh]) -> list[Object]:
    """Objects of given meshes, of any size."""
    return [Object(key, *extent(mesh)) for key, mesh in meshes.items()]


def place_clutter(
    space: FreeSpace,
    objects: Sequence[Object],
    settings: SceneSettings,
    T_world_camera: np.ndarray,
    number: int,
) -> list[tuple[str, np.ndarray]]:
    """Mesh and T_world_mesh (4, 4) of up to `settings.clutter` objects in front of the camera."""
    rng = np.random.default_rng([settings.seed, number, 5])
    placed: list[tuple[str, np.ndarray]] = []
    occupied: list[tuple[np.ndarray, float]] = []
    camera = settings.camera
    for _ in range(int(rng.integers(0, settings.clutter + 1)) * TRIES if objects else 0):
        if len(placed) == settings.clutter:
            break
        each = objects[int(rng.integers(len(objects)))]
        ray = rays(camera)[rng.integers(camera.height), rng.integers(camera.width)].astype(float)
        direction = T_world_camera[:3, :3] @ ray / np.linalg.norm(ray)
        seen = min(float(space.trace(T_world_camera[:3, 3], direction[None], FARTHEST)[0]), FARTHEST)
        point = T_world_camera[:3, 3] + direction * seen * rng.uniform(0.5, 0.98)
        height, level = space.surface_below(point)
        T = _upright(each, rng)
        radius = float(np.linalg.norm((each.high - each.low)[:2])) / 2
        centre = np.array([*point[:2], height + (each.high - each.low)[2] / 2 + 0.05])
        distance = float(np.linalg.norm(centre - T_world_camera[:3, 3]))
        free = all(np.linalg.norm(centre - c) > radius + r for c, r in occupied)
        stands = level and 0 <= point[2] - height < 1.5 and free and distance > radius + NEAREST
        if stands and space.clearance(centre) > 0.8 * min(radius, float((each.high - each.low)[2]) / 2):
            T[:3, 3] += [*point[:2], height - each.low[2]]
            placed.append((each.mesh, T))
            occupied.append((centre, radius))
    return placed


def _upright(each: Object, rng: np.random.Generator) -> np.ndarray:
    """A rotation about the vertical through the object's middle, which moves to the origin."""
    angle = rng.uniform(-math.pi, math.pi)
    T = np.eye(4)
    T[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    middle = (each.low + each.high) / 2
    T[:2, 3] = -T[:2, :2] @ middle[:2]
    return T
