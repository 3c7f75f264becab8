"""Procedural textures: functions of the coordinates on a face, faded where they are finer than a pixel.

Every public function takes a `Surface` of P pixels and returns their (P, 3) float32 colour in [0, 1] before light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

TILE = np.random.default_rng(7).uniform(-1, 1, (256, 256)).astype(np.float32)
"""White noise that the textures and the value noise look up; it repeats after 256 cells."""

OCTAVES = 6


@dataclass(frozen=True)
class Road:
    """A road whose centre line is an arc through the origin along x. curvature: 1/m, to the left.

    half_width: m to the kerb. lanes: marks on the centre line, on both edges.
    """

    curvature: float
    half_width: float
    marked: bool

    def along(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Length along the centre line and offset to its left, m, of world points."""
        radius = 1 / self.curvature
        side = np.sign(radius)
        return radius * np.arctan2(side * x, side * (radius - y)), radius - side * np.hypot(x, radius - y)


@dataclass(frozen=True)
class Surface:
    """Pixels that share a texture. u, v: (P,) m from the lower left corner of the face; du, dv: (P,) m a pixel covers.

    width, height: (P,) m of the face; seed: (P,) int; rough, fine: (P,) noise in about [-1, 1], slow and quick;
    a, b, c: (P, 3) the colours of the paint.
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
    road: Road | None = None


def noise(u: np.ndarray, v: np.ndarray, du: np.ndarray, dv: np.ndarray, seed: np.ndarray) -> tuple:
    """Value noise (H, W) float32 at 0.5 to 2 cycles a metre and at 4 to 16; octaves below a pixel fade out."""
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
    return a + (b - a) * share[..., None]


def hashed(i: np.ndarray, j: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """One random number in [-1, 1] for a cell (i, j)."""
    return TILE[i.astype(np.int32) & 255, (j.astype(np.int32) + 57 * seed) & 255]


def inside(x: np.ndarray, low: np.ndarray, high: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Share of the pixel about x that lies between low and high."""
    return np.clip((np.minimum(x - low, high - x)) / pixel + 0.5, 0, 1)


def lines(x: np.ndarray, period: np.ndarray, thickness: float, pixel: np.ndarray) -> np.ndarray:
    """Share of the pixel covered by lines at the multiples of `period`; their mean where they are too fine."""
    distance = np.abs(x - np.round(x / period) * period)
    share = np.clip((thickness / 2 - distance) / pixel + 0.5, 0, 1)
    blur = np.clip(2 * pixel / period - 0.5, 0, 1)
    return share * (1 - blur) + blur * thickness / period


def grained(colour: np.ndarray, s: Surface, rough: float, fine: float) -> np.ndarray:
    return colour * (1 + rough * s.rough + fine * s.fine)[:, None]


def plain(s: Surface) -> np.ndarray:
    return grained(s.a, s, 0.06, 0.06)


def plaster(s: Surface) -> np.ndarray:
    return grained(mix(s.a, s.b, np.clip(s.rough * 0.4, 0, 1)), s, 0.05, 0.1)


def road(s: Surface) -> np.ndarray:
    """The ground of a street: asphalt with marks and cracks, verges of grass beyond."""
    x, y = s.u - s.width / 2, s.v - s.height / 2
    along, left = s.road.along(x, y)
    half = s.road.half_width
    patch = 0.12 * hashed(np.floor(along / 7), np.floor(left / 2.5), s.seed) * (np.abs(left) < half)
    asphalt = grained(s.a, s, 0.10, 0.22) * (1 + patch)[:, None]
    wheels = 0.06 * np.cos(2 * np.pi * left / 1.75)
    asphalt = asphalt * (1 - wheels)[:, None]
    if s.road.marked:
        dash = inside(np.mod(along, 9.0), 0.0, 4.0, s.du)
        marks = dash * inside(left, -0.07, 0.07, s.dv)
        edges = inside(np.abs(left), half - 0.4, half - 0.27, s.dv)
        asphalt = mix(asphalt, s.c, np.clip(marks + edges, 0, 1) * (0.85 + 0.3 * np.clip(s.fine, -1, 0)))
    grass = grained(s.b, s, 0.3, 0.5)
    return mix(grass, asphalt, inside(left, -half, half, s.dv))


def tiles(s: Surface) -> np.ndarray:
    """Square slabs with joints: pavements, bathroom walls, floors."""
    period = 0.3 + 0.1 * (s.seed % 4)
    shade = 0.12 * hashed(np.floor(s.u / period), np.floor(s.v / period), s.seed)
    shade *= np.clip(1.5 - 2 * np.maximum(s.du, s.dv) / period, 0, 1)
    joint = np.maximum(lines(s.u, period, 0.02, s.du), lines(s.v, period, 0.02, s.dv))
    return mix(grained(s.a, s, 0.08, 0.12) * (1 + shade)[:, None], s.b, joint)


def checks(s: Surface) -> np.ndarray:
    period = 0.2 + 0.1 * (s.seed % 3)
    even = np.mod(np.floor(s.u / period) + np.floor(s.v / period), 2)
    even = 0.5 + (even - 0.5) * np.clip(1.5 - 2 * np.maximum(s.du, s.dv) / period, 0, 1)
    return grained(mix(s.a, s.b, even), s, 0.08, 0.08)


def brick(s: Surface) -> np.ndarray:
    row = np.floor(s.v / 0.09)
    u = s.u + 0.125 * np.mod(row, 2)
    near = np.clip(1.5 - np.maximum(s.du, s.dv) / 0.09, 0, 1)
    tone = 0.2 * near * hashed(np.floor(u / 0.25), row, s.seed)
    joint = np.maximum(lines(u, 0.25, 0.015, s.du), lines(s.v, 0.09, 0.015, s.dv))
    return mix(grained(s.a, s, 0.10, 0.12) * (1 + tone)[:, None], s.b, joint)


def plaster_house(s: Surface) -> np.ndarray:
    return _house(s, plaster(s))


def brick_house(s: Surface) -> np.ndarray:
    return _house(s, brick(s))


def _house(s: Surface, wall: np.ndarray) -> np.ndarray:
    """A house front: storeys of windows with frames and ledges on a wall (P, 3), doors at the bottom."""
    across = s.width / np.maximum(np.round(s.width / (2.0 + 0.35 * (s.seed % 5))), 1)
    storey = s.height / np.maximum(np.round(s.height / 2.9), 1)
    i, j = np.floor(s.u / across), np.floor(s.v / storey)
    x, y = s.u - i * across, s.v - j * storey
    half = across * (0.20 + 0.03 * (s.seed % 4))
    low, high = storey * 0.32, storey * 0.85
    door = (j == 0) & (hashed(i, j, s.seed) > 0.55)
    low = np.where(door, 0.0, low)
    frame = inside(x, across / 2 - half, across / 2 + half, s.du) * inside(y, low, high, s.dv)
    glass = inside(x, across / 2 - half + 0.08, across / 2 + half - 0.08, s.du) * inside(y, low + 0.08, high - 0.08, s.dv)
    bars = np.maximum(lines(x - across / 2, 2 * half, 0.06, s.du), lines(y - (low + high) / 2, storey, 0.06, s.dv))
    tone = np.clip(0.22 + 0.2 * hashed(i + 91, j, s.seed) + 0.25 * (y - low) / storey + 0.06 * s.rough, 0.03, 0.8)
    window = tone[:, None] * np.array([0.85, 0.95, 1.1], np.float32)
    window = np.where(door[:, None], s.b * 0.6, window)
    ledge = inside(y, storey - 0.12, storey, s.dv) * 0.5
    colour = mix(mix(wall, s.c, np.maximum(frame, ledge)), window, glass * (1 - bars * ~door))
    return mix(colour, s.b * 0.5, inside(s.v, -1.0, 0.35, s.dv) * 0.8 * ~door)


def roof(s: Surface) -> np.ndarray:
    rows = lines(s.v, 0.3, 0.05, s.dv)
    return mix(grained(s.a, s, 0.15, 0.2), s.a * 0.5, rows * 0.7)


def leaves(s: Surface) -> np.ndarray:
    """Foliage: light and dark clumps of two greens with black gaps."""
    clump = np.clip(0.5 + 0.35 * s.rough + 0.55 * s.fine, 0, 1)
    colour = mix(s.b, s.a, clump)
    return colour * (0.45 + 0.75 * clump)[:, None]


def bark(s: Surface) -> np.ndarray:
    stripes = 0.25 * TILE[(s.u * 18).astype(np.int32) & 255, s.seed & 255]
    return grained(s.a, s, 0.15, 0.3) * (1 + stripes * np.clip(1.5 - 18 * s.du, 0, 1))[:, None]


def fence(s: Surface) -> np.ndarray:
    planks = lines(s.u, 0.16, 0.03, s.du)
    tone = 0.15 * hashed(np.floor(s.u / 0.16 + 0.5), 0 * s.u, s.seed) * np.clip(1.5 - s.du / 0.1, 0, 1)
    return mix(grained(s.a, s, 0.1, 0.15) * (1 + tone)[:, None], s.a * 0.3, planks)


def paintwork(s: Surface) -> np.ndarray:
    """The side of a car body: lacquer, darker towards the sill, door gaps, a light strip at the ends."""
    shine = 0.75 + 0.4 * np.clip(s.v / s.height, 0, 1) + 0.05 * s.rough
    colour = s.a * shine[:, None]
    gaps = lines(s.u - s.width / 2, 1.15, 0.025, s.du) * inside(np.abs(s.u - s.width / 2), 0, 1.3, s.du)
    colour = mix(colour, s.a * 0.3, gaps * (s.width > 2.5))
    return mix(colour, np.full_like(s.a, 0.06), inside(s.v, -1.0, 0.14 * s.height, s.dv))


def car_end(s: Surface) -> np.ndarray:
    """Front or back of a car: lamps (colour c), number plate, dark bumper."""
    colour = s.a * (0.75 + 0.35 * np.clip(s.v / s.height, 0, 1))[:, None]
    side = np.abs(s.u - s.width / 2)
    lamp = inside(side, s.width * 0.33, s.width * 0.48, s.du) * inside(s.v, s.height * 0.5, s.height * 0.78, s.dv)
    plate = inside(side, -1.0, 0.26, s.du) * inside(s.v, s.height * 0.42, s.height * 0.58, s.dv)
    colour = mix(mix(colour, s.c, lamp), np.full_like(s.a, 0.85), plate)
    return mix(colour, np.full_like(s.a, 0.07), inside(s.v, -1.0, 0.2 * s.height, s.dv))


def glass(s: Surface) -> np.ndarray:
    """Car windows between pillars of the body's colour; they mirror the sky a little."""
    edge = np.minimum(s.u, s.width - s.u)
    pane = inside(edge, 0.09 * s.width, 1e3, s.du) * inside(s.v, 0.06, s.height - 0.07, s.dv)
    pane = pane * (1 - lines(s.u - s.width / 2, s.width * 2, 0.09, s.du) * (s.width > 2.0))
    mirror = s.b * (0.7 + 0.8 * np.clip(s.v / s.height, 0, 1) + 0.2 * s.rough)[:, None]
    return mix(s.a, mirror, pane)


def wheel(s: Surface) -> np.ndarray:
    radius = np.hypot(s.u - s.width / 2, s.v - s.height / 2) / (s.height / 2)
    rim = inside(radius, -1.0, 0.62, s.du / s.height * 2)
    return mix(np.full_like(s.a, 0.05), s.a * (0.8 + 0.2 * s.fine)[:, None], rim)


def wood(s: Surface) -> np.ndarray:
    rings = np.sin(2 * np.pi * (s.v * 11 + 0.9 * np.sin(0.8 * s.u + s.seed) + 0.25 * s.rough))
    fade = np.clip(1.5 - 22 * s.dv, 0, 1)
    return grained(mix(s.a, s.b, 0.5 + 0.22 * rings * fade + 0.3 * s.fine), s, 0.05, 0.1)


def planks(s: Surface) -> np.ndarray:
    """A floor of boards."""
    row = np.floor(s.v / 0.14)
    u = s.u + 0.9 * hashed(row, row * 0, s.seed)
    near = np.clip(1.5 - s.dv / 0.14, 0, 1)
    tone = 0.22 * near * hashed(np.floor(u / 1.2), row, s.seed + 1)
    joint = np.maximum(lines(s.v, 0.14, 0.008, s.dv), lines(u, 1.2, 0.008, s.du))
    grain = 0.08 * near * np.sin(70 * s.v + 4 * s.rough + 2 * u)
    return mix(grained(s.a, s, 0.06, 0.08) * (1 + tone + grain)[:, None], s.b * 0.5, joint)


def carpet(s: Surface) -> np.ndarray:
    return grained(mix(s.a, s.b, np.clip(0.5 + s.fine, 0, 1)), s, 0.08, 0.25)


def wall(s: Surface) -> np.ndarray:
    """A room's wall: paint, skirting board, a door, pictures and posters at random places."""
    colour = grained(s.a, s, 0.035, 0.03)
    cell = 1.3
    i = np.floor(s.u / cell)
    x = s.u - (i + 0.5) * cell + 0.15 * hashed(i, i * 0 + 1, s.seed)
    kind = hashed(i, i * 0, s.seed)
    half, high = 0.22 + 0.16 * np.abs(hashed(i, i * 0 + 2, s.seed)), 0.2 + 0.2 * np.abs(hashed(i, i * 0 + 3, s.seed))
    middle = 1.55 + 0.25 * hashed(i, i * 0 + 4, s.seed)
    hung = (kind > -0.1) & (kind < 0.7)
    framed = inside(np.abs(x), -1.0, half, s.du) * inside(np.abs(s.v - middle), -1.0, high, s.dv) * hung
    inner = inside(np.abs(x), -1.0, half - 0.03, s.du) * inside(np.abs(s.v - middle), -1.0, high - 0.03, s.dv) * hung
    hue = np.stack([hashed(i, i * 0 + 5 + k, s.seed) for k in range(3)], axis=-1)
    motif = np.sin(x[:, None] * (9 + 6 * hue[:, :1]) + s.v[:, None] * 8 * hue[:, 2:] + 0.4 * hue)
    picture = np.clip(0.5 + 0.3 * hue + 0.3 * motif + 0.15 * s.fine[:, None], 0.03, 1)
    colour = mix(mix(colour, s.c * 0.6, framed), picture, inner)
    door = inside(np.abs(x), -1.0, 0.45, s.du) * inside(s.v, -1.0, 2.05, s.dv) * (kind > 0.75)
    leaf = inside(np.abs(x), -1.0, 0.39, s.du) * inside(s.v, -1.0, 1.99, s.dv) * (kind > 0.75)
    handle = inside(x, 0.27, 0.35, s.du) * inside(s.v, 1.0, 1.05, s.dv) * (kind > 0.75)
    colour = mix(mix(mix(colour, s.c, door), grained(s.b, s, 0.05, 0.08), leaf), s.a * 0 + 0.1, handle)
    return mix(colour, s.c * 0.8, inside(s.v, -1.0, 0.09, s.dv) * (1 - door))


def pane(s: Surface) -> np.ndarray:
    """A bright window with bars, and sky and trees behind it."""
    view = mix(s.a, s.b, np.clip(1.3 - 2.2 * s.v / s.height + 0.5 * s.rough + 0.2 * s.fine, 0, 1))
    bars = np.maximum(lines(s.u, s.width / 2, 0.07, s.du), lines(s.v, s.height, 0.1, s.dv))
    return mix(view, s.c, bars)


def books(s: Surface) -> np.ndarray:
    """Shelves with the backs of books, some places empty."""
    storey = s.height / np.maximum(np.round(s.height / 0.34), 1)
    j = np.floor(s.v / storey)
    i = np.floor(s.u / 0.045)
    y = s.v - j * storey
    near = np.clip(1.6 - s.du / 0.045, 0, 1)[:, None]
    hue = np.stack([hashed(i, j * 3 + k, s.seed) for k in range(3)], axis=-1) * near
    top = storey * (0.74 + 0.14 * near[:, 0] * hashed(i, j + 31, s.seed))
    there = hashed(np.floor(s.u / 0.3), j, s.seed + 3) > -0.6
    book = inside(y, 0.0, top, s.dv) * there
    back = np.clip(0.42 + 0.36 * hue, 0.03, 1) * (1 - 0.3 * lines(s.u, 0.045, 0.006, s.du))[:, None]
    band = inside(np.mod(y, storey), 0.5 * top, 0.6 * top, s.dv) * 0.4 * near[:, 0]
    colour = mix(s.b * 0.3, mix(back, s.c, band), book)
    board = lines(s.v, storey, 0.05, s.dv)
    sides = 1 - inside(s.u, 0.03, s.width - 0.03, s.du)
    return mix(colour, s.a, np.maximum(board, sides))


def drawers(s: Surface) -> np.ndarray:
    """Cupboard fronts with gaps and handles."""
    across = s.width / np.maximum(np.round(s.width / 0.5), 1)
    storey = s.height / (1 + s.seed % 4)
    colour = wood(s)
    gap = np.maximum(lines(s.u, across, 0.014, s.du), lines(s.v, storey, 0.014, s.dv))
    x, y = np.mod(s.u, across) - across / 2, np.mod(s.v, storey) - storey * 0.75
    handle = inside(np.abs(x), -1.0, 0.07, s.du) * inside(np.abs(y), -1.0, 0.012, s.dv)
    return mix(mix(colour, s.b * 0.3, gap), s.c, handle)


def screen(s: Surface) -> np.ndarray:
    """A monitor: dark frame, bright page with lines of text."""
    page = inside(s.u, 0.02, s.width - 0.02, s.du) * inside(s.v, 0.03, s.height - 0.02, s.dv)
    text = lines(s.v, 0.022, 0.009, s.dv) * (hashed(np.floor(s.u * 60), np.floor(s.v / 0.022), s.seed) > -0.3)
    return mix(np.full_like(s.a, 0.05), mix(s.b, s.c, text * 0.7), page)


def stripes(s: Surface) -> np.ndarray:
    """Cloth: broad stripes of the three colours."""
    band = hashed(np.floor(s.u / 0.07), 0 * s.u, s.seed)
    colour = np.where((band > 0.3)[:, None], s.b, np.where((band < -0.5)[:, None], s.c, s.a))
    return grained(colour, s, 0.08, 0.15)


def carton(s: Surface) -> np.ndarray:
    """A box of cardboard with tape and a printed label."""
    tape = inside(np.abs(s.u - s.width / 2), -1.0, 0.03, s.du)
    label = inside(s.u, 0.1 * s.width, 0.4 * s.width, s.du) * inside(s.v, 0.5 * s.height, 0.85 * s.height, s.dv)
    print_ = lines(s.v, 0.03, 0.012, s.dv) * inside(s.u, 0.14 * s.width, 0.36 * s.width, s.du)
    colour = mix(grained(s.a, s, 0.08, 0.1), s.b, tape * 0.6)
    return mix(colour, mix(np.full_like(s.a, 0.9), s.c, print_), label)
