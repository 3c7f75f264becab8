"""Textures of rooms. See `patterns` for the definition of a texture."""

from __future__ import annotations

import numpy as np

from depth_ros.world.patterns import SurfacePoints, cell_noise, inside, lines, mix, with_grain, wood


def planks(s: SurfacePoints) -> np.ndarray:
    """Floorboards."""
    row = np.floor(s.v / 0.14)
    u = s.u + 0.9 * cell_noise(row, row * 0, s.seed)
    near = np.clip(1.5 - s.dv / 0.14, 0, 1)
    tone = 0.22 * near * cell_noise(np.floor(u / 1.2), row, s.seed + 1)
    joint = np.maximum(lines(s.v, 0.14, 0.008, s.dv), lines(u, 1.2, 0.008, s.du))
    grain = 0.08 * near * np.sin(70 * s.v + 4 * s.coarse + 2 * u)
    return mix(with_grain(s.a, s, 0.06, 0.08) * (1 + tone + grain)[:, None], s.b * 0.5, joint)


def carpet(s: SurfacePoints) -> np.ndarray:
    """Carpet of two speckled colours."""
    return with_grain(mix(s.a, s.b, np.clip(0.5 + s.fine, 0, 1)), s, 0.08, 0.25)


def wall(s: SurfacePoints) -> np.ndarray:
    """Wall of a room: paint, skirting board, a door, pictures and posters at random positions."""
    colour = with_grain(s.a, s, 0.035, 0.03)
    cell = 1.3
    i = np.floor(s.u / cell)
    x = s.u - (i + 0.5) * cell + 0.15 * cell_noise(i, i * 0 + 1, s.seed)
    kind = cell_noise(i, i * 0, s.seed)
    half, high = (
        0.22 + 0.16 * np.abs(cell_noise(i, i * 0 + 2, s.seed)),
        0.2 + 0.2 * np.abs(cell_noise(i, i * 0 + 3, s.seed)),
    )
    middle = 1.55 + 0.25 * cell_noise(i, i * 0 + 4, s.seed)
    hung = (kind > -0.1) & (kind < 0.7)
    framed = inside(np.abs(x), -1.0, half, s.du) * inside(np.abs(s.v - middle), -1.0, high, s.dv) * hung
    inner = (
        inside(np.abs(x), -1.0, half - 0.03, s.du)
        * inside(np.abs(s.v - middle), -1.0, high - 0.03, s.dv)
        * hung
    )
    hue = np.stack([cell_noise(i, i * 0 + 5 + k, s.seed) for k in range(3)], axis=-1)
    motif = np.sin(x[:, None] * (9 + 6 * hue[:, :1]) + s.v[:, None] * 8 * hue[:, 2:] + 0.4 * hue)
    picture = np.clip(0.5 + 0.3 * hue + 0.3 * motif + 0.15 * s.fine[:, None], 0.03, 1)
    colour = mix(mix(colour, s.c * 0.6, framed), picture, inner)
    door = inside(np.abs(x), -1.0, 0.45, s.du) * inside(s.v, -1.0, 2.05, s.dv) * (kind > 0.75)
    leaf = inside(np.abs(x), -1.0, 0.39, s.du) * inside(s.v, -1.0, 1.99, s.dv) * (kind > 0.75)
    handle = inside(x, 0.27, 0.35, s.du) * inside(s.v, 1.0, 1.05, s.dv) * (kind > 0.75)
    colour = mix(mix(mix(colour, s.c, door), with_grain(s.b, s, 0.05, 0.08), leaf), s.a * 0 + 0.1, handle)
    return mix(colour, s.c * 0.8, inside(s.v, -1.0, 0.09, s.dv) * (1 - door))


def pane(s: SurfacePoints) -> np.ndarray:
    """A bright window with glazing bars, showing sky and trees."""
    view = mix(s.a, s.b, np.clip(1.3 - 2.2 * s.v / s.height + 0.5 * s.coarse + 0.2 * s.fine, 0, 1))
    bars = np.maximum(lines(s.u, s.width / 2, 0.07, s.du), lines(s.v, s.height, 0.1, s.dv))
    return mix(view, s.c, bars)


def books(s: SurfacePoints) -> np.ndarray:
    """Shelves of books with some gaps."""
    storey = s.height / np.maximum(np.round(s.height / 0.34), 1)
    j = np.floor(s.v / storey)
    i = np.floor(s.u / 0.045)
    y = s.v - j * storey
    near = np.clip(1.6 - s.du / 0.045, 0, 1)[:, None]
    hue = np.stack([cell_noise(i, j * 3 + k, s.seed) for k in range(3)], axis=-1) * near
    top = storey * (0.74 + 0.14 * near[:, 0] * cell_noise(i, j + 31, s.seed))
    there = cell_noise(np.floor(s.u / 0.3), j, s.seed + 3) > -0.6
    book = inside(y, 0.0, top, s.dv) * there
    back = np.clip(0.42 + 0.36 * hue, 0.03, 1) * (1 - 0.3 * lines(s.u, 0.045, 0.006, s.du))[:, None]
    band = inside(np.mod(y, storey), 0.5 * top, 0.6 * top, s.dv) * 0.4 * near[:, 0]
    colour = mix(s.b * 0.3, mix(back, s.c, band), book)
    board = lines(s.v, storey, 0.05, s.dv)
    sides = 1 - inside(s.u, 0.03, s.width - 0.03, s.du)
    return mix(colour, s.a, np.maximum(board, sides))


def drawers(s: SurfacePoints) -> np.ndarray:
    """Cupboard doors and drawers with gaps and handles."""
    across = s.width / np.maximum(np.round(s.width / 0.5), 1)
    storey = s.height / (1 + s.seed % 4)
    colour = wood(s)
    gap = np.maximum(lines(s.u, across, 0.014, s.du), lines(s.v, storey, 0.014, s.dv))
    x, y = np.mod(s.u, across) - across / 2, np.mod(s.v, storey) - storey * 0.75
    handle = inside(np.abs(x), -1.0, 0.07, s.du) * inside(np.abs(y), -1.0, 0.012, s.dv)
    return mix(mix(colour, s.b * 0.3, gap), s.c, handle)


def screen(s: SurfacePoints) -> np.ndarray:
    """A monitor: dark frame, bright page with lines of text."""
    page = inside(s.u, 0.02, s.width - 0.02, s.du) * inside(s.v, 0.03, s.height - 0.02, s.dv)
    text = lines(s.v, 0.022, 0.009, s.dv) * (
        cell_noise(np.floor(s.u * 60), np.floor(s.v / 0.022), s.seed) > -0.3
    )
    return mix(np.full_like(s.a, 0.05), mix(s.b, s.c, text * 0.7), page)


def stripes(s: SurfacePoints) -> np.ndarray:
    """Cloth with broad stripes of three colours."""
    band = cell_noise(np.floor(s.u / 0.07), 0 * s.u, s.seed)
    colour = np.where((band > 0.3)[:, None], s.b, np.where((band < -0.5)[:, None], s.c, s.a))
    return with_grain(colour, s, 0.08, 0.15)


def carton(s: SurfacePoints) -> np.ndarray:
    """Cardboard with tape and a printed label."""
    tape = inside(np.abs(s.u - s.width / 2), -1.0, 0.03, s.du)
    label = inside(s.u, 0.1 * s.width, 0.4 * s.width, s.du) * inside(
        s.v, 0.5 * s.height, 0.85 * s.height, s.dv
    )
    print_ = lines(s.v, 0.03, 0.012, s.dv) * inside(s.u, 0.14 * s.width, 0.36 * s.width, s.du)
    colour = mix(with_grain(s.a, s, 0.08, 0.1), s.b, tape * 0.6)
    return mix(colour, mix(np.full_like(s.a, 0.9), s.c, print_), label)
