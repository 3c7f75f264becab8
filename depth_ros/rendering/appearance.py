"""Colours, textures and light of a frame, drawn from its seed, as plain values for the program in Blender."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from depth_ros.rendering.free_space import FreeSpace
from depth_ros.rendering.scene import Scene
from depth_ros.rendering.settings import SceneSettings

PATTERNS = ("planks", "tiles", "stripes", "checks", "blotches", "speckle", "bricks")
"""Textures that the program in Blender generates."""
LIGHT_POWER = 60.0
"""Median power of a lamp, W."""
LAMP_RADIUS = 0.05
"""Radius of the lights of a scene, which have none, m."""
SCENE_SKY = {"colour": (1.0, 1.0, 1.0), "strength": 1.0}
"""Light of `appearance: scene`."""


def draw_surfaces(count: int, settings: SceneSettings, number: int) -> list[dict[str, Any]]:
    """Changes of the materials: often none, else shifted colours, another colour, or a generated texture.

    hue, saturation, value: of the material's own texture, 0.5, 1, 1 = unchanged. cover: how much `paint` (linear RGB)
    replaces it. pattern: one of PATTERNS or empty, repeated every `size` m.
    """
    if settings.appearance == "scene":
        return []
    rng = np.random.default_rng([settings.seed, number // settings.same_appearance, 6])
    return [_surface(rng) for _ in range(count)]


def _surface(rng: np.random.Generator) -> dict[str, Any]:
    surface: dict[str, Any] = {
        "hue": 0.5, "saturation": 1.0, "value": rng.uniform(0.8, 1.1), "cover": 0.0, "paint": (0.5, 0.5, 0.5),
        "pattern": "", "size": 1.0, "roughness": float(rng.choice([0.15, 0.3, 0.5, 0.7, 0.9])),
        "metallic": float(rng.random() < 0.04),
    }  # fmt: skip
    kind = rng.random()
    if kind > 0.5:
        surface |= {"hue": rng.normal(0.5, 0.05) % 1, "saturation": rng.uniform(0.4, 1.4)}
        surface["value"] = rng.uniform(0.5, 1.3)
    if kind > 0.85:
        surface |= {"pattern": str(rng.choice(PATTERNS)), "size": rng.uniform(0.4, 2.5)}
    if rng.random() < 0.25:
        base = rng.uniform(0.05, 0.85)
        paint = np.clip(base * rng.uniform(0.5, 1.3, 3), 0.01, 1.0)
        surface |= {"cover": rng.uniform(0.2, 0.9), "paint": tuple(paint.tolist())}
    return surface


def draw_lights(
    space: FreeSpace, settings: SceneSettings, T_world_camera: np.ndarray, number: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Lamps, 1 to 5 under the ceiling around what is seen, and the light of the sky.

    A drive has the same lamps in all its frames: those of the first.
    """
    if settings.appearance == "scene":
        return [_lamp(T_world_camera[:3, 3] + [0, 0, 0.3], LIGHT_POWER, 5000.0, 0.3)], SCENE_SKY
    rng = np.random.default_rng([settings.seed, number, 7])
    power, warmth = LIGHT_POWER * math.exp(rng.normal(0, 0.6)), rng.uniform(2700, 7000)
    lamps = []
    for _ in range(int(rng.integers(1, 6))):
        around = np.array([*rng.normal(0, 2.0, 2), 0.0]) + 1.5 * T_world_camera[:3, 2]
        point = T_world_camera[:3, 3] + around
        above = float(space.trace(point, np.array([[0.0, 0.0, 1.0]]), 6.0)[0])
        point[2] += max(0.0, min(above, 3.0) - rng.uniform(0.15, 0.5))
        kelvin = float(np.clip(rng.normal(warmth, 500), 2300, 9000))
        lamps.append(_lamp(point, power * math.exp(rng.normal(0, 0.5)), kelvin, rng.uniform(0.03, 0.4)))
    sky = {
        "colour": black_body(rng.uniform(4500, 9000)),
        "strength": math.exp(rng.uniform(math.log(0.25), math.log(2.5))),
    }
    return lamps, sky


def _lamp(position: np.ndarray, power: float, kelvin: float, radius: float) -> dict[str, Any]:
    return {"position": position.tolist(), "power": power, "colour": black_body(kelvin), "radius": radius}


def scene_lamps(scene: Scene) -> list[dict[str, Any]]:
    """The lights of a scene."""
    return [
        {
            "kind": {"point": "POINT", "spot": "SPOT", "directional": "SUN"}[each.kind],
            "T": each.T_world_light.tolist(), "colour": each.colour, "attenuation": each.attenuation,
            "range": each.range, "cone": each.cone, "shadows": each.shadows, "radius": LAMP_RADIUS,
        }
        for each in scene.lights
    ]  # fmt: skip


def black_body(kelvin: float) -> tuple[float, float, float]:
    """Linear RGB of a colour temperature, the largest 1 (fit of T. Helland, 1000 to 40000 K)."""
    t = kelvin / 100
    red = 255 if t <= 66 else 329.7 * (t - 60) ** -0.1332
    green = 99.47 * math.log(t) - 161.12 if t <= 66 else 288.12 * (t - 60) ** -0.0755
    blue = 255 if t >= 66 else 138.52 * math.log(max(t - 10, 1.1)) - 305.04
    linear = [(min(255.0, max(0.0, c)) / 255) ** 2.2 for c in (red, green, blue)]
    r, g, b = (c / max(linear) for c in linear)
    return r, g, b
