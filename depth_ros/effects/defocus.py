"""Synthetic defocus: a lens with a wide aperture, focused at one distance, from an image and its depth."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

LAYERS = 16
LARGEST = 24.0
"""px; no blur is wider."""


def defocus(image: np.ndarray, depth: np.ndarray, focus: float, aperture: float) -> np.ndarray:
    """(H, W, 3) uint8 as a lens focused at `focus` m sees it.

    The circle of confusion of a point at z has the radius aperture * |1 / z - 1 / focus| px, so aperture is that
    radius at infinity times the focus distance, px m. depth: (H, W) m, NaN = infinitely far. Layers of equal inverse
    depth are blurred one by one and laid over each other from far to near, so that what is near and blurred covers
    what is sharp behind it, and not the other way.
    """
    inverse = np.where(np.isfinite(depth) & (depth > 0), 1 / np.maximum(depth, 1e-3), 0).astype(np.float32)
    edges = np.linspace(inverse.min(), inverse.max() + 1e-6, LAYERS + 1)
    picture = image.astype(np.float32)
    total, weight = np.zeros_like(picture), np.zeros(depth.shape, np.float32)
    for low, high in itertools.pairwise(edges):
        inside = ((inverse >= low) & (inverse < high)).astype(np.float32)
        if not inside.any():
            continue
        middle = float(inverse[inside > 0].mean())
        radius = min(aperture * abs(middle - 1 / focus), LARGEST)
        colour, alpha = _blurred(picture * inside[..., None], radius), _blurred(inside, radius)
        total = total * (1 - alpha[..., None]) + colour
        weight = weight * (1 - alpha) + alpha
    return np.clip(total / np.maximum(weight, 1e-3)[..., None], 0, 255).round().astype(np.uint8)


def _blurred(picture: np.ndarray, radius: float) -> np.ndarray:
    """Mean over a disc of a radius in px; its rim is counted by the share of the pixel inside."""
    reach = int(np.ceil(radius))
    if radius < 0.3:
        return picture
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return cv2.filter2D(picture, -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE)
