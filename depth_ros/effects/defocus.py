"""Synthetic defocus of a wide-aperture lens, from an image and its depth."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

LAYERS = 16
"""Number of layers of equal inverse depth."""
MAX_RADIUS = 24.0
"""Maximum radius of the blur, px."""
MIN_RADIUS = 0.3
"""Smaller blur is not applied, px."""


def defocus(image: np.ndarray, depth: np.ndarray, focus: float, aperture: float) -> np.ndarray:
    """(H, W, 3) uint8 as seen by a lens focused at `focus` m.

    The radius of the circle of confusion of a point at depth z is aperture * |1 / z - 1 / focus| px; aperture (px m)
    is the radius at infinity times the focus distance. depth: (H, W) m, NaN = infinite. Layers of equal inverse depth
    are blurred separately and composited from far to near, so that a blurred foreground covers a sharp background
    but not the reverse.
    """
    inverse_depth = np.where(np.isfinite(depth) & (depth > 0), 1 / np.maximum(depth, 1e-3), 0)
    inverse_depth = inverse_depth.astype(np.float32)
    edges = np.linspace(inverse_depth.min(), inverse_depth.max() + 1e-6, LAYERS + 1)
    pixels = image.astype(np.float32)
    total, weight = np.zeros_like(pixels), np.zeros(depth.shape, np.float32)
    for low, high in itertools.pairwise(edges):
        inside = ((inverse_depth >= low) & (inverse_depth < high)).astype(np.float32)
        if not inside.any():
            continue
        mean = float(inverse_depth[inside > 0].mean())
        radius = min(aperture * abs(mean - 1 / focus), MAX_RADIUS)
        colour, alpha = disc_blur(pixels * inside[..., None], radius), disc_blur(inside, radius)
        total = total * (1 - alpha[..., None]) + colour
        weight = weight * (1 - alpha) + alpha
    return np.clip(total / np.maximum(weight, 1e-3)[..., None], 0, 255).round().astype(np.uint8)


def disc_blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Mean over a disc with an antialiased edge. radius: px."""
    if radius < MIN_RADIUS:
        return image
    size = int(np.ceil(radius))
    y, x = np.mgrid[-size : size + 1, -size : size + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE)
