"""Stereo pairs with exact disparity, made fast enough to train on without storing any: 20 ms a pair.

A scene is a stack of surfaces over a background. Each is a mask and a texture drawn in the left image, and a
disparity d(x, y) = h(x) + f(y) px with x - h(x) increasing: then the right image sees the point x of a row at
x - h(x) - f(y), which can be inverted exactly and fast, and both eyes agree on what hides what. Slanted
planes, bent walls, roads, poles, fences and foliage are all of this form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Random = np.random.Generator
CLOSE = 0.3
"""Share of scenes in which everything is near."""


@dataclass(frozen=True)
class Surface:
    """Part of the left image. columns: h(x) (w,), rows: f(y) (h,), px. image: (h, w, 3) uint8.

    mask: (h, w) uint8, 255 = there, or None = everywhere. left, top: px of its first pixel.
    """

    columns: np.ndarray
    rows: np.ndarray
    mask: np.ndarray | None
    image: np.ndarray
    left: int = 0
    top: int = 0


class Pairs:
    """A source of pairs. textures: recorded images (H, W, 3) uint8 RGB to cut surfaces from; may be empty."""

    def __init__(self, textures: Sequence[np.ndarray] = ()) -> None:
        self.textures = list(textures)

    def pair(self, random: Random, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Left and right (H, W, 3) uint8 RGB and the disparity (H, W) float32 px of the left one."""
        left, right, disparity = self.scene(random, width, height)
        if random.random() < 0.15:
            right = spoiled(right, random)
        left, right = eyes(left, right, random)
        return left, misrectified(right, random), disparity

    def scene(self, random: Random, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The pair as two perfect cameras see it."""
        size = (height, width)
        far = float(np.exp(random.uniform(np.log(0.5), np.log(40))))
        largest = float(np.exp(random.uniform(np.log(25), np.log(170))))
        nearest = 0.0
        if (
            random.random() < CLOSE
        ):  # a table, a shelf: nothing is far, and much of the left is out of the right eye
            nearest = far = random.uniform(30, 120)
            largest = min(largest, 170 - far)
        canvas = Canvas(size, self.background(random, size, far))
        makers = [self.thing] * int(random.integers(6, 26)) + [self.thin] * int(random.integers(0, 5))
        for make in makers:
            for surface in make(random, size, largest, nearest):
                canvas.add(surface)
        return canvas.left, canvas.right, canvas.disparity

    def background(self, random: Random, size: tuple[int, int], far: float) -> list[Surface]:
        """A wall of about `far` px, and below a horizon perhaps a floor that comes towards the camera."""
        height, width = size
        slope = random.uniform(-0.05, 0.05)
        x, y = np.arange(width) - width / 2, np.arange(height) - height / 2
        wall = Surface(bent(x, slope, random), np.full(height, far + abs(slope) * width), None,
                       self.texture(random, size))  # fmt: skip
        surfaces = [wall]
        if random.random() < 0.6:
            horizon = random.uniform(-0.4, 0.2) * height
            grade = float(np.exp(random.uniform(np.log(0.1), np.log(0.9))))
            floor = np.maximum(y - horizon, 0) * grade
            if random.random() < 0.3:
                floor = floor + random.uniform(0, far)
            mask = np.repeat(np.where(y > horizon, 255, 0).astype(np.uint8)[:, None], width, 1)
            surfaces += self.surface(random, x * random.uniform(-0.03, 0.03), floor, mask, 2.0)
        return surfaces

    def thing(
        self, random: Random, size: tuple[int, int], largest: float, nearest: float = 0.0
    ) -> list[Surface]:
        """A bent or slanted piece of something, `nearest` to `nearest + largest` px."""
        height, width = size
        disparity = nearest + largest * random.beta(1.2, 2.0)
        mask = np.zeros(size, np.uint8)
        centre = np.array([random.uniform(-0.1, 1.1) * width, random.uniform(-0.1, 1.1) * height])
        radius = (
            np.exp(random.uniform(np.log(0.04), np.log(0.35))) * width * np.array([1, random.uniform(0.4, 2)])
        )
        shape(mask, centre, radius, random)
        x, y = np.arange(width) - centre[0], np.arange(height) - centre[1]
        steep = random.normal(0, 0.08, 2) * (random.random() < 0.6)
        h = bent(x, float(steep[0].clip(-0.25, 0.25)), random)
        f = disparity + steep[1] * y
        return self.surface(random, h, f, mask)

    def thin(
        self, random: Random, size: tuple[int, int], largest: float, nearest: float = 0.0
    ) -> list[Surface]:
        """Poles, fences, wires, twigs: lines of one to six px."""
        height, width = size
        mask = np.zeros(size, np.uint8)
        count, thickness = int(random.integers(1, 12)), int(random.integers(1, 6))
        if random.random() < 0.6:  # a row of posts
            gap, start = random.uniform(6, 60), random.uniform(0, width)
            lean, top = random.normal(0, 0.1), random.uniform(-0.2, 0.8) * height
            bottom = top + random.uniform(0.2, 1.2) * height
            lines = [
                ((start + i * gap, top), (start + i * gap + lean * (bottom - top), bottom))
                for i in range(count)
            ]
            if random.random() < 0.4:
                lines.append(((start, top), (start + count * gap, top)))
        else:  # twigs and wires
            ends = random.uniform(-0.1, 1.1, (count, 2, 2)) * (width, height)
            lines = [((a, b), (c, d)) for (a, b), (c, d) in ends]
        for a, b in lines:
            cv2.line(
                mask,
                tuple(int(16 * v) for v in a),
                tuple(int(16 * v) for v in b),
                255,
                thickness,
                cv2.LINE_AA,
                4,
            )
        disparity = nearest + largest * random.uniform(0.05, 0.8)
        return self.surface(random, np.zeros(width), np.full(height, disparity), mask)

    def surface(
        self, random: Random, columns: np.ndarray, rows: np.ndarray, mask: np.ndarray, stretch: float = 1.0
    ) -> list[Surface]:
        """The part of the image that the mask covers, textured; nothing if it covers nothing."""
        left, top, width, height = cv2.boundingRect(mask)
        if not width:
            return []
        x, y = slice(left, left + width), slice(top, top + height)
        image = self.texture(random, (height, width), stretch)
        return [Surface(columns[x], rows[y], mask[y, x], image, left, top)]

    def texture(self, random: Random, size: tuple[int, int], stretch: float = 1.0) -> np.ndarray:
        """(H, W, 3) uint8: part of a recorded image, noise, stripes, or nearly nothing."""
        kind = random.random()
        if self.textures and kind < 0.65:
            return cut(self.textures[int(random.integers(len(self.textures)))], random, size)
        if kind < 0.72:
            return plain(random, size)
        if kind < 0.8:
            return stripes(random, size)
        return noise(random, size, stretch)


class Canvas:
    """Both images and the left disparity; what is nearer hides what is farther, in each eye by itself."""

    def __init__(self, size: tuple[int, int], background: list[Surface]) -> None:
        self.left, self.right = np.zeros((*size, 3), np.uint8), np.zeros((*size, 3), np.uint8)
        self.disparity, self._right = np.full(size, -1, np.float32), np.full(size, -1, np.float32)
        self._x = np.arange(size[1], dtype=np.float32)
        for surface in background:
            self.add(surface)

    def add(self, surface: Surface) -> None:
        """Draw a surface into both eyes."""
        h, f = surface.columns.astype(np.float32), surface.rows.astype(np.float32)
        f = np.maximum(f, 0.3 - float(h.min()))  # nothing is beyond infinity
        x = self._x[surface.left : surface.left + len(h)]
        rows = slice(surface.top, surface.top + len(f))
        part = np.s_[rows, surface.left : surface.left + len(h)]
        blend(self.left[part], self.disparity[part], surface.image, surface.mask, h[None] + f[:, None])
        seen = x - h  # increasing: column in the right eye, before f
        if surface.mask is None:
            first, last = 0, len(self._x)
        else:
            first = max(0, int(seen[0] - f.max()))
            last = min(len(self._x), int(seen[-1] - f.min()) + 2)
            if last <= first:
                return
        target = self._x[first:last] + f[:, None]  # (h, w)
        place = inverse(seen, target)
        line = np.broadcast_to(np.arange(len(f), dtype=np.float32)[:, None], place.shape).copy()
        image = cv2.remap(surface.image, place, line, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        mask = surface.mask
        if mask is not None:
            mask = cv2.remap(mask, place, line, cv2.INTER_LINEAR, borderValue=0)
        part = np.s_[rows, first:last]
        blend(self.right[part], self._right[part], image, mask, place + (surface.left - self._x[first:last]))


def inverse(seen: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The places (fractional indices) where the increasing `seen` (N,) is `target` (H, W); beyond its ends at
    the slope of the ends. A table of quarter pixels: 20 times faster than searching."""
    step = 0.25
    low, high = min(seen[0], target.min()) - 1, max(seen[-1], target.max()) + 1
    grid = np.arange(low, high + step, step, dtype=np.float32)
    index = np.arange(len(seen), dtype=np.float32)
    table = np.interp(grid, seen, index)
    table += np.minimum(grid - seen[0], 0) + np.maximum(grid - seen[-1], 0)
    table = table.astype(np.float32)
    place = (target - np.float32(low)) * np.float32(1 / step)
    whole = place.astype(np.int32)
    start = table[whole]
    return start + (place - whole.astype(np.float32)) * (table[whole + 1] - start)


def blend(
    image: np.ndarray, depth: np.ndarray, new: np.ndarray, mask: np.ndarray | None, disparity: np.ndarray
) -> None:
    """Draw `new` where its mask is and it is nearer, in place; its edge is mixed with what is behind."""
    nearer = disparity > depth
    if mask is not None:
        edge = np.nonzero(nearer & (mask > 0) & (mask < 255))
        share = mask[edge][:, None] * np.float32(1 / 255)
        mixed = image[edge] * (1 - share) + new[edge] * share
        whole = nearer & (mask == 255)
        nearer &= mask > 127
    else:
        whole = nearer
    np.copyto(image, cv2.copyTo(new, whole.view(np.uint8), image.copy()))
    if mask is not None:
        image[edge] = mixed
    np.copyto(depth, disparity, where=nearer)


def bent(x: np.ndarray, slope: float, random: Random) -> np.ndarray:
    """h(x) px: a slope, sometimes with a fold or a wave; its steepness stays below 0.45."""
    h = slope * x
    kind = random.random()
    if kind < 0.15:
        h = h + random.uniform(-0.2, 0.2) * np.abs(x - random.uniform(-30, 30))
    elif kind < 0.3:
        period = random.uniform(30, 200)
        h = h + random.uniform(0, 0.15) * period / 6.3 * np.sin(6.3 * x / period)
    return h


def shape(mask: np.ndarray, centre: np.ndarray, radius: np.ndarray, random: Random) -> None:
    """Draw a polygon, an ellipse, a box with a hole, or a blob into the mask, with a smooth edge."""
    kind = random.random()
    if kind < 0.2:
        axes = tuple(int(16 * r) for r in radius)
        cv2.ellipse(
            mask,
            tuple(int(16 * c) for c in centre),
            axes,
            random.uniform(0, 180),
            0,
            360,
            255,
            -1,
            cv2.LINE_AA,
            4,
        )
        return
    corners = int(random.integers(3, 9)) if kind < 0.55 else 4
    angles: np.ndarray = np.sort(random.uniform(0, 2 * np.pi, corners))
    if kind >= 0.55:  # upright or slightly turned boxes
        angles = np.pi / 4 + np.pi / 2 * np.arange(4) + random.normal(0, 0.08)
    distance = random.uniform(0.5, 1.0, corners) if kind < 0.55 else np.ones(4)
    points = centre + radius * distance[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    cv2.fillPoly(mask, [np.rint(16 * points).astype(np.int32)], 255, cv2.LINE_AA, 4)
    if random.random() < 0.2:
        inner = centre + (points - centre) * random.uniform(0.3, 0.85)
        cv2.fillPoly(mask, [np.rint(16 * inner).astype(np.int32)], 0, cv2.LINE_AA, 4)
    elif random.random() < 0.2:
        holes = cv2.resize(
            random.random((16, 24), np.float32), mask.shape[::-1], interpolation=cv2.INTER_CUBIC
        )
        mask[holes < 0.4] = 0


def cut(image: np.ndarray, random: Random, size: tuple[int, int]) -> np.ndarray:
    """A window of a recorded image, turned and scaled, perhaps in other colours."""
    height, width = size
    scale = float(np.exp(random.uniform(np.log(0.6), np.log(2.5))))
    turn = cv2.getRotationMatrix2D((0, 0), random.normal(0, 15) + 180 * (random.random() < 0.1), scale)
    turn[:, 2] = random.uniform(-1, 1, 2) * scale * (image.shape[1], image.shape[0])
    if random.random() < 0.5:
        turn[0] *= -1
    texture = cv2.warpAffine(
        image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return recoloured(texture, random) if random.random() < 0.4 else texture


def recoloured(image: np.ndarray, random: Random) -> np.ndarray:
    levels = np.arange(256)[None] * random.uniform(0.4, 1.4, (3, 1)) + random.uniform(-60, 60, (3, 1))
    return cv2.LUT(image, levels.clip(0, 255).astype(np.uint8).T.reshape(1, 256, 3))


def plain(random: Random, size: tuple[int, int]) -> np.ndarray:
    """One colour that changes slowly: paint, sky, glass."""
    small = random.uniform(0, 255, 3) + random.normal(0, 12, (2, 3, 3))
    return cv2.resize(small.clip(0, 255).astype(np.uint8), size[::-1], interpolation=cv2.INTER_LINEAR)


def stripes(random: Random, size: tuple[int, int]) -> np.ndarray:
    """Bars or checks: repetitive, which fools those who look at small windows."""
    height, width = size
    tile: np.ndarray = random.integers(0, 255, (int(random.integers(1, 3)), 2, 3)).astype(np.uint8)
    tile = cv2.resize(tile, (int(random.integers(4, 40)),) * 2, interpolation=cv2.INTER_NEAREST)
    turn = cv2.getRotationMatrix2D((0, 0), random.uniform(-90, 90), 1.0)
    return cv2.warpAffine(tile, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def noise(random: Random, size: tuple[int, int], stretch: float = 1.0) -> np.ndarray:
    """Noise of several octaves around a colour: plaster, grass, asphalt."""
    height, width = size
    image: np.ndarray = np.zeros((height, width, 3), np.float32) + random.uniform(30, 225, 3).astype(
        np.float32
    )
    for octave in range(int(random.integers(0, 3)), 6, int(random.integers(1, 3))):
        cells = (
            max(2, int(height / 2**octave)),
            max(2, int(width / 2**octave / stretch)),
            1 if octave % 2 else 3,
        )
        coarse = random.standard_normal(cells, np.float32) * random.uniform(2, 30)
        grid = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        image += grid if grid.ndim == 3 else grid[..., None]
    return image.clip(0, 255).astype(np.uint8)


def spoiled(image: np.ndarray, random: Random) -> np.ndarray:
    """Patches of the right image replaced: dirt, reflections; what the left image shows must do there."""
    image = image.copy()
    height, width = image.shape[:2]
    for _ in range(int(random.integers(1, 3))):
        w, h = int(random.integers(20, 80)), int(random.integers(20, 80))
        x, y = int(random.integers(0, max(1, width - w))), int(random.integers(0, max(1, height - h)))
        image[y : y + h, x : x + w] = image.mean((0, 1))
    return image


def eyes(left: np.ndarray, right: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Other gain, gamma, noise and sharpness in each eye."""
    apart = 0.08 if random.random() < 0.7 else 0.25
    result = []
    for image in (left, right):
        levels = np.linspace(0, 1, 256)[None] ** np.exp(random.normal(0, apart))
        levels = levels * np.exp(random.normal(0, apart, (3, 1)) * 0.4 + random.normal(0, apart))
        image = cv2.LUT(image, (255 * levels).clip(0, 255).astype(np.uint8).T.reshape(1, 256, 3))
        if random.random() < 0.2:
            image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.0))
        if random.random() < 0.5:
            grain = np.empty(image.shape, np.int16)
            cv2.setRNGSeed(int(random.integers(2**31)))
            cv2.randn(grain, np.zeros(3), np.full(3, random.uniform(0.5, 6)))
            image = cv2.add(image, grain, dtype=cv2.CV_8U)
        result.append(image)
    return result[0], result[1]


def misrectified(right: np.ndarray, random: Random) -> np.ndarray:
    """The right image a fraction of a pixel off its rows, as calibrations are."""
    if random.random() < 0.5:
        return right
    height, width = right.shape[:2]
    move = cv2.getRotationMatrix2D((width / 2, height / 2), random.normal(0, 0.06), 1.0)
    move[0] = (1, 0, 0)  # columns carry the disparity
    move[1, 2] += random.normal(0, 0.35)
    return cv2.warpAffine(
        right, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
