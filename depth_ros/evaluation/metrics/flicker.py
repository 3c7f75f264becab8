"""Flicker: change of the depth of static points from one image to the next, after ego-motion compensation."""

from __future__ import annotations

import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.estimators.temporal_fusion import warped

MIN_PIXELS = 0.05
"""Fraction of the image that two images have to share."""


class FlickerMetrics:
    """Accumulates the flicker of consecutive depth images.

    flicker: median absolute log ratio of the depth and that of the image before, moved by the ground-truth motion; the
    median leaves out what moves or was hidden. scale_flicker: absolute median log ratio, the common part of all pixels.
    Both are means over the pairs.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[float, float]] = []
        self._older: tuple[Depth, np.ndarray] | None = None

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._pairs)

    def add(self, depth: Depth, T_world_camera: np.ndarray) -> None:
        """Add the next image, with its ground-truth pose."""
        older, self._older = self._older, (depth, T_world_camera)
        if older is None:
            return
        T_old_new = np.linalg.inv(older[1]) @ T_world_camera
        predicted, _ = warped(older[0].depth, older[0].depth, older[0].camera, depth, T_old_new)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(depth.depth / predicted)
        ratio = ratio[np.isfinite(ratio)]
        if ratio.size >= MIN_PIXELS * depth.depth.size:
            self._pairs.append((float(np.median(np.abs(ratio))), float(abs(np.median(ratio)))))

    def compute(self) -> dict[str, float | None]:
        """The metrics; None without pairs."""
        if not self._pairs:
            return {"flicker": None, "scale_flicker": None}
        flicker, scale_flicker = np.mean(self._pairs, axis=0)
        return {"flicker": float(flicker), "scale_flicker": float(scale_flicker)}
