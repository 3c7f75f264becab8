"""Size and position of training crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from depth_ros.networks.blocks.fit import WHOLE


@dataclass(frozen=True)
class CropSettings:
    """Size of the training crops, px, and how they are varied.

    zoom: ratio of the widest to the narrowest crop. max_roll: largest rotation about the optical axis, degrees.
    mirror: flip half of the crops horizontally. colours: how colours are varied, one of `colours.COLOURS`.
    fit, region: as the card of the model states them, see `card.Card`; crops are within the region. With "aspect" and
    "crop" they have the aspect ratio of width x height; with "stretch" each of their sides is that of the region, or
    up to 1 / zoom of it, independently of the other.
    """

    width: int
    height: int
    zoom: float = 1.6
    max_roll: float = 0.0
    mirror: bool = True
    colours: str = "strong"
    fit: str = "aspect"
    region: tuple[float, float, float, float] = WHOLE

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as OpenCV takes it."""
        return self.width, self.height

    @property
    def source_size(self) -> tuple[float, float]:
        """Width and height of an image whose narrowest crop has the size of the crop: more pixels would be wasted."""
        left, top, right, bottom = self.region
        return self.width * self.zoom / (right - left), self.height * self.zoom / (bottom - top)


class Window(NamedTuple):
    """A rectangle of an image, px."""

    left: int
    top: int
    width: int
    height: int

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Index of the rectangle in an image array (H, W, ...)."""
        return np.s_[self.top : self.top + self.height, self.left : self.left + self.width]


def random_window(width: int, height: int, crop: CropSettings, rng: np.random.Generator) -> Window:
    """A random window of a width x height image, up to `zoom` times narrower than the widest."""
    region = _region(width, height, crop)
    across = rng.uniform(1.0, crop.zoom)
    down = rng.uniform(1.0, crop.zoom) if crop.fit == "stretch" else across
    w, h = _window_size(region, crop, across, down)
    left = region.left + int(rng.integers(0, region.width - w + 1))
    return Window(left, region.top + int(rng.integers(0, region.height - h + 1)), w, h)


def centre_window(width: int, height: int, crop: CropSettings) -> Window:
    """The widest window, in the centre of the region of a width x height image."""
    region = _region(width, height, crop)
    w, h = _window_size(region, crop, 1.0, 1.0)
    return Window(region.left + (region.width - w) // 2, region.top + (region.height - h) // 2, w, h)


def _region(width: int, height: int, crop: CropSettings) -> Window:
    left, right = (round(crop.region[i] * width) for i in (0, 2))
    top, bottom = (round(crop.region[i] * height) for i in (1, 3))
    return Window(left, top, right - left, bottom - top)


def _window_size(region: Window, crop: CropSettings, across: float, down: float) -> tuple[int, int]:
    if crop.fit == "stretch":
        return round(region.width / across), round(region.height / down)
    aspect = crop.width / crop.height
    window_width = min(region.width, region.height * aspect) / across
    return round(window_width), min(round(window_width / aspect), region.height)
