"""Random textures of generated stereo pairs: (H, W, 3) uint8."""

from __future__ import annotations

import cv2
import numpy as np


def image_texture(image: np.ndarray, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A window of a recorded image, rotated and scaled, sometimes with changed colours."""
    height, width = size
    scale = float(np.exp(rng.uniform(np.log(0.6), np.log(2.5))))
    warp = cv2.getRotationMatrix2D((0, 0), rng.normal(0, 15) + 180 * (rng.random() < 0.1), scale)
    warp[:, 2] = rng.uniform(-1, 1, 2) * scale * (image.shape[1], image.shape[0])
    if rng.random() < 0.5:
        warp[0] *= -1
    texture = cv2.warpAffine(
        image, warp, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return with_random_colours(texture, rng) if rng.random() < 0.4 else texture


def with_random_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with a random gain and offset in each channel."""
    levels = np.arange(256)[None] * rng.uniform(0.4, 1.4, (3, 1)) + rng.uniform(-60, 60, (3, 1))
    return cv2.LUT(image, levels.clip(0, 255).astype(np.uint8).T.reshape(1, 256, 3))


def plain_texture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """One colour that varies slowly: paint, sky, glass."""
    small = rng.uniform(0, 255, 3) + rng.normal(0, 12, (2, 3, 3))
    return cv2.resize(small.clip(0, 255).astype(np.uint8), size[::-1], interpolation=cv2.INTER_LINEAR)


def stripe_texture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Stripes or chequerboards: repetitive patterns, which are ambiguous in small windows."""
    height, width = size
    tile: np.ndarray = rng.integers(0, 255, (int(rng.integers(1, 3)), 2, 3)).astype(np.uint8)
    tile = cv2.resize(tile, (int(rng.integers(4, 40)),) * 2, interpolation=cv2.INTER_NEAREST)
    rotation = cv2.getRotationMatrix2D((0, 0), rng.uniform(-90, 90), 1.0)
    return cv2.warpAffine(tile, rotation, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def noise_texture(rng: np.random.Generator, size: tuple[int, int], stretch: float = 1.0) -> np.ndarray:
    """Noise of several octaves around a colour: plaster, grass, asphalt. stretch: horizontal, of the noise."""
    height, width = size
    colour = rng.uniform(30, 225, 3).astype(np.float32)
    image: np.ndarray = np.zeros((height, width, 3), np.float32) + colour
    for octave in range(int(rng.integers(0, 3)), 6, int(rng.integers(1, 3))):
        cells = (
            max(2, int(height / 2**octave)),
            max(2, int(width / 2**octave / stretch)),
            1 if octave % 2 else 3,
        )
        coarse = rng.standard_normal(cells, np.float32) * rng.uniform(2, 30)
        grid = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        image += grid if grid.ndim == 3 else grid[..., None]
    return image.clip(0, 255).astype(np.uint8)
