"""What textures are made of, and those that are used both outdoors and indoors.

A texture is a function of a `Surface` of P pixels: their (P, 3) float32 colour in [0, 1] before light.
It depends on the coordinates on the face only, and details finer than a pixel fade into their mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Value = np.ndarray | float

TILE = np.random.default_rng(7).uniform(-1, 1, (256, 256)).astype(np.float32)
"""White noise that the textures and the value noise look up; it repeats after 256 cells."""

OCTAVES = 6


@dataclass(frozen=True)
class Road:
    """A road whose centre line is an arc through the origin along x. curvature: 1/m, to the left.

    half_width: m to the kerb. marked: whether it has white lines at the centre and both edges.
    """

    curvature: float
    half_width: float
    marked: bool

    def along(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Length along the centre line and offset to its left, m, of world points."""
        radius = 1 / self.curvature
        side = np.sign(radius)
        return radius * np.arctan2(side * x, side * (radius - y)), radius - side * np.hypot(x, radius - y)


STRAIGHT = Road(1e-4, 3.5, True)
"""Stands for the road where a scene has none."""


@dataclass(frozen=True)
class Surface:
    """Pixels that share a texture.

    u, v: (P,) m from the lower left corner of the face; du, dv: (P,) m that a pixel covers; width, height:
    (P,) m of the face; seed: (P,) int; rough, fine: (P,) noise in about [-1, 1], slow and quick;
    a, b, c: (P, 3) the colours of the paint; road: that of the scene, where it has one.
    """

    u: np.ndarray
    v: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    width: np.ndarray
    height: np.ndarray
    seed: np.ndarray
    rough: np.ndarray
    fine: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    road: Road = STRAIGHT


Texture = Callable[[Surface], np.ndarray]


def noise(u: np.ndarray, v: np.ndarray, du: np.ndarray, dv: np.ndarray, seed: np.ndarray) -> tuple:
    """Value noise (H, W) float32, 0.5 to 2 cycles a metre and 4 to 16; octaves below a pixel fade out."""
    pixel = np.sqrt(du * dv)
    sums = [np.zeros_like(u), np.zeros_like(u)]
    for k in range(OCTAVES):
        cells = 0.7 * 2.3**k
        weight = 0.75 ** (k % 3) * np.clip(1.6 - 1.6 * pixel * cells, 0, 1)
        x, y = u * cells + 37 * seed, v * cells + (11 * seed + 29 * k)
        x, y = x - 256 * np.floor(x / 256), y - 256 * np.floor(y / 256)
        sums[k // 3] += weight * cv2.remap(TILE, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return sums[0] * 0.8, sums[1] * 0.8


def mix(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """From a to b (..., 3) by share (...)."""
    return a + (b - a) * share[..., None]


def hashed(i: np.ndarray, j: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """One random number in [-1, 1] for a cell (i, j)."""
    return TILE[i.astype(np.int32) & 255, (j.astype(np.int32) + 57 * seed) & 255]


def inside(x: np.ndarray, low: Value, high: Value, pixel: np.ndarray) -> np.ndarray:
    """Share of the pixel about x that lies between low and high."""
    return np.clip((np.minimum(x - low, high - x)) / pixel + 0.5, 0, 1)


def lines(x: np.ndarray, period: Value, thickness: float, pixel: np.ndarray) -> np.ndarray:
    """Share of a pixel covered by lines at multiples of `period`; their mean where they are too fine."""
    distance = np.abs(x - np.round(x / period) * period)
    share = np.clip((thickness / 2 - distance) / pixel + 0.5, 0, 1)
    blur = np.clip(2 * pixel / period - 0.5, 0, 1)
    return share * (1 - blur) + blur * thickness / period


def grained(colour: np.ndarray, s: Surface, rough: float, fine: float) -> np.ndarray:
    """The colour (P, 3) with slow and quick noise of the given strengths."""
    return colour * (1 + rough * s.rough + fine * s.fine)[:, None]


def plain(s: Surface) -> np.ndarray:
    """One colour with a little grain."""
    return grained(s.a, s, 0.06, 0.06)


def tiles(s: Surface) -> np.ndarray:
    """Square slabs with joints: pavements, bathroom walls, floors."""
    period = 0.3 + 0.1 * (s.seed % 4)
    shade = 0.12 * hashed(np.floor(s.u / period), np.floor(s.v / period), s.seed)
    shade *= np.clip(1.5 - 2 * np.maximum(s.du, s.dv) / period, 0, 1)
    joint = np.maximum(lines(s.u, period, 0.02, s.du), lines(s.v, period, 0.02, s.dv))
    return mix(grained(s.a, s, 0.08, 0.12) * (1 + shade)[:, None], s.b, joint)


def checks(s: Surface) -> np.ndarray:
    """Squares of two colours."""
    period = 0.2 + 0.1 * (s.seed % 3)
    even = np.mod(np.floor(s.u / period) + np.floor(s.v / period), 2)
    even = 0.5 + (even - 0.5) * np.clip(1.5 - 2 * np.maximum(s.du, s.dv) / period, 0, 1)
    return grained(mix(s.a, s.b, even), s, 0.08, 0.08)


def brick(s: Surface) -> np.ndarray:
    """Rows of bricks with joints, each of its own tone."""
    row = np.floor(s.v / 0.09)
    u = s.u + 0.125 * np.mod(row, 2)
    near = np.clip(1.5 - np.maximum(s.du, s.dv) / 0.09, 0, 1)
    tone = 0.2 * near * hashed(np.floor(u / 0.25), row, s.seed)
    joint = np.maximum(lines(u, 0.25, 0.015, s.du), lines(s.v, 0.09, 0.015, s.dv))
    return mix(grained(s.a, s, 0.10, 0.12) * (1 + tone)[:, None], s.b, joint)


def plaster(s: Surface) -> np.ndarray:
    """One colour with stains of another."""
    return grained(mix(s.a, s.b, np.clip(s.rough * 0.4, 0, 1)), s, 0.05, 0.1)


def wood(s: Surface) -> np.ndarray:
    """Wavy grain between two tones."""
    rings = np.sin(2 * np.pi * (s.v * 11 + 0.9 * np.sin(0.8 * s.u + s.seed) + 0.25 * s.rough))
    fade = np.clip(1.5 - 22 * s.dv, 0, 1)
    return grained(mix(s.a, s.b, 0.5 + 0.22 * rings * fade + 0.3 * s.fine), s, 0.05, 0.1)
