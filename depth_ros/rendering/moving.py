"""Objects that move over the floor, back and forth on straight lines across the view of a drive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.rendering.clutter import Object
from depth_ros.rendering.free_space import FreeSpace
from depth_ros.rendering.settings import SceneSettings

TRIES = 300
"""Lines that are tried for an object."""
AHEAD, ASIDE, HALF_LENGTH = (1.0, 4.0), 1.5, (0.4, 1.5)
"""Middle of a line relative to a camera of the drive, and half its length, m."""
SPEED = (0.2, 1.0)
"""m/s"""
MARGIN = 0.3
"""Distance kept from the camera and from obstacles, m."""


@dataclass(frozen=True)
class Moving:
    """An object that starts at start (3,) m, on the floor, moves by way (3,) m and back. speed: m/s. It turns around
    within no time; its velocity is constant in between."""

    each: Object
    start: np.ndarray
    way: np.ndarray
    speed: float

    def at(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """T_world_mesh (4, 4) and velocity (3,) m/s in the world."""
        length = float(np.linalg.norm(self.way))
        travelled = self.speed * seconds % (2 * length)
        forth = travelled < length
        fraction = travelled / length if forth else 2 - travelled / length
        T = np.eye(4)
        middle = (self.each.low + self.each.high) / 2
        T[:3, 3] = self.start + fraction * self.way - [middle[0], middle[1], self.each.low[2]]
        return T, (1 if forth else -1) * self.speed / length * self.way


def place_moving(
    space: FreeSpace, objects: Sequence[Object], settings: SceneSettings, poses: Sequence[np.ndarray]
) -> list[Moving]:
    """`settings.moving` objects for a drive with these poses (T_world_camera). Raises DepthRosError if it is no drive,
    or if there is no room for an object."""
    if not settings.moving:
        return []
    if settings.views != "drive" or not objects:
        raise DepthRosError("--moving needs --views drive, and small objects in the scene or --objects")
    rng = np.random.default_rng([settings.seed, 10])
    placed: list[Moving] = []
    for _ in range(TRIES * settings.moving):
        if len(placed) == settings.moving:
            return placed
        found = _draw(
            space, objects[int(rng.integers(len(objects)))], poses[int(rng.integers(len(poses)))], rng
        )
        if found is not None and _keeps_off(found, placed, settings, poses):
            placed.append(found)
    raise DepthRosError(
        f"there is room for {len(placed)} moving objects only: lower --moving, or change --seed"
    )


def _draw(
    space: FreeSpace, each: Object, T_world_camera: np.ndarray, rng: np.random.Generator
) -> Moving | None:
    """An object on a line over free floor ahead of a camera; None if the line drawn is not free."""
    radius = _radius(each)
    middle = T_world_camera[:3, 3] + rng.uniform(*AHEAD) * T_world_camera[:3, 2]
    middle = middle + rng.uniform(-ASIDE, ASIDE) * T_world_camera[:3, 0]
    height = space.floor + max(float(each.high[2] - each.low[2]) / 2, 3 * space.cell)
    middle[2] = height
    angle, half = rng.uniform(0, 2 * np.pi), rng.uniform(*HALF_LENGTH)
    direction = np.array([np.cos(angle), np.sin(angle), 0.0])
    along = middle + np.linspace(-half, half, 16)[:, None] * direction
    below = [space.surface_below(point) for point in along[::5]]
    on_floor = all(level and abs(z - space.floor) < 0.02 for z, level in below)
    sideways = np.array([-direction[1], direction[0], 0.0])
    corridor = np.concatenate([along + s * sideways for s in (-radius, 0.0, radius)])
    if not on_floor or (space.clearance(corridor) < min(MARGIN, 2 * space.cell)).any():
        return None
    start = middle - half * direction
    start[2] = space.floor
    return Moving(each, start, 2 * half * direction, rng.uniform(*SPEED))


def _keeps_off(
    moving: Moving, others: Sequence[Moving], settings: SceneSettings, poses: Sequence[np.ndarray]
) -> bool:
    """Whether an object neither touches the camera nor another object at any frame."""
    for number, T in enumerate(poses):
        position = moving.at(number / settings.rate)[0][:2, 3]
        if np.linalg.norm(position - T[:2, 3]) < _radius(moving.each) + MARGIN + settings.clearance:
            return False
        for other in others:
            apart = np.linalg.norm(position - other.at(number / settings.rate)[0][:2, 3])
            if apart < _radius(moving.each) + _radius(other.each):
                return False
    return True


def _radius(each: Object) -> float:
    return float(np.linalg.norm((each.high - each.low)[:2])) / 2
