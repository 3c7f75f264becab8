"""Changes of colours: augmentation of training images. Each takes an image (H, W, 3) uint8 RGB and a generator."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np


def jitter_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random gamma, brightness, contrast, white balance and saturation; sometimes greyscale, sometimes blurred."""
    levels = np.linspace(0, 1, 256)[None] ** rng.uniform(0.75, 1.3)
    levels = levels * rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, (3, 1))
    levels = (levels - 0.45) * rng.uniform(0.8, 1.25) + 0.45
    table = (levels.clip(0, 1) * 255).astype(np.uint8)
    image = cv2.LUT(np.ascontiguousarray(image), table.T.reshape(1, 256, 3))
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.6, 1.3)
    image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.2))
    return image


def change_gains(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each channel times 0.8 to 1.2, as for FCRN (Laina et al. 2016, section 4.1)."""
    return _mapped(image, np.linspace(0, 1, 256)[None] * rng.uniform(0.8, 1.2, (3, 1)))


def change_exposure(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma 0.8 to 1.2, brightness 0.5 to 2 and each channel 0.8 to 1.2, as in the released code of vid2depth."""
    levels = np.linspace(0, 1, 256)[None] ** rng.uniform(0.8, 1.2)
    return _mapped(image, levels * rng.uniform(0.5, 2.0) * rng.uniform(0.8, 1.2, (3, 1)))


def change_some(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness by up to 0.1, contrast and saturation 0.85 to 1.15 and hue by up to 0.1 of a turn, each in half of the
    images, as in the released code of struct2depth."""
    chosen = rng.random(4) < 0.5
    brightness, contrast = rng.uniform(-0.1, 0.1) * chosen[0], rng.uniform(0.85, 1.15) if chosen[1] else 1.0
    saturation, hue = rng.uniform(0.85, 1.15) if chosen[2] else 1.0, rng.uniform(-0.1, 0.1) * chosen[3]
    values = image.astype(np.float32) / 255 + np.float32(brightness)
    mean = values.mean((0, 1))
    values = np.clip((values - mean) * np.float32(contrast) + mean, 0, 1)
    if chosen[2] or chosen[3]:
        hsv = cv2.cvtColor(values, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + 360 * hue) % 360
        hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0, 1)
        values = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return np.rint(values * 255).astype(np.uint8)


COLOURS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "none": lambda image, rng: image,
    "strong": jitter_colours,
    "gains": change_gains,
    "exposure": change_exposure,
    "some": change_some,
}
"""What `CropSettings.colours` names."""


def _mapped(image: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The image with values replaced by levels (3, 256), 0 to 1."""
    table = (levels.clip(0, 1) * 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table.T.reshape(1, 256, 3))
