"""Cars: a body, a cabin with windows and roof, four wheels, a dark underside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depth_ros.world import outdoors, patterns
from depth_ros.world.scene_builder import SceneBuilder, random_colour, transform
from depth_ros.world.shapes import Material, prism_planes, tapered_planes

CarPose = Callable[[float], np.ndarray] | np.ndarray
"""T_world_car (4, 4), x forward: constant for a parked car, a function of the time (s) for a moving one."""


def add_car(scene: SceneBuilder, pose: CarPose) -> None:
    """Add a car or, with a probability of 15 %, a van."""
    rng = scene.rng
    body, base = (scene.add_body(pose), np.eye(4)) if callable(pose) else (0, pose)
    van = rng.random() < 0.15
    length, width = (rng.uniform(4.6, 5.6), 1.95) if van else (rng.uniform(3.6, 4.7), rng.uniform(1.62, 1.85))
    waist, top = (1.15, rng.uniform(1.9, 2.4)) if van else (rng.uniform(0.8, 0.95), rng.uniform(1.38, 1.6))
    body_colour = random_colour(rng, (0, 1), (0, 0.15) if rng.random() < 0.65 else (0.5, 0.9), (0.06, 0.9))
    dark, white, red = (0.12, 0.14, 0.16), (0.9, 0.9, 0.85), (0.6, 0.05, 0.05)
    front, back = (Material(outdoors.car_end, (body_colour, dark, lamp)) for lamp in (white, red))
    side, glass = (
        Material(texture, (body_colour, dark, dark)) for texture in (outdoors.car_side, outdoors.car_windows)
    )
    plain = Material(patterns.plain, (body_colour,) * 3)

    size = (length, width, waist - 0.2)
    T = base @ transform(0, 0, 0.2 + size[2] / 2)
    scene.add_solid(
        tapered_planes(size, 0.12, 0.06, 0.04), size, T, front, back, side, side, plain, body=body
    )

    size = (length * (0.75 if van else 0.62), width - 0.1, top - waist)
    slope, rear = (0.45, 0.1) if van else (rng.uniform(0.5, 0.8), rng.uniform(0.2, 0.6))
    T = base @ transform(-length * (0.1 if van else rng.uniform(0.04, 0.1)), 0, waist + size[2] / 2)
    scene.add_solid(tapered_planes(size, slope, rear, 0.18), size, T, *[glass] * 4, plain, body=body)

    lid = (size[0] - slope - rear + 0.08, size[1] - 0.30, 0.07)
    T = T @ transform((rear - slope) / 2, 0, size[2] / 2)
    scene.add_solid(tapered_planes(lid, 0.05, 0.05, 0.05), lid, T, plain, body=body)

    _wheels(scene, base, length, width, body)
    underside = Material(patterns.plain, ((0.05,) * 3,) * 3)
    scene.add_box((length * 0.98, width, 0.02), base @ transform(0, 0, 0.01), underside, body=body)


def _wheels(scene: SceneBuilder, base: np.ndarray, length: float, width: float, body: int) -> None:
    tyre = Material(patterns.plain, ((0.04,) * 3,) * 3)
    rim = Material(outdoors.wheel, ((scene.rng.uniform(0.35, 0.75),) * 3,) * 3)
    size = (0.64, 0.2, 0.64)
    planes = prism_planes(size, axis=1, sides=12)
    for x in (0.31, -0.30):
        for y in (1, -1):
            T = base @ transform(x * length, y * (width / 2 - 0.06), 0.32)
            scene.add_solid(planes, size, T, *[tyre] * 12, rim, body=body)
