"""Cars: a body, a cabin with windows and roof, four wheels, a dark patch below."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depth_ros.world import outdoors, patterns
from depth_ros.world.shapes import Paint, prism_planes, tapered_planes
from depth_ros.world.stage import Stage, hsv, transform

Place = Callable[[float], np.ndarray] | np.ndarray
"""T_world_car (4, 4) of a parked car, or a function of time for a moving one; x forward."""


def add_car(stage: Stage, place: Place) -> None:
    """A car or, now and then, a van."""
    rng = stage.rng
    body, base = (stage.moving(place), np.eye(4)) if callable(place) else (0, place)
    van = rng.random() < 0.15
    length, width = (rng.uniform(4.6, 5.6), 1.95) if van else (rng.uniform(3.6, 4.7), rng.uniform(1.62, 1.85))
    waist, top = (1.15, rng.uniform(1.9, 2.4)) if van else (rng.uniform(0.8, 0.95), rng.uniform(1.38, 1.6))
    lacquer = hsv(rng, (0, 1), (0, 0.15) if rng.random() < 0.65 else (0.5, 0.9), (0.06, 0.9))
    dark, white, red = (0.12, 0.14, 0.16), (0.9, 0.9, 0.85), (0.6, 0.05, 0.05)
    front, back = (Paint(outdoors.car_end, (lacquer, dark, lamp)) for lamp in (white, red))
    side, glass = (Paint(texture, (lacquer, dark, dark)) for texture in (outdoors.paintwork, outdoors.glass))
    plain = Paint(patterns.plain, (lacquer,) * 3)

    size = (length, width, waist - 0.2)
    T = base @ transform(0, 0, 0.2 + size[2] / 2)
    stage.add(tapered_planes(size, 0.12, 0.06, 0.04), size, T, front, back, side, side, plain, body=body)

    size = (length * (0.75 if van else 0.62), width - 0.1, top - waist)
    slope, rear = (0.45, 0.1) if van else (rng.uniform(0.5, 0.8), rng.uniform(0.2, 0.6))
    T = base @ transform(-length * (0.1 if van else rng.uniform(0.04, 0.1)), 0, waist + size[2] / 2)
    stage.add(tapered_planes(size, slope, rear, 0.18), size, T, *[glass] * 4, plain, body=body)

    lid = (size[0] - slope - rear + 0.08, size[1] - 0.30, 0.07)
    T = T @ transform((rear - slope) / 2, 0, size[2] / 2)
    stage.add(tapered_planes(lid, 0.05, 0.05, 0.05), lid, T, plain, body=body)

    _wheels(stage, base, length, width, body)
    shade = Paint(patterns.plain, ((0.05,) * 3,) * 3)
    stage.box((length * 0.98, width, 0.02), base @ transform(0, 0, 0.01), shade, body=body)


def _wheels(stage: Stage, base: np.ndarray, length: float, width: float, body: int) -> None:
    tyre = Paint(patterns.plain, ((0.04,) * 3,) * 3)
    rim = Paint(outdoors.wheel, ((stage.rng.uniform(0.35, 0.75),) * 3,) * 3)
    size = (0.64, 0.2, 0.64)
    planes = prism_planes(size, axis=1, sides=12)
    for x in (0.31, -0.30):
        for y in (1, -1):
            T = base @ transform(x * length, y * (width / 2 - 0.06), 0.32)
            stage.add(planes, size, T, *[tyre] * 12, rim, body=body)
