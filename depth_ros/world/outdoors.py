"""Textures of streets. See `patterns` for the definition of a texture."""

from __future__ import annotations

import numpy as np

from depth_ros.world.patterns import (
    NOISE_TILE,
    SurfacePoints,
    brick,
    cell_noise,
    inside,
    lines,
    mix,
    plaster,
    with_grain,
)


def road(s: SurfacePoints) -> np.ndarray:
    """Ground of a street: asphalt with lane markings and patches, grass verges."""
    x, y = s.u - s.width / 2, s.v - s.height / 2
    along, left = s.road.coordinates(x, y)
    half = s.road.half_width
    patch = 0.12 * cell_noise(np.floor(along / 7), np.floor(left / 2.5), s.seed) * (np.abs(left) < half)
    asphalt = with_grain(s.a, s, 0.10, 0.22) * (1 + patch)[:, None]
    wheels = 0.06 * np.cos(2 * np.pi * left / 1.75)
    asphalt = asphalt * (1 - wheels)[:, None]
    if s.road.marked:
        dash = inside(np.mod(along, 9.0), 0.0, 4.0, s.du)
        marks = dash * inside(left, -0.07, 0.07, s.dv)
        edges = inside(np.abs(left), half - 0.4, half - 0.27, s.dv)
        asphalt = mix(asphalt, s.c, np.clip(marks + edges, 0, 1) * (0.85 + 0.3 * np.clip(s.fine, -1, 0)))
    grass = with_grain(s.b, s, 0.3, 0.5)
    return mix(grass, asphalt, inside(left, -half, half, s.dv))


def plaster_house(s: SurfacePoints) -> np.ndarray:
    """Plastered facade."""
    return _facade(s, plaster(s))


def brick_house(s: SurfacePoints) -> np.ndarray:
    """Brick facade."""
    return _facade(s, brick(s))


def _facade(s: SurfacePoints, wall: np.ndarray) -> np.ndarray:
    """Add windows with frames and ledges to a wall (P, 3), and doors on the ground floor."""
    across = s.width / np.maximum(np.round(s.width / (2.0 + 0.35 * (s.seed % 5))), 1)
    storey = s.height / np.maximum(np.round(s.height / 2.9), 1)
    i, j = np.floor(s.u / across), np.floor(s.v / storey)
    x, y = s.u - i * across, s.v - j * storey
    half = across * (0.20 + 0.03 * (s.seed % 4))
    low, high = storey * 0.32, storey * 0.85
    door = (j == 0) & (cell_noise(i, j, s.seed) > 0.55)
    low = np.where(door, 0.0, low)
    frame = inside(x, across / 2 - half, across / 2 + half, s.du) * inside(y, low, high, s.dv)
    glass = inside(x, across / 2 - half + 0.08, across / 2 + half - 0.08, s.du) * inside(
        y, low + 0.08, high - 0.08, s.dv
    )
    bars = np.maximum(
        lines(x - across / 2, 2 * half, 0.06, s.du), lines(y - (low + high) / 2, storey, 0.06, s.dv)
    )
    tone = np.clip(
        0.22 + 0.2 * cell_noise(i + 91, j, s.seed) + 0.25 * (y - low) / storey + 0.06 * s.coarse, 0.03, 0.8
    )
    window = tone[:, None] * np.array([0.85, 0.95, 1.1], np.float32)
    window = np.where(door[:, None], s.b * 0.6, window)
    ledge = inside(y, storey - 0.12, storey, s.dv) * 0.5
    colour = mix(mix(wall, s.c, np.maximum(frame, ledge)), window, glass * (1 - bars * ~door))
    return mix(colour, s.b * 0.5, inside(s.v, -1.0, 0.35, s.dv) * 0.8 * ~door)


def roof(s: SurfacePoints) -> np.ndarray:
    """Rows of roof tiles."""
    rows = lines(s.v, 0.3, 0.05, s.dv)
    return mix(with_grain(s.a, s, 0.15, 0.2), s.a * 0.5, rows * 0.7)


def leaves(s: SurfacePoints) -> np.ndarray:
    """Foliage: light and dark clumps of two greens with dark gaps."""
    clump = np.clip(0.5 + 0.35 * s.coarse + 0.55 * s.fine, 0, 1)
    colour = mix(s.b, s.a, clump)
    return colour * (0.45 + 0.75 * clump)[:, None]


def bark(s: SurfacePoints) -> np.ndarray:
    """Bark with vertical streaks."""
    stripes = 0.25 * NOISE_TILE[(s.u * 18).astype(np.int32) & 255, s.seed & 255]
    return with_grain(s.a, s, 0.15, 0.3) * (1 + stripes * np.clip(1.5 - 18 * s.du, 0, 1))[:, None]


def fence(s: SurfacePoints) -> np.ndarray:
    """Vertical boards with gaps."""
    planks = lines(s.u, 0.16, 0.03, s.du)
    tone = 0.15 * cell_noise(np.floor(s.u / 0.16 + 0.5), 0 * s.u, s.seed) * np.clip(1.5 - s.du / 0.1, 0, 1)
    return mix(with_grain(s.a, s, 0.1, 0.15) * (1 + tone)[:, None], s.a * 0.3, planks)


def car_side(s: SurfacePoints) -> np.ndarray:
    """Side of a car body: paint that is darker towards the sill, and door gaps."""
    shine = 0.75 + 0.4 * np.clip(s.v / s.height, 0, 1) + 0.05 * s.coarse
    colour = s.a * shine[:, None]
    gaps = lines(s.u - s.width / 2, 1.15, 0.025, s.du) * inside(np.abs(s.u - s.width / 2), 0, 1.3, s.du)
    colour = mix(colour, s.a * 0.3, gaps * (s.width > 2.5))
    return mix(colour, np.full_like(s.a, 0.06), inside(s.v, -1.0, 0.14 * s.height, s.dv))


def car_end(s: SurfacePoints) -> np.ndarray:
    """Front or rear of a car: lamps (colour c), number plate, dark bumper."""
    colour = s.a * (0.75 + 0.35 * np.clip(s.v / s.height, 0, 1))[:, None]
    side = np.abs(s.u - s.width / 2)
    lamp = inside(side, s.width * 0.33, s.width * 0.48, s.du) * inside(
        s.v, s.height * 0.5, s.height * 0.78, s.dv
    )
    plate = inside(side, -1.0, 0.26, s.du) * inside(s.v, s.height * 0.42, s.height * 0.58, s.dv)
    colour = mix(mix(colour, s.c, lamp), np.full_like(s.a, 0.85), plate)
    return mix(colour, np.full_like(s.a, 0.07), inside(s.v, -1.0, 0.2 * s.height, s.dv))


def car_windows(s: SurfacePoints) -> np.ndarray:
    """Car windows between pillars of the body colour, with a slight reflection of the sky."""
    edge = np.minimum(s.u, s.width - s.u)
    pane = inside(edge, 0.09 * s.width, 1e3, s.du) * inside(s.v, 0.06, s.height - 0.07, s.dv)
    pane = pane * (1 - lines(s.u - s.width / 2, s.width * 2, 0.09, s.du) * (s.width > 2.0))
    reflection = s.b * (0.7 + 0.8 * np.clip(s.v / s.height, 0, 1) + 0.2 * s.coarse)[:, None]
    return mix(s.a, reflection, pane)


def wheel(s: SurfacePoints) -> np.ndarray:
    """Bright rim in a dark tyre."""
    radius = np.hypot(s.u - s.width / 2, s.v - s.height / 2) / (s.height / 2)
    rim = inside(radius, -1.0, 0.62, s.du / s.height * 2)
    return mix(np.full_like(s.a, 0.05), s.a * (0.8 + 0.2 * s.fine)[:, None], rim)
