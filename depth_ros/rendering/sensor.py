"""Camera images of linear light: exposure, white balance, vignetting, blur, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.rendering.settings import SceneSettings

MID_GREY = 0.28
"""Linear value that automatic exposure gives the median of an image."""


@dataclass(frozen=True)
class Sensor:
    """exposure: factor. gains: of red, green and blue. vignetting: loss of light in the corners. blur: px, standard
    deviation. noise: standard deviation of an image of value 1, shot noise that falls with its root."""

    exposure: float
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignetting: float = 0.0
    blur: float = 0.0
    noise: float = 0.0

    def image(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) uint8 sRGB of linear light (H, W, 3)."""
        height, width = light.shape[:2]
        y, x = np.mgrid[:height, :width]
        radius = ((x - width / 2) ** 2 + (y - height / 2) ** 2) / (width**2 / 4 + height**2 / 4)
        value = light * self.exposure * np.array(self.gains) * (1 - self.vignetting * radius)[..., None]
        value = 1 - np.exp(-value)  # highlights saturate softly
        if self.blur:
            value = cv2.GaussianBlur(value, (0, 0), self.blur)
        value = value + rng.standard_normal(value.shape) * self.noise * np.sqrt(np.maximum(value, 0) + 0.05)
        value = np.clip(value, 0, 1)
        srgb = np.where(
            value < 0.0031308, value * 12.92, 1.055 * np.maximum(value, 1e-9) ** (1 / 2.4) - 0.055
        )
        return np.round(srgb * 255).astype(np.uint8)


def automatic_exposure(light: np.ndarray, target: float = MID_GREY) -> float:
    """The factor that gives the median of an image this value, unless the brightest parts would saturate."""
    median, bright = np.quantile(light.mean(-1), [0.5, 0.95])
    return float(target / max(median, bright / 5, 1e-6))


def draw_sensor(light: np.ndarray, settings: SceneSettings, number: int) -> Sensor:
    """The sensor of a frame with this light (H, W, 3); of a drive, all frames have the one of the first."""
    if settings.sensor == "ideal":
        return Sensor(automatic_exposure(light), noise=settings.noise)
    rng = np.random.default_rng([settings.seed, number, 8])
    exposure = automatic_exposure(light, math.exp(rng.normal(math.log(MID_GREY), 0.35)))
    cast = light.mean((0, 1)) / max(float(light.mean()), 1e-9)
    gains = np.maximum(cast, 0.2) ** -rng.uniform(0.3, 1.0) * rng.normal(1, 0.04, 3)  # white balance, in part
    return Sensor(
        exposure, (float(gains[0]), float(gains[1]), float(gains[2])), rng.uniform(0, 0.25),
        float(rng.choice([0.0, 0.0, 0.3, 0.5, 0.7])),
        max(float(rng.choice([0.0, 0.003, 0.006, 0.012, 0.02])), settings.noise),
    )  # fmt: skip
