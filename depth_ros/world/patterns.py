"""Building blocks of textures, and textures that are used both outdoors and indoors.

A texture is a function of `SurfacePoints` (P pixels) to their unlit colour (P, 3), float32 in [0, 1]. It depends only
on the coordinates on the face. Details finer than a pixel fade to their mean, which avoids aliasing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Value = np.ndarray | float

NOISE_TILE = np.random.default_rng(7).uniform(-1, 1, (256, 256)).astype(np.float32)
"""White noise in [-1, 1], looked up by textures and value noise; it repeats after 256 cells."""

OCTAVES = 6
"""Octaves of value noise: three coarse and three fine ones."""


@dataclass(frozen=True)
class Road:
    """A road whose centre line is an arc that starts at the origin in the direction of x.

    curvature: 1/m, positive to the left. half_width: m to the kerb. marked: white centre and edge lines.
    """

    curvature: float
    half_width: float
    marked: bool

    def coordinates(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Arc length along the centre line and offset to its left, m, of world points."""
        radius = 1 / self.curvature
        side = np.sign(radius)
        return radius * np.arctan2(side * x, side * (radius - y)), radius - side * np.hypot(x, radius - y)


STRAIGHT = Road(1e-4, 3.5, True)
"""Placeholder for scenes without a road."""


@dataclass(frozen=True)
class SurfacePoints:
    """Points on faces that share a texture, one per pixel.

    u, v: (P,) m from the lower left corner of the face; du, dv: (P,) m covered by a pixel; width, height:
    (P,) m, of the face; seed: (P,) int; coarse, fine: (P,) noise of low and high frequency, in about [-1, 1];
    a, b, c: (P, 3) colours of the material; road: the road of the scene.
    """

    u: np.ndarray
    v: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    width: np.ndarray
    height: np.ndarray
    seed: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    road: Road = STRAIGHT


Texture = Callable[[SurfacePoints], np.ndarray]


def value_noise(
    u: np.ndarray, v: np.ndarray, du: np.ndarray, dv: np.ndarray, seed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coarse and fine value noise (H, W) float32 of 0.5 to 2 and 4 to 16 cycles/m; octaves below a pixel fade out."""
    pixel = np.sqrt(du * dv)
    sums = [np.zeros_like(u), np.zeros_like(u)]
    for k in range(OCTAVES):
        cells = 0.7 * 2.3**k
        weight = 0.75 ** (k % 3) * np.clip(1.6 - 1.6 * pixel * cells, 0, 1)
        x, y = u * cells + 37 * seed, v * cells + (11 * seed + 29 * k)
        x, y = x - 256 * np.floor(x / 256), y - 256 * np.floor(y / 256)
        sums[k // 3] += weight * cv2.remap(NOISE_TILE, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return sums[0] * 0.8, sums[1] * 0.8


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Linear interpolation from a to b (..., 3) by `weight` (...)."""
    return a + (b - a) * weight[..., None]


def cell_noise(i: np.ndarray, j: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """A random number in [-1, 1] for each cell (i, j)."""
    return NOISE_TILE[i.astype(np.int32) & 255, (j.astype(np.int32) + 57 * seed) & 255]


def inside(x: np.ndarray, low: Value, high: Value, pixel: np.ndarray) -> np.ndarray:
    """Fraction of the pixel at x that lies between `low` and `high`."""
    return np.clip((np.minimum(x - low, high - x)) / pixel + 0.5, 0, 1)


def lines(x: np.ndarray, period: Value, thickness: float, pixel: np.ndarray) -> np.ndarray:
    """Fraction of a pixel covered by lines at multiples of `period`; the mean where they are finer than a pixel."""
    distance = np.abs(x - np.round(x / period) * period)
    coverage = np.clip((thickness / 2 - distance) / pixel + 0.5, 0, 1)
    blur = np.clip(2 * pixel / period - 0.5, 0, 1)
    return coverage * (1 - blur) + blur * thickness / period


def with_grain(colour: np.ndarray, s: SurfacePoints, coarse: float, fine: float) -> np.ndarray:
    """The colour (P, 3) with coarse and fine noise of the given amplitudes."""
    return colour * (1 + coarse * s.coarse + fine * s.fine)[:, None]


def plain(s: SurfacePoints) -> np.ndarray:
    """One colour with a little grain."""
    return with_grain(s.a, s, 0.06, 0.06)


def tiles(s: SurfacePoints) -> np.ndarray:
    """Square tiles with joints: pavements, bathroom walls, floors."""
    period = 0.3 + 0.1 * (s.seed % 4)
    shade = 0.12 * cell_noise(np.floor(s.u / period), np.floor(s.v / period), s.seed)
    shade *= np.clip(1.5 - 2 * np.maximum(s.du, s.dv) / period, 0, 1)
    joint = np.maximum(lines(s.u, period, 0.02, s.du), lines(s.v, period, 0.02, s.dv))
    return mix(with_grain(s.a, s, 0.08, 0.12) * (1 + shade)[:, None], s.b, joint)


def checks(s: SurfacePoints) -> np.ndarray:
    """Chequerboard of two colours."""
    period = 0.2 + 0.1 * (s.seed % 3)
    even = np.mod(np.floor(s.u / period) + np.floor(s.v / period), 2)
    even = 0.5 + (even - 0.5) * np.clip(1.5 - 2 * np.maximum(s.du, s.dv) / period, 0, 1)
    return with_grain(mix(s.a, s.b, even), s, 0.08, 0.08)


def brick(s: SurfacePoints) -> np.ndarray:
    """Rows of bricks of varying tone, with joints."""
    row = np.floor(s.v / 0.09)
    u = s.u + 0.125 * np.mod(row, 2)
    near = np.clip(1.5 - np.maximum(s.du, s.dv) / 0.09, 0, 1)
    tone = 0.2 * near * cell_noise(np.floor(u / 0.25), row, s.seed)
    joint = np.maximum(lines(u, 0.25, 0.015, s.du), lines(s.v, 0.09, 0.015, s.dv))
    return mix(with_grain(s.a, s, 0.10, 0.12) * (1 + tone)[:, None], s.b, joint)


def plaster(s: SurfacePoints) -> np.ndarray:
    """One colour with stains of another."""
    return with_grain(mix(s.a, s.b, np.clip(s.coarse * 0.4, 0, 1)), s, 0.05, 0.1)


def wood(s: SurfacePoints) -> np.ndarray:
    """Wavy grain between two tones."""
    rings = np.sin(2 * np.pi * (s.v * 11 + 0.9 * np.sin(0.8 * s.u + s.seed) + 0.25 * s.coarse))
    fade = np.clip(1.5 - 22 * s.dv, 0, 1)
    return with_grain(mix(s.a, s.b, 0.5 + 0.22 * rings * fade + 0.3 * s.fine), s, 0.05, 0.1)
