"""Generator of stereo pairs with exact disparity, fast enough (20 ms per pair) to train without storing pairs.

A scene is a background and a stack of layers in front of it. The disparity of a layer is d(x, y) = h(x) + f(y) px with
x - h(x) increasing. Point x of a row of the left image is then at x - h(x) - f(y) in the right image, which can be
inverted exactly and quickly, and occlusions are consistent between the two images. Slanted planes, curved walls, roads,
poles, fences and foliage all have this form.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from depth_ros.world.layers import Canvas, Layer
from depth_ros.world.pair_distortions import add_patches, vary_photometry, vary_rectification
from depth_ros.world.pair_textures import image_texture, noise_texture, plain_texture, stripe_texture

Random = np.random.Generator

CLOSE_RANGE_PROBABILITY = 0.3
"""Probability of a scene in which everything is close."""


class Pairs:
    """A generator of pairs. textures: recorded images (H, W, 3) uint8 RGB to take textures from; may be empty."""

    def __init__(self, textures: Sequence[np.ndarray] = ()) -> None:
        self.textures = textures

    def pair(self, rng: Random, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Left and right image (H, W, 3) uint8 RGB and the disparity (H, W) float32 px of the left one."""
        left, right, disparity = self.scene(rng, width, height)
        if rng.random() < 0.15:
            right = add_patches(right, rng)
        left, right = vary_photometry(left, right, rng)
        return left, vary_rectification(right, rng), disparity

    def scene(self, rng: Random, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A pair as seen by two ideal cameras: see `pair`."""
        size = (height, width)
        background = float(np.exp(rng.uniform(np.log(0.5), np.log(40))))
        disparity_range = float(np.exp(rng.uniform(np.log(25), np.log(170))))
        min_disparity = 0.0
        if (
            rng.random() < CLOSE_RANGE_PROBABILITY
        ):  # a table, a shelf: the right image lacks much of the left one
            min_disparity = background = rng.uniform(30, 120)
            disparity_range = min(disparity_range, 170 - background)
        canvas = Canvas(size, self.background(rng, size, background))
        makers = [self.object] * int(rng.integers(6, 26)) + [self.thin_object] * int(rng.integers(0, 5))
        for make in makers:
            for layer in make(rng, size, disparity_range, min_disparity):
                canvas.add(layer)
        return canvas.left, canvas.right, canvas.disparity

    def background(self, rng: Random, size: tuple[int, int], disparity: float) -> list[Layer]:
        """A wall of about `disparity` px and, in 60 % of all cases, a floor below a horizon."""
        height, width = size
        slope = rng.uniform(-0.05, 0.05)
        x, y = np.arange(width) - width / 2, np.arange(height) - height / 2
        columns, rows = column_profile(x, slope, rng), np.full(height, disparity + abs(slope) * width)
        layers = [Layer(columns, rows, None, self.texture(rng, size))]
        if rng.random() < 0.6:
            horizon = rng.uniform(-0.4, 0.2) * height
            grade = float(np.exp(rng.uniform(np.log(0.1), np.log(0.9))))
            floor = np.maximum(y - horizon, 0) * grade
            if rng.random() < 0.3:
                floor = floor + rng.uniform(0, disparity)
            mask = np.repeat(np.where(y > horizon, 255, 0).astype(np.uint8)[:, None], width, 1)
            layers += self.layer(rng, x * rng.uniform(-0.03, 0.03), floor, mask, 2.0)
        return layers

    def object(
        self, rng: Random, size: tuple[int, int], disparity_range: float, min_disparity: float = 0.0
    ) -> list[Layer]:
        """A curved or slanted surface of `min_disparity` to `min_disparity + disparity_range` px at its centre."""
        height, width = size
        disparity = min_disparity + disparity_range * rng.beta(1.2, 2.0)
        mask = np.zeros(size, np.uint8)
        centre = np.array([rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.1, 1.1) * height])
        radius = np.exp(rng.uniform(np.log(0.04), np.log(0.35))) * width * np.array([1, rng.uniform(0.4, 2)])
        draw_shape(mask, centre, radius, rng)
        x, y = np.arange(width) - centre[0], np.arange(height) - centre[1]
        slope = rng.normal(0, 0.08, 2) * (rng.random() < 0.6)
        h = column_profile(x, float(slope[0].clip(-0.25, 0.25)), rng)
        f = disparity + slope[1] * y
        return self.layer(rng, h, f, mask)

    def thin_object(
        self, rng: Random, size: tuple[int, int], disparity_range: float, min_disparity: float = 0.0
    ) -> list[Layer]:
        """Poles, fences, wires, twigs: lines of 1 to 5 px."""
        height, width = size
        mask = np.zeros(size, np.uint8)
        count, thickness = int(rng.integers(1, 12)), int(rng.integers(1, 6))
        if rng.random() < 0.6:  # a row of posts
            gap, start = rng.uniform(6, 60), rng.uniform(0, width)
            lean, top = rng.normal(0, 0.1), rng.uniform(-0.2, 0.8) * height
            bottom = top + rng.uniform(0.2, 1.2) * height
            lines = [
                ((start + i * gap, top), (start + i * gap + lean * (bottom - top), bottom))
                for i in range(count)
            ]
            if rng.random() < 0.4:
                lines.append(((start, top), (start + count * gap, top)))
        else:  # twigs and wires
            ends = rng.uniform(-0.1, 1.1, (count, 2, 2)) * (width, height)
            lines = [((a, b), (c, d)) for (a, b), (c, d) in ends]
        for a, b in lines:
            cv2.line(mask, _fixed_point(a), _fixed_point(b), 255, thickness, cv2.LINE_AA, 4)
        disparity = min_disparity + disparity_range * rng.uniform(0.05, 0.8)
        return self.layer(rng, np.zeros(width), np.full(height, disparity), mask)

    def layer(
        self, rng: Random, columns: np.ndarray, rows: np.ndarray, mask: np.ndarray, stretch: float = 1.0
    ) -> list[Layer]:
        """A textured layer of the masked part of the left image; empty if the mask is."""
        left, top, width, height = cv2.boundingRect(mask)
        if not width:
            return []
        x, y = slice(left, left + width), slice(top, top + height)
        image = self.texture(rng, (height, width), stretch)
        return [Layer(columns[x], rows[y], mask[y, x], image, left, top)]

    def texture(self, rng: Random, size: tuple[int, int], stretch: float = 1.0) -> np.ndarray:
        """(H, W, 3) uint8: part of a recorded image, noise, stripes, or almost no texture."""
        kind = rng.random()
        if self.textures and kind < 0.65:
            return image_texture(self.textures[int(rng.integers(len(self.textures)))], rng, size)
        if kind < 0.72:
            return plain_texture(rng, size)
        if kind < 0.8:
            return stripe_texture(rng, size)
        return noise_texture(rng, size, stretch)


def column_profile(x: np.ndarray, slope: float, rng: Random) -> np.ndarray:
    """h(x) px: a slope, sometimes with a fold or a wave. Its steepness stays below 0.45."""
    h = slope * x
    kind = rng.random()
    if kind < 0.15:
        h = h + rng.uniform(-0.2, 0.2) * np.abs(x - rng.uniform(-30, 30))
    elif kind < 0.3:
        period = rng.uniform(30, 200)
        h = h + rng.uniform(0, 0.15) * period / 6.3 * np.sin(6.3 * x / period)
    return h


def draw_shape(mask: np.ndarray, centre: np.ndarray, radius: np.ndarray, rng: Random) -> None:
    """Draw an antialiased polygon, ellipse or box into the mask, sometimes with holes."""
    kind = rng.random()
    if kind < 0.2:
        angle = rng.uniform(0, 180)
        cv2.ellipse(mask, _fixed_point(centre), _fixed_point(radius), angle, 0, 360, 255, -1, cv2.LINE_AA, 4)
        return
    corners = int(rng.integers(3, 9)) if kind < 0.55 else 4
    angles: np.ndarray = np.sort(rng.uniform(0, 2 * np.pi, corners))
    if kind >= 0.55:  # upright or slightly rotated boxes
        angles = np.pi / 4 + np.pi / 2 * np.arange(4) + rng.normal(0, 0.08)
    distance = rng.uniform(0.5, 1.0, corners) if kind < 0.55 else np.ones(4)
    points = centre + radius * distance[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    cv2.fillPoly(mask, [np.rint(16 * points).astype(np.int32)], 255, cv2.LINE_AA, 4)
    if rng.random() < 0.2:
        inner = centre + (points - centre) * rng.uniform(0.3, 0.85)
        cv2.fillPoly(mask, [np.rint(16 * inner).astype(np.int32)], 0, cv2.LINE_AA, 4)
    elif rng.random() < 0.2:
        holes = cv2.resize(rng.random((16, 24), np.float32), mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
        mask[holes < 0.4] = 0


def _fixed_point(values: Sequence[float] | np.ndarray) -> tuple[int, int]:
    """Pixel coordinates in sixteenths, as the drawing functions of OpenCV take them with a shift of 4."""
    x, y = values
    return int(16 * x), int(16 * y)
