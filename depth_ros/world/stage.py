"""What streets and rooms are built with: a stage for solids, random colours, poses and motions."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from depth_ros.world.shapes import Mesh, Paint, Size, Solid, box_planes

T = TypeVar("T")


def pick(rng: np.random.Generator, items: Sequence[T], p: Sequence[float] | None = None) -> T:
    """One of `items`, which stay what they are (`rng.choice` makes an array of them)."""
    return items[rng.choice(len(items), p=p)]


def hsv(rng: np.random.Generator, hue: tuple, saturation: tuple, value: tuple) -> tuple[float, float, float]:
    """A random colour between the given bounds of hue, saturation and value."""
    return colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))


def transform(
    x: float, y: float, z: float, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0
) -> np.ndarray:
    """(4, 4) of a place and the angles about z, y, x (REP-103: pitch positive is nose down)."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, x],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, y],
        [-sp, cp * sr, cp * cr, z],
        [0, 0, 0, 1],
    ])  # fmt: skip


def wobble(
    rng: np.random.Generator, amplitude: float, slowest: float, quickest: float
) -> Callable[[float], float]:
    """A smooth random function of time: three sines with periods between `quickest` and `slowest` s."""
    rates = 2 * np.pi / rng.uniform(quickest, slowest, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    return lambda t: amplitude * float(np.sin(rates * t + phases).sum()) / 2


class Stage:
    """Collects the solids and the moving bodies of a scene; body 0 is the world itself."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.solids: list[Solid] = []
        self.bodies: list[Callable[[float], np.ndarray]] = [lambda t: np.eye(4)]

    def add(self, planes: np.ndarray, size: Size, T: np.ndarray, *paints: Paint, body: int = 0) -> None:
        """A solid whose last paint serves all remaining faces."""
        paints = paints + (paints[-1],) * (len(planes) - len(paints))
        seed = int(self.rng.integers(1000))
        self.solids.append(Solid(planes, np.asarray(size, float), T, paints, body, seed))

    def box(self, size: Size, T: np.ndarray, *paints: Paint, body: int = 0) -> None:
        """A box; paints in the order +x -x +y -y +z -z, the last one for all that remain."""
        self.add(box_planes(size), size, T, *paints, body=body)

    def moving(self, pose: Callable[[float], np.ndarray]) -> int:
        """The number of a new body whose T_world_body at a time in s is `pose`."""
        self.bodies.append(pose)
        return len(self.bodies) - 1

    def mesh(self) -> Mesh:
        """All solids so far."""
        return Mesh.of(self.solids)
