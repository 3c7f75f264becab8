"""Streets: a curved road, kerbs, houses, hedges, trees, parked and moving cars, seen from a moving car."""

from __future__ import annotations

import numpy as np

from depth_ros.geometry import T_BODY_OPTICAL
from depth_ros.world import outdoors, patterns
from depth_ros.world.cars import add_car
from depth_ros.world.patterns import Road
from depth_ros.world.render import Light, Scene
from depth_ros.world.scene_builder import SceneBuilder, choose, random_colour, random_sines, transform
from depth_ros.world.shapes import Material, crown_planes, prism_planes, tapered_planes

LENGTH_BEHIND, LENGTH_AHEAD = 12.0, 130.0
"""Length of street behind the first and ahead of the last camera position, m."""


def pose_on_road(
    road: Road, along: float, left: float, z: float = 0.0, yaw: float = 0.0, **angles: float
) -> np.ndarray:
    """(4, 4) pose with x along the road, `along` m along the centre line and `left` m to its left."""
    k = road.curvature
    heading = k * along
    x, y = np.sin(heading) / k, (1 - np.cos(heading)) / k
    return transform(x - left * np.sin(heading), y + left * np.cos(heading), z, heading + yaw, **angles)


class _StreetBuilder:
    """Adds a road and roadside objects to a scene."""

    def __init__(self, scene: SceneBuilder, road: Road) -> None:
        self.scene, self.road, self.rng = scene, road, scene.rng

    def add_ground(self) -> None:
        rng = self.rng
        asphalt = (rng.uniform(0.24, 0.46),) * 3
        grass = random_colour(rng, (0.18, 0.30), (0.25, 0.55), (0.25, 0.5))
        marks = (0.85, 0.85, 0.82)
        self.scene.add_box(
            (1000, 1000, 2), transform(0, 0, -1), Material(outdoors.road, (asphalt, grass, marks))
        )

    def add_pavements(self, start: float, stop: float, width: float) -> None:
        rng, step, height = self.rng, 8.0, 0.12
        grey = rng.uniform(0.42, 0.6)
        slab = Material(patterns.tiles, ((grey, grey * 0.98, grey * 0.94), (grey * 0.7,) * 3, (grey,) * 3))
        kerb = Material(patterns.plain, ((grey * 1.15,) * 3, (grey,) * 3, (grey,) * 3))
        for along in np.arange(start, stop, step).tolist():
            for side in (-1, 1):
                left = side * (self.road.half_width + width / 2)
                length = step * (1 - self.road.curvature * left) + 0.02
                T = pose_on_road(self.road, along + step / 2, left, height / 2 - 0.2)
                self.scene.add_box((length, width, height + 0.4), T, kerb, kerb, kerb, kerb, slab, kerb)

    def add_house(self, along: float, side: int, left: float, length: float, tall: bool) -> None:
        rng = self.rng
        depth, height = rng.uniform(8, 12), rng.uniform(8, 18) if tall else rng.uniform(4.5, 7)
        colours = (
            random_colour(rng, (0.0, 0.14), (0.05, 0.5), (0.4, 0.85)),
            random_colour(rng, (0.0, 0.1), (0.1, 0.5), (0.25, 0.6)),
            random_colour(rng, (0, 1), (0, 0.15), (0.5, 0.9)),
        )
        front = outdoors.brick_house if rng.random() < 0.33 else outdoors.plaster_house
        left = side * (left + depth / 2)
        yaw = 0.0 if tall else rng.normal(0, 0.05)
        T = pose_on_road(self.road, along + length / 2, left, height / 2, yaw)
        top = random_colour(rng, (0.0, 0.08), (0.1, 0.6), (0.2, 0.5))
        self.scene.add_box(
            (length, depth, height), T, *[Material(front, colours)] * 4, Material(patterns.plain, (top,) * 3)
        )
        if not tall or rng.random() < 0.4:
            rise = rng.uniform(1.5, 3.5)
            size = (length + 0.6, depth + 0.6, rise)
            along_ridge = rng.random() < 0.6
            planes = tapered_planes(size, 0, 0, size[1] / 2) if along_ridge else tapered_planes(
                size, size[0] / 2, size[0] / 2, 0.0)  # fmt: skip
            T = pose_on_road(self.road, along + length / 2, left, height + rise / 2, yaw)
            self.scene.add_solid(planes, size, T, Material(outdoors.roof, (top,) * 3))

    def add_hedge(self, along: float, side: int, left: float, length: float) -> None:
        rng = self.rng
        height = rng.uniform(0.9, 2.4)
        T = pose_on_road(self.road, along + length / 2, side * (left + 0.5), height / 2)
        if rng.random() < 0.65:
            self.scene.add_box((length, 1.0, height), T, self.foliage())
        else:
            wood = random_colour(rng, (0.05, 0.12), (0.1, 0.5), (0.3, 0.8))
            self.scene.add_box(
                (length, 0.15, height),
                T,
                Material(choose(rng, [outdoors.fence, patterns.brick, patterns.plaster]), (wood,) * 3),
            )

    def foliage(self) -> Material:
        rng = self.rng
        light, dark = (
            random_colour(rng, (0.14, 0.33), (0.3, 0.65), (0.35, 0.6)),
            random_colour(rng, (0.2, 0.35), (0.3, 0.7), (0.06, 0.2)),
        )
        return Material(outdoors.leaves, (light, dark, dark))

    def add_tree(self, along: float, left: float) -> None:
        rng = self.rng
        trunk, width, crown = rng.uniform(1.6, 3.2), rng.uniform(2.2, 5.0), rng.uniform(2.5, 6)
        thick = rng.uniform(0.18, 0.45)
        brown = random_colour(rng, (0.05, 0.12), (0.1, 0.4), (0.2, 0.4))
        size = (thick, thick, trunk + 1)
        self.scene.add_solid(
            prism_planes(size, 2),
            size,
            pose_on_road(self.road, along, left, size[2] / 2),
            Material(outdoors.bark, (brown,) * 3),
        )
        paint = self.foliage()
        for _ in range(3):
            ball = np.array([width, width, crown]) * rng.uniform(0.55, 0.9, 3)
            shift = rng.normal(0, 0.16, 3) * [width, width, crown]
            T = pose_on_road(
                self.road, along + shift[0], left + shift[1], trunk + crown / 2 + shift[2], rng.uniform(0, 6)
            )
            self.scene.add_solid(crown_planes(ball, rng), ball, T, paint)

    def add_bush(self, along: float, left: float) -> None:
        size = self.rng.uniform(0.8, 2.4, 3)
        T = pose_on_road(self.road, along, left, size[2] * 0.3, self.rng.uniform(0, 6))
        self.scene.add_solid(crown_planes(size, self.rng), size, T, self.foliage())

    def add_pole(self, along: float, left: float) -> None:
        rng = self.rng
        thick, height = rng.uniform(0.08, 0.2), rng.uniform(2.5, 8)
        grey = random_colour(rng, (0, 1), (0, 0.2), (0.2, 0.7))
        size = (thick, thick, height)
        self.scene.add_solid(
            prism_planes(size, 2, 6),
            size,
            pose_on_road(self.road, along, left, height / 2),
            Material(patterns.plain, (grey,) * 3),
        )
        if height < 4:
            sign = random_colour(rng, (0, 1), (0.6, 0.9), (0.5, 0.9))
            T = pose_on_road(self.road, along - thick, left, height - 0.35)
            self.scene.add_box(
                (0.03, 0.6, 0.6),
                T,
                Material(patterns.checks if rng.random() < 0.2 else patterns.plain, (sign, (0.9,) * 3, sign)),
            )
        elif height > 5.5:
            T = pose_on_road(self.road, along, left - np.sign(left) * 0.8, height)
            self.scene.add_box((0.2, 1.8, 0.12), T, Material(patterns.plain, (grey,) * 3))


def _add_roadsides(builder: _StreetBuilder, start: float, stop: float, setback: float, style: str) -> None:
    """Add houses, hedges, trees and poles along both sides. style: "city", "suburb" or "country"."""
    rng = builder.rng
    built = {"city": 0.9, "suburb": 0.55, "country": 0.12}[style]
    for side in (-1, 1):
        along = start - rng.uniform(0, 15)
        while along < stop:
            length = rng.uniform(8, 22) if style == "city" else rng.uniform(7, 13)
            if rng.random() < built:
                back = setback + (rng.uniform(0, 0.4) if style == "city" else rng.uniform(3, 8))
                builder.add_house(along, side, back, length, style == "city")
            if style != "city" and rng.random() < 0.75:
                builder.add_hedge(along + rng.uniform(0, 2), side, setback, length - rng.uniform(0, 3))
            for _ in range(rng.poisson({"city": 0.35, "suburb": 0.9, "country": 1.6}[style])):
                away = rng.uniform(-1.2, 0.0) if style == "city" else rng.uniform(-0.8, 9)
                builder.add_tree(along + rng.uniform(0, length), side * (setback + away))
            for _ in range(rng.poisson({"city": 0.1, "suburb": 0.5, "country": 0.8}[style])):
                builder.add_bush(along + rng.uniform(0, length), side * (setback + rng.uniform(-0.5, 3)))
            if rng.random() < 0.5:
                builder.add_pole(along, side * (builder.road.half_width + rng.uniform(0.3, 0.8)))
            along += length + (rng.uniform(2, 12) if rng.random() < 0.3 else rng.uniform(0, 1))
    for side in (-1, 1):  # background visible through the gaps
        for along in np.arange(start, stop + 60, 16).tolist():
            size = np.array([rng.uniform(12, 20), rng.uniform(8, 16), rng.uniform(6, 14)])
            T = pose_on_road(
                builder.road, along, side * rng.uniform(35, 55), size[2] * 0.35, rng.uniform(0, 6)
            )
            builder.scene.add_solid(crown_planes(size, rng), tuple(size), T, builder.foliage())


def _add_cars(
    builder: _StreetBuilder,
    start: float,
    stop: float,
    lane: float,
    speed: float,
    moving_count: int,
    parked: bool,
) -> None:
    """Add parked cars, and moving cars alternately oncoming and ahead in the lane of the camera."""
    rng, road = builder.rng, builder.road
    for side in (-1, 1):
        if parked and rng.random() < 0.75:
            along = start + rng.uniform(0, 8)
            while along < stop - 20:
                yaw = (0 if side * lane > 0 else np.pi) + rng.normal(0, 0.02)
                add_car(
                    builder.scene,
                    pose_on_road(road, along, side * (road.half_width - 1.0 + rng.normal(0, 0.05)), 0, yaw),
                )
                along += rng.uniform(5.6, 7) if rng.random() < 0.6 else rng.uniform(9, 40)
    ahead = rng.uniform(9, 30)
    for k in range(moving_count):
        same_lane = k % 2 == 1
        first = ahead if same_lane else rng.uniform(15, 80)
        ahead += rng.uniform(9, 25) * same_lane
        car_speed = speed * rng.uniform(1.0, 1.12) if same_lane else -rng.uniform(5, 12)
        left = (lane if same_lane else -lane) + rng.normal(0, 0.15)

        def pose(
            t: float, first: float = first, car_speed: float = car_speed, left: float = left
        ) -> np.ndarray:
            return pose_on_road(road, first + car_speed * t, left, 0.0, 0.0 if car_speed > 0 else np.pi)

        add_car(builder.scene, pose)


def random_daylight(rng: np.random.Generator) -> Light:
    """Random light, from a clear to an overcast day."""
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


def build(rng: np.random.Generator, duration: float, moving_count: int) -> Scene:
    """A street along which the camera drives for `duration` s, with `moving_count` other moving cars."""
    style = rng.choice(["city", "suburb", "country"], p=[0.4, 0.4, 0.2])
    curvature = rng.choice([-1, 1]) / np.exp(rng.uniform(np.log(90), np.log(1500)))
    parking = rng.random() < 0.7
    half_width = rng.uniform(3.2, 3.8) + (2.0 if parking else 0.0)
    road = Road(curvature, half_width, bool(rng.random() < 0.6))
    lane = rng.choice([-1, 1], p=[0.8, 0.2]) * 1.65
    speed = rng.uniform(5, 12)
    start, stop = -LENGTH_BEHIND, speed * duration + LENGTH_AHEAD
    scene = SceneBuilder(rng)
    builder = _StreetBuilder(scene, road)
    builder.add_ground()
    pavement = rng.uniform(1.5, 3.5)
    if style != "country":
        builder.add_pavements(start, stop, pavement)
    _add_roadsides(builder, start, stop, half_width + pavement, style)
    _add_cars(builder, start, stop, lane, speed, moving_count, parking)
    yaw, pitch, roll = (
        random_sines(rng, 0.03, 9, 4),
        random_sines(rng, 0.012, 3, 0.7),
        random_sines(rng, 0.01, 4, 1),
    )
    drift, heave = random_sines(rng, 0.3, 9, 5), random_sines(rng, 0.03, 3, 0.8)
    height, tilt = rng.uniform(1.5, 1.75), rng.normal(0.0, 0.02)

    def camera(t: float) -> np.ndarray:
        T = pose_on_road(
            road, speed * t, lane + drift(t), height + heave(t), yaw(t), pitch=tilt + pitch(t), roll=roll(t)
        )
        return T @ T_BODY_OPTICAL

    return Scene(scene.mesh(), tuple(scene.bodies), camera, random_daylight(rng), far=250.0, road=road)
