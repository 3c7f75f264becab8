"""Size and position of training crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class CropSettings:
    """Size of the training crops, px, and how they are varied.

    zoom: ratio of the widest to the narrowest crop. max_roll: largest rotation about the optical axis, degrees.
    mirror: flip half of the crops horizontally. colour_jitter: vary gamma, brightness, contrast, white balance,
    saturation and sharpness.
    """

    width: int
    height: int
    zoom: float = 1.6
    max_roll: float = 0.0
    mirror: bool = True
    colour_jitter: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as OpenCV takes it."""
        return self.width, self.height

    @property
    def source_size(self) -> tuple[float, float]:
        """Width and height of an image whose narrowest crop has the size of the crop: more pixels would be wasted."""
        return self.width * self.zoom, self.height * self.zoom


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
    """A random window of a width x height image with the aspect ratio of the crop, up to `zoom` times narrowed."""
    w, h = _window_size(width, height, crop, rng.uniform(1.0, crop.zoom))
    return Window(int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h)


def centre_window(width: int, height: int, crop: CropSettings) -> Window:
    """The widest window with the aspect ratio of the crop, in the centre of a width x height image."""
    w, h = _window_size(width, height, crop, 1.0)
    return Window((width - w) // 2, (height - h) // 2, w, h)


def _window_size(width: int, height: int, crop: CropSettings, narrowing: float) -> tuple[int, int]:
    aspect = crop.width / crop.height
    window_width = min(width, height * aspect) / narrowing
    return round(window_width), min(round(window_width / aspect), height)
