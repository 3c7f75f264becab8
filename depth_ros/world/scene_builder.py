"""Helpers to build scenes: collection of solids and bodies, random colours, poses and motions."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from depth_ros.world.shapes import Material, Mesh, Size, Solid, box_planes

T = TypeVar("T")


def choose(rng: np.random.Generator, items: Sequence[T], p: Sequence[float] | None = None) -> T:
    """A random item of any type (`rng.choice` would convert the items to an array)."""
    return items[rng.choice(len(items), p=p)]


def random_colour(
    rng: np.random.Generator, hue: tuple, saturation: tuple, value: tuple
) -> tuple[float, float, float]:
    """A random RGB colour between the given bounds of hue, saturation and value."""
    return colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))


def transform(
    x: float, y: float, z: float, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0
) -> np.ndarray:
    """(4, 4) pose from position (m) and rotation about z, y, x (rad; REP-103: positive pitch is nose down)."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, x],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, y],
        [-sp, cp * sr, cp * cr, z],
        [0, 0, 0, 1],
    ])  # fmt: skip


def random_sines(
    rng: np.random.Generator, amplitude: float, max_period: float, min_period: float
) -> Callable[[float], float]:
    """A smooth random function of time: three sines with periods between `min_period` and `max_period` s."""
    rates = 2 * np.pi / rng.uniform(min_period, max_period, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    return lambda t: amplitude * float(np.sin(rates * t + phases).sum()) / 2


class SceneBuilder:
    """Collects the solids and the rigid bodies of a scene. Body 0 is the world itself."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.solids: list[Solid] = []
        self.bodies: list[Callable[[float], np.ndarray]] = [lambda t: np.eye(4)]

    def add_solid(
        self, planes: np.ndarray, size: Size, T: np.ndarray, *materials: Material, body: int = 0
    ) -> None:
        """Add a solid. The last material is used for all remaining faces."""
        materials = materials + (materials[-1],) * (len(planes) - len(materials))
        seed = int(self.rng.integers(1000))
        self.solids.append(Solid(planes, np.asarray(size, float), T, materials, body, seed))

    def add_box(self, size: Size, T: np.ndarray, *materials: Material, body: int = 0) -> None:
        """Add a box. Materials are in the order +x -x +y -y +z -z; the last one is used for all remaining faces."""
        self.add_solid(box_planes(size), size, T, *materials, body=body)

    def add_body(self, pose: Callable[[float], np.ndarray]) -> int:
        """Add a moving body. pose: time (s) -> T_world_body (4, 4). Returns its index."""
        self.bodies.append(pose)
        return len(self.bodies) - 1

    def mesh(self) -> Mesh:
        """The mesh of all solids added so far."""
        return Mesh.of(self.solids)
