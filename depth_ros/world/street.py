"""Streets: a road on an arc, kerbs, houses, hedges, trees, parked and moving cars, seen from a car."""

from __future__ import annotations

import numpy as np

from depth_ros.geometry import T_BODY_OPTICAL
from depth_ros.world import outdoors, patterns
from depth_ros.world.cars import add_car
from depth_ros.world.patterns import Road
from depth_ros.world.render import Light, Scene
from depth_ros.world.shapes import Paint, crown_planes, prism_planes, tapered_planes
from depth_ros.world.stage import Stage, hsv, pick, transform, wobble

BEHIND, AHEAD = 12.0, 130.0
"""How far the street is built before the first and beyond the last place of the camera, m."""


def place(
    road: Road, along: float, left: float, z: float = 0.0, yaw: float = 0.0, **angles: float
) -> np.ndarray:
    """(4, 4) of a frame beside the centre line that looks along it."""
    k = road.curvature
    heading = k * along
    x, y = np.sin(heading) / k, (1 - np.cos(heading)) / k
    return transform(x - left * np.sin(heading), y + left * np.cos(heading), z, heading + yaw, **angles)


class _Builder:
    """Puts things beside a road onto a stage."""

    def __init__(self, stage: Stage, road: Road) -> None:
        self.stage, self.road, self.rng = stage, road, stage.rng

    def ground(self) -> None:
        rng = self.rng
        asphalt = (rng.uniform(0.24, 0.46),) * 3
        grass = hsv(rng, (0.18, 0.30), (0.25, 0.55), (0.25, 0.5))
        marks = (0.85, 0.85, 0.82)
        self.stage.box((1000, 1000, 2), transform(0, 0, -1), Paint(outdoors.road, (asphalt, grass, marks)))

    def pavements(self, start: float, stop: float, width: float) -> None:
        rng, step, height = self.rng, 8.0, 0.12
        grey = rng.uniform(0.42, 0.6)
        slab = Paint(patterns.tiles, ((grey, grey * 0.98, grey * 0.94), (grey * 0.7,) * 3, (grey,) * 3))
        kerb = Paint(patterns.plain, ((grey * 1.15,) * 3, (grey,) * 3, (grey,) * 3))
        for along in np.arange(start, stop, step).tolist():
            for side in (-1, 1):
                left = side * (self.road.half_width + width / 2)
                length = step * (1 - self.road.curvature * left) + 0.02
                T = place(self.road, along + step / 2, left, height / 2 - 0.2)
                self.stage.box((length, width, height + 0.4), T, kerb, kerb, kerb, kerb, slab, kerb)

    def house(self, along: float, side: int, left: float, length: float, tall: bool) -> None:
        rng = self.rng
        depth, height = rng.uniform(8, 12), rng.uniform(8, 18) if tall else rng.uniform(4.5, 7)
        colours = (
            hsv(rng, (0.0, 0.14), (0.05, 0.5), (0.4, 0.85)),
            hsv(rng, (0.0, 0.1), (0.1, 0.5), (0.25, 0.6)),
            hsv(rng, (0, 1), (0, 0.15), (0.5, 0.9)),
        )
        front = outdoors.brick_house if rng.random() < 0.33 else outdoors.plaster_house
        left = side * (left + depth / 2)
        yaw = 0.0 if tall else rng.normal(0, 0.05)
        T = place(self.road, along + length / 2, left, height / 2, yaw)
        top = hsv(rng, (0.0, 0.08), (0.1, 0.6), (0.2, 0.5))
        self.stage.box(
            (length, depth, height), T, *[Paint(front, colours)] * 4, Paint(patterns.plain, (top,) * 3)
        )
        if not tall or rng.random() < 0.4:
            rise = rng.uniform(1.5, 3.5)
            size = (length + 0.6, depth + 0.6, rise)
            along_ridge = rng.random() < 0.6
            planes = tapered_planes(size, 0, 0, size[1] / 2) if along_ridge else tapered_planes(
                size, size[0] / 2, size[0] / 2, 0.0)  # fmt: skip
            T = place(self.road, along + length / 2, left, height + rise / 2, yaw)
            self.stage.add(planes, size, T, Paint(outdoors.roof, (top,) * 3))

    def hedge(self, along: float, side: int, left: float, length: float) -> None:
        rng = self.rng
        height = rng.uniform(0.9, 2.4)
        T = place(self.road, along + length / 2, side * (left + 0.5), height / 2)
        if rng.random() < 0.65:
            self.stage.box((length, 1.0, height), T, self.green())
        else:
            wood = hsv(rng, (0.05, 0.12), (0.1, 0.5), (0.3, 0.8))
            self.stage.box(
                (length, 0.15, height),
                T,
                Paint(pick(rng, [outdoors.fence, patterns.brick, patterns.plaster]), (wood,) * 3),
            )

    def green(self) -> Paint:
        rng = self.rng
        light, dark = (
            hsv(rng, (0.14, 0.33), (0.3, 0.65), (0.35, 0.6)),
            hsv(rng, (0.2, 0.35), (0.3, 0.7), (0.06, 0.2)),
        )
        return Paint(outdoors.leaves, (light, dark, dark))

    def tree(self, along: float, left: float) -> None:
        rng = self.rng
        trunk, width, crown = rng.uniform(1.6, 3.2), rng.uniform(2.2, 5.0), rng.uniform(2.5, 6)
        thick = rng.uniform(0.18, 0.45)
        brown = hsv(rng, (0.05, 0.12), (0.1, 0.4), (0.2, 0.4))
        size = (thick, thick, trunk + 1)
        self.stage.add(
            prism_planes(size, 2),
            size,
            place(self.road, along, left, size[2] / 2),
            Paint(outdoors.bark, (brown,) * 3),
        )
        paint = self.green()
        for _ in range(3):
            ball = np.array([width, width, crown]) * rng.uniform(0.55, 0.9, 3)
            shift = rng.normal(0, 0.16, 3) * [width, width, crown]
            T = place(
                self.road, along + shift[0], left + shift[1], trunk + crown / 2 + shift[2], rng.uniform(0, 6)
            )
            self.stage.add(crown_planes(ball, rng), ball, T, paint)

    def bush(self, along: float, left: float) -> None:
        size = self.rng.uniform(0.8, 2.4, 3)
        T = place(self.road, along, left, size[2] * 0.3, self.rng.uniform(0, 6))
        self.stage.add(crown_planes(size, self.rng), size, T, self.green())

    def pole(self, along: float, left: float) -> None:
        rng = self.rng
        thick, height = rng.uniform(0.08, 0.2), rng.uniform(2.5, 8)
        grey = hsv(rng, (0, 1), (0, 0.2), (0.2, 0.7))
        size = (thick, thick, height)
        self.stage.add(
            prism_planes(size, 2, 6),
            size,
            place(self.road, along, left, height / 2),
            Paint(patterns.plain, (grey,) * 3),
        )
        if height < 4:
            sign = hsv(rng, (0, 1), (0.6, 0.9), (0.5, 0.9))
            T = place(self.road, along - thick, left, height - 0.35)
            self.stage.box(
                (0.03, 0.6, 0.6),
                T,
                Paint(patterns.checks if rng.random() < 0.2 else patterns.plain, (sign, (0.9,) * 3, sign)),
            )
        elif height > 5.5:
            T = place(self.road, along, left - np.sign(left) * 0.8, height)
            self.stage.box((0.2, 1.8, 0.12), T, Paint(patterns.plain, (grey,) * 3))


def _sides(builder: _Builder, start: float, stop: float, setback: float, style: str) -> None:
    """Houses, hedges, trees and poles along both sides. style: "city", "suburb" or "country"."""
    rng = builder.rng
    built = {"city": 0.9, "suburb": 0.55, "country": 0.12}[style]
    for side in (-1, 1):
        along = start - rng.uniform(0, 15)
        while along < stop:
            length = rng.uniform(8, 22) if style == "city" else rng.uniform(7, 13)
            if rng.random() < built:
                back = setback + (rng.uniform(0, 0.4) if style == "city" else rng.uniform(3, 8))
                builder.house(along, side, back, length, style == "city")
            if style != "city" and rng.random() < 0.75:
                builder.hedge(along + rng.uniform(0, 2), side, setback, length - rng.uniform(0, 3))
            for _ in range(rng.poisson({"city": 0.35, "suburb": 0.9, "country": 1.6}[style])):
                away = rng.uniform(-1.2, 0.0) if style == "city" else rng.uniform(-0.8, 9)
                builder.tree(along + rng.uniform(0, length), side * (setback + away))
            for _ in range(rng.poisson({"city": 0.1, "suburb": 0.5, "country": 0.8}[style])):
                builder.bush(along + rng.uniform(0, length), side * (setback + rng.uniform(-0.5, 3)))
            if rng.random() < 0.5:
                builder.pole(along, side * (builder.road.half_width + rng.uniform(0.3, 0.8)))
            along += length + (rng.uniform(2, 12) if rng.random() < 0.3 else rng.uniform(0, 1))
    for side in (-1, 1):  # what is seen through the gaps
        for along in np.arange(start, stop + 60, 16).tolist():
            size = np.array([rng.uniform(12, 20), rng.uniform(8, 16), rng.uniform(6, 14)])
            T = place(builder.road, along, side * rng.uniform(35, 55), size[2] * 0.35, rng.uniform(0, 6))
            builder.stage.add(crown_planes(size, rng), tuple(size), T, builder.green())


def _cars(
    builder: _Builder, start: float, stop: float, lane: float, speed: float, moving: int, parked: bool
) -> None:
    """Cars at the kerbs, and every other moving one ahead in the camera's lane, the others oncoming."""
    rng, road = builder.rng, builder.road
    for side in (-1, 1):
        if parked and rng.random() < 0.75:
            along = start + rng.uniform(0, 8)
            while along < stop - 20:
                yaw = (0 if side * lane > 0 else np.pi) + rng.normal(0, 0.02)
                add_car(
                    builder.stage,
                    place(road, along, side * (road.half_width - 1.0 + rng.normal(0, 0.05)), 0, yaw),
                )
                along += rng.uniform(5.6, 7) if rng.random() < 0.6 else rng.uniform(9, 40)
    ahead = rng.uniform(9, 30)
    for k in range(moving):
        own = k % 2 == 1
        first = ahead if own else rng.uniform(15, 80)
        ahead += rng.uniform(9, 25) * own
        pace = speed * rng.uniform(1.0, 1.12) if own else -rng.uniform(5, 12)
        left = (lane if own else -lane) + rng.normal(0, 0.15)

        def pose(t: float, first: float = first, pace: float = pace, left: float = left) -> np.ndarray:
            return place(road, first + pace * t, left, 0.0, 0.0 if pace > 0 else np.pi)

        add_car(builder.stage, pose)


def daylight(rng: np.random.Generator) -> Light:
    """Anything from a clear to an overcast day."""
    clear = rng.uniform(0, 1)
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.2)
    sun = np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
    bright = rng.uniform(0.95, 1.35)
    zenith = np.array([0.4, 0.62, 1.0]) * clear + np.array([0.92, 0.94, 0.96]) * (1 - clear)
    horizon = np.array([0.94, 0.98, 1.03]) * rng.uniform(0.9, 1.05)
    tint = np.array([1, rng.uniform(0.95, 1.0), rng.uniform(0.88, 1.02)])
    ambient, diffuse = (0.95 - 0.5 * clear) * bright, (0.1 + 1.1 * clear) * bright
    return Light(
        sun, ambient, diffuse, tint, zenith, horizon, rng.uniform(250, 1200), shadows=bool(clear > 0.25)
    )


def build(rng: np.random.Generator, duration: float, moving: int) -> Scene:
    """A street that a camera drives along for `duration` s, with `moving` other cars on the road."""
    style = rng.choice(["city", "suburb", "country"], p=[0.4, 0.4, 0.2])
    bend = rng.choice([-1, 1]) / np.exp(rng.uniform(np.log(90), np.log(1500)))
    parking = rng.random() < 0.7
    half_width = rng.uniform(3.2, 3.8) + (2.0 if parking else 0.0)
    road = Road(bend, half_width, bool(rng.random() < 0.6))
    lane = rng.choice([-1, 1], p=[0.8, 0.2]) * 1.65
    speed = rng.uniform(5, 12)
    start, stop = -BEHIND, speed * duration + AHEAD
    stage = Stage(rng)
    builder = _Builder(stage, road)
    builder.ground()
    pavement = rng.uniform(1.5, 3.5)
    if style != "country":
        builder.pavements(start, stop, pavement)
    _sides(builder, start, stop, half_width + pavement, style)
    _cars(builder, start, stop, lane, speed, moving, parking)
    yaw, pitch, roll = wobble(rng, 0.03, 9, 4), wobble(rng, 0.012, 3, 0.7), wobble(rng, 0.01, 4, 1)
    drift, heave = wobble(rng, 0.3, 9, 5), wobble(rng, 0.03, 3, 0.8)
    height, tilt = rng.uniform(1.5, 1.75), rng.normal(0.0, 0.02)

    def camera(t: float) -> np.ndarray:
        T = place(
            road, speed * t, lane + drift(t), height + heave(t), yaw(t), pitch=tilt + pitch(t), roll=roll(t)
        )
        return T @ T_BODY_OPTICAL

    return Scene(stage.mesh(), tuple(stage.bodies), camera, daylight(rng), far=250.0, road=road)
