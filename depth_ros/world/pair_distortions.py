"""Differences between the two images of a real stereo pair: occlusions, exposure, noise, rectification errors."""

from __future__ import annotations

import cv2
import numpy as np


def add_patches(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with one or two patches of uniform colour, as from dirt or reflections in one camera only."""
    image = image.copy()
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 3))):
        w, h = int(rng.integers(20, 80)), int(rng.integers(20, 80))
        x, y = int(rng.integers(0, max(1, width - w))), int(rng.integers(0, max(1, height - h)))
        image[y : y + h, x : x + w] = image.mean((0, 1))
    return image


def vary_photometry(
    left: np.ndarray, right: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Both images with independent gain, gamma, noise and sharpness."""
    std = 0.08 if rng.random() < 0.7 else 0.25
    result = []
    for image in (left, right):
        levels = np.linspace(0, 1, 256)[None] ** np.exp(rng.normal(0, std))
        levels = levels * np.exp(rng.normal(0, std, (3, 1)) * 0.4 + rng.normal(0, std))
        image = cv2.LUT(image, (255 * levels).clip(0, 255).astype(np.uint8).T.reshape(1, 256, 3))
        if rng.random() < 0.2:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0))
        if rng.random() < 0.5:
            noise = np.empty(image.shape, np.int16)
            cv2.setRNGSeed(int(rng.integers(2**31)))
            cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(0.5, 6)))
            image = cv2.add(image, noise, dtype=cv2.CV_8U)
        result.append(image)
    return result[0], result[1]


def vary_rectification(right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The right image with, in half of all cases, a vertical error of a fraction of a pixel, as after calibration."""
    if rng.random() < 0.5:
        return right
    height, width = right.shape[:2]
    warp = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 0.06), 1.0)
    warp[0] = (1, 0, 0)  # columns stay, so that the disparity does
    warp[1, 2] += rng.normal(0, 0.35)
    return cv2.warpAffine(
        right, warp, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
