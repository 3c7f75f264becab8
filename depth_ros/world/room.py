"""Rooms: walls, furniture, small objects and moving boxes, seen by a hand-held camera."""

from __future__ import annotations

import numpy as np

from depth_ros.geometry import T_BODY_OPTICAL
from depth_ros.world import indoors, patterns
from depth_ros.world.patterns import Texture
from depth_ros.world.render import Light, Scene
from depth_ros.world.scene_builder import SceneBuilder, choose, random_colour, random_sines, transform
from depth_ros.world.shapes import Material, Size, prism_planes, tapered_planes

WALL_THICKNESS = 0.2
"""m"""


class _RoomBuilder:
    """Adds a room of length x width x height m to a scene. The origin is the centre of the floor."""

    def __init__(self, scene: SceneBuilder) -> None:
        self.scene, self.rng = scene, scene.rng
        rng = self.rng
        self.length, self.width, self.height = rng.uniform(4, 8), rng.uniform(4, 8), rng.uniform(2.5, 3.0)

    def random_material(self) -> Material:
        """A random material for small objects."""
        rng = self.rng
        name = choose(
            rng,
            [patterns.plain, indoors.stripes, indoors.carton, patterns.checks, patterns.wood, indoors.carpet],
            p=[0.3, 0.15, 0.2, 0.05, 0.15, 0.15],
        )
        return Material(name, tuple(random_colour(rng, (0, 1), (0.05, 0.8), (0.1, 0.9)) for _ in range(3)))

    def wood_or_lacquer(self, texture: Texture) -> Material:
        """A texture in the colours of wood, or of white to grey lacquer."""
        rng = self.rng
        if rng.random() < 0.35:
            grey = rng.uniform(0.35, 0.9)
            return Material(texture, ((grey,) * 3, (grey * 0.93,) * 3, (0.25,) * 3))
        base = np.array(random_colour(rng, (0.05, 0.11), (0.3, 0.65), (0.3, 0.8)))
        return Material(texture, (tuple(base), tuple(base * 0.75), (0.7, 0.7, 0.65)))

    def add_walls(self) -> None:
        rng, (x, y, z) = self.rng, (self.length, self.width, self.height)
        floor = choose(
            rng, [indoors.planks, indoors.carpet, patterns.tiles, patterns.checks], p=[0.4, 0.35, 0.15, 0.1]
        )
        base = np.array(random_colour(rng, (0.03, 0.13), (0.1, 0.6), (0.25, 0.65)))
        self.scene.add_box(
            (x + 1, y + 1, WALL_THICKNESS),
            transform(0, 0, -WALL_THICKNESS / 2),
            Material(floor, (tuple(base), tuple(base * 0.8), tuple(base))),
        )
        white = rng.uniform(0.75, 0.95)
        ceiling = Material(
            choose(rng, [patterns.plain, patterns.tiles]), ((white,) * 3, (white * 0.85,) * 3, (white,) * 3)
        )
        self.scene.add_box((x + 1, y + 1, WALL_THICKNESS), transform(0, 0, z + WALL_THICKNESS / 2), ceiling)
        wall_colour = random_colour(rng, (0, 1), (0.0, 0.25), (0.55, 0.95))
        leaf, trim = self.wood_or_lacquer(patterns.wood).colours[0], (rng.uniform(0.3, 0.9),) * 3
        wall = Material(patterns.brick if rng.random() < 0.07 else indoors.wall, (wall_colour, leaf, trim))
        for side in (-1, 1):
            self.scene.add_box(
                (WALL_THICKNESS, y + 1, z), transform(side * (x + WALL_THICKNESS) / 2, 0, z / 2), wall
            )
            self.scene.add_box(
                (x + 1, WALL_THICKNESS, z), transform(0, side * (y + WALL_THICKNESS) / 2, z / 2), wall
            )
        for _ in range(int(rng.integers(0, 3))):
            self.add_against_wall((rng.uniform(0.9, 2.0), 0.06, rng.uniform(0.9, 1.4)), 1.0,
                         Material(indoors.pane, ((0.9, 0.95, 1.0), (0.25, 0.4, 0.2), (0.85,) * 3)))  # fmt: skip
        for side in (-1, 1):
            lamp = Material(patterns.plain, ((1.3, 1.3, 1.25),) * 3)
            self.scene.add_box((1.2, 0.3, 0.08), transform(side * x / 4, 0, z - 0.04), lamp)

    def add_against_wall(self, size: Size, bottom: float, *materials: Material) -> np.ndarray:
        """Add a box at a random position along a random wall. Returns its pose (4, 4), y towards the room."""
        rng = self.rng
        wall = int(rng.integers(4))
        across, along = (self.length, self.width) if wall % 2 == 0 else (self.width, self.length)
        shift = rng.uniform(-1, 1) * max(along / 2 - size[0] / 2 - 0.05, 0)
        T = transform(0, 0, 0, wall * np.pi / 2) @ transform(
            across / 2 - size[1] / 2, shift, bottom + size[2] / 2, np.pi / 2
        )
        self.scene.add_box(size, T, *materials)
        return T

    def add_cupboard(self) -> None:
        rng = self.rng
        front = self.wood_or_lacquer(choose(rng, [indoors.books, indoors.drawers, indoors.drawers]))
        size = (
            rng.uniform(0.6, 2.0),
            rng.uniform(0.3, 0.6),
            rng.choice([rng.uniform(0.7, 1.2), rng.uniform(1.6, 2.2)]),
        )
        side = Material(patterns.wood, front.colours)
        T = self.add_against_wall(size, 0.0, side, side, front, front, side)
        if size[2] < 1.3:
            self.add_clutter(T @ transform(0, 0, size[2] / 2), size[0], size[1], int(rng.integers(1, 4)))

    def add_table(self, T: np.ndarray, desk: bool) -> None:
        rng, wood = self.rng, self.wood_or_lacquer(patterns.wood)
        size, height = (rng.uniform(1.1, 1.9), rng.uniform(0.6, 0.95), 0.04), rng.uniform(0.68, 0.78)
        self.scene.add_box(size, T @ transform(0, 0, height - 0.02), wood)
        for x in (-1, 1):
            for y in (-1, 1):
                leg = T @ transform(x * (size[0] / 2 - 0.05), y * (size[1] / 2 - 0.05), height / 2 - 0.02)
                self.scene.add_box((0.05, 0.05, height - 0.04), leg, wood)
        top = T @ transform(0, 0, height)
        self.add_clutter(top, size[0], size[1], int(rng.integers(2, 8)))
        if desk:
            for _ in range(int(rng.integers(1, 3))):
                self.add_monitor(top @ transform(rng.uniform(-0.4, 0.4), -0.15, 0, rng.normal(0, 0.3)))
            self.add_chair(
                T @ transform(rng.uniform(-0.3, 0.3), size[1] / 2 + 0.25, 0, rng.normal(-np.pi / 2, 0.5))
            )

    def add_monitor(self, T: np.ndarray) -> None:
        dark, page = (0.06, 0.06, 0.07), random_colour(self.rng, (0, 1), (0, 0.5), (0.3, 1.0))
        black, front = (
            Material(patterns.plain, (dark,) * 3),
            Material(indoors.screen, (dark, page, (0.1, 0.1, 0.2))),
        )
        self.scene.add_box((0.55, 0.04, 0.34), T @ transform(0, 0, 0.30), black, black, front, black, black)
        self.scene.add_box((0.06, 0.05, 0.2), T @ transform(0, -0.04, 0.1), black)
        self.scene.add_box((0.25, 0.18, 0.02), T @ transform(0, -0.02, 0.01), black)

    def add_chair(self, T: np.ndarray) -> None:
        cloth, legs = self.random_material(), self.wood_or_lacquer(patterns.plain)
        self.scene.add_box((0.45, 0.45, 0.06), T @ transform(0, 0, 0.45), cloth)
        self.scene.add_box((0.05, 0.42, 0.4), T @ transform(-0.21, 0, 0.75, 0, -0.12), cloth)
        for x in (-0.19, 0.19):
            for y in (-0.19, 0.19):
                self.scene.add_box((0.035, 0.035, 0.42), T @ transform(x, y, 0.21), legs)

    def add_sofa(self, T: np.ndarray) -> None:
        cloth, width = self.random_material(), self.rng.uniform(1.4, 2.2)
        self.scene.add_box((width, 0.8, 0.42), T @ transform(0, 0, 0.21), cloth)
        self.scene.add_box((width, 0.2, 0.45), T @ transform(0, -0.3, 0.6), cloth)
        for side in (-1, 1):
            self.scene.add_box((0.16, 0.8, 0.2), T @ transform(side * (width / 2 - 0.08), 0, 0.5), cloth)

    def add_clutter(self, T: np.ndarray, length: float, width: float, count: int) -> None:
        """Add small objects on a horizontal surface with centre T."""
        rng = self.rng
        for _ in range(count):
            low = rng.uniform(0.04, 0.3, 3)
            at = T @ transform(
                rng.uniform(-0.42, 0.42) * length,
                rng.uniform(-0.3, 0.3) * width,
                low[2] / 2,
                rng.uniform(0, 6),
            )
            if rng.random() < 0.3:
                size = (low[0] * 0.5, low[0] * 0.5, low[2])
                self.scene.add_solid(prism_planes(size, 2, 10), size, at, self.random_material())
            elif rng.random() < 0.2:
                self.scene.add_solid(
                    tapered_planes(low, low[0] / 3, low[0] / 3, low[1] / 3),
                    tuple(low),
                    at,
                    self.random_material(),
                )
            else:
                self.scene.add_box(tuple(low), at, self.random_material())

    def add_moving_box(self) -> None:
        """Add a box that moves along an ellipse and rotates."""
        rng = self.rng
        size = (rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6), rng.uniform(0.4, 1.0))
        x, y = rng.uniform(0.15, 0.32) * self.length, rng.uniform(0.15, 0.32) * self.width
        rate, phase, spin = (
            rng.choice([-1, 1]) * rng.uniform(0.25, 0.7),
            rng.uniform(0, 2 * np.pi),
            rng.uniform(-0.5, 0.5),
        )

        def pose(t: float) -> np.ndarray:
            angle = rate * t + phase
            return transform(x * np.cos(angle), y * np.sin(angle), 0, spin * t)

        body = self.scene.add_body(pose)
        self.scene.add_box(size, transform(0, 0, size[2] / 2 + 0.02), self.random_material(), body=body)
        if rng.random() < 0.5:
            top = (size[0] * 0.6, size[1] * 0.6, 0.3)
            self.scene.add_box(top, transform(0, 0, size[2] + 0.17, 0.4), self.random_material(), body=body)


def _furnish(room: _RoomBuilder) -> None:
    rng = room.rng
    for _ in range(int(rng.integers(2, 7))):
        room.add_cupboard()
    for _ in range(int(rng.integers(1, 4))):
        wall = int(rng.integers(4))
        across, along = (room.length, room.width) if wall % 2 == 0 else (room.width, room.length)
        rotated = transform(0, 0, 0, wall * np.pi / 2)
        room.add_table(
            rotated @ transform(across / 2 - 0.5, rng.uniform(-0.3, 0.3) * along, 0, np.pi / 2), True
        )
    if rng.random() < 0.6:
        middle = transform(rng.normal(0, 0.4), rng.normal(0, 0.4), 0, rng.uniform(0, 6))
        room.add_table(middle, False)
        for side in (-1, 1):
            room.add_chair(
                middle
                @ transform(rng.uniform(-0.3, 0.3), side * 0.6, 0, -side * np.pi / 2 + rng.normal(0, 0.4))
            )
    if rng.random() < 0.5:
        wall = int(rng.integers(4))
        across = room.length if wall % 2 == 0 else room.width
        room.add_sofa(
            transform(0, 0, 0, wall * np.pi / 2)
            @ transform(across / 2 - 0.45, rng.normal(0, 0.5), 0, np.pi / 2)
        )
    for _ in range(int(rng.integers(1, 6))):
        size = rng.uniform(0.2, 0.6, 3)
        x, y = rng.uniform(-0.42, 0.42, 2) * (room.length, room.width)
        room.scene.add_box(
            tuple(size), transform(x, y, size[2] / 2, rng.uniform(0, 6)), room.random_material()
        )


def build(rng: np.random.Generator, moving_count: int) -> Scene:
    """A room with a hand-held camera and `moving_count` moving boxes."""
    scene = SceneBuilder(rng)
    room = _RoomBuilder(scene)
    room.add_walls()
    _furnish(room)
    for _ in range(moving_count):
        room.add_moving_box()
    x, y = max(room.length / 2 - 1.3, 0.3), max(room.width / 2 - 1.3, 0.3)
    rate, phase = rng.choice([-1, 1]) * rng.uniform(0.1, 0.3), rng.uniform(0, 2 * np.pi)
    reach, height, tilt = rng.uniform(0.6, 1), rng.uniform(1.2, 1.75), rng.normal(0.22, 0.18)
    heading = np.arctan2(-y * np.sin(phase), -x * np.cos(phase)) + rng.normal(
        0, 0.7
    )  # initially about towards the centre
    yaw_rate = rng.choice([-1, 1]) * rng.uniform(0.05, 0.35)
    yaw, pitch, roll = (
        random_sines(rng, 0.25, 6, 2),
        random_sines(rng, 0.12, 5, 1.5),
        random_sines(rng, 0.06, 4, 1.2),
    )
    sway = [random_sines(rng, 0.03, 2, 0.6) for _ in range(3)]

    def camera(t: float) -> np.ndarray:
        angle = rate * t + phase
        position = np.array([reach * x * np.cos(angle), reach * y * np.sin(angle), height])
        position += [part(t) for part in sway]
        T = transform(
            position[0], position[1], position[2], heading + yaw_rate * t + yaw(t), tilt + pitch(t), roll(t)
        )
        return T @ T_BODY_OPTICAL

    tint = np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.75, 1.0)])
    bright, even = rng.uniform(1.0, 1.7), rng.uniform(0.35, 0.65)
    side = rng.uniform(0, 2 * np.pi)
    sun = np.array([0.8 * np.cos(side), 0.8 * np.sin(side), 0.6])
    lamps = np.array(
        [[s * room.length / 4, 0, room.height - 0.3, 3.0 * bright * (1 - even)] for s in (-1, 1)]
    )
    light = Light(sun, bright * even, 0.35 * bright, tint, np.ones(3), np.zeros(3), 1e6, lamps)
    return Scene(scene.mesh(), tuple(scene.bodies), camera, light, far=100.0)
