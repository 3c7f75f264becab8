"""Semi-global stereo matching, which fills the gaps of measured depth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import cv2
import numpy as np

from depth_ros.training.data.cache import ArrayCache

MIN_GRADIENT = 12.0
"""Mean horizontal Sobel response, grey levels, below which stereo matches are discarded as untextured."""
DISPARITY_STEPS = 16
"""Steps of the matcher per pixel."""

Match = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(left, right), (H, W, 3) uint8 RGB -> disparity (H, W) float32 px of the left image, NaN = invalid."""


def match_stereo(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Disparity (H, W) float32 px of the left image by semi-global matching.

    NaN where the left-right check fails and where there is no texture (sky, overexposure: spurious matches).
    """
    matcher = cv2.StereoSGBM.create(
        minDisparity=1, numDisparities=128, blockSize=5, P1=8 * 75, P2=32 * 75, disp12MaxDiff=1,
        uniquenessRatio=10, speckleWindowSize=100, speckleRange=2, mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )  # fmt: skip
    disparity = matcher.compute(left, right).astype(np.float32) / DISPARITY_STEPS
    gradient = np.abs(cv2.Sobel(cv2.cvtColor(left, cv2.COLOR_RGB2GRAY), cv2.CV_32F, 1, 0))
    return np.where((disparity >= 1) & (cv2.blur(gradient, (15, 15)) > MIN_GRADIENT), disparity, np.nan)


class CachedMatching:
    """`match_stereo`, computed once for every pair of images (0.16 s for one of KITTI)."""

    def __init__(self, cache: ArrayCache) -> None:
        self.cache = cache

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        digest = hashlib.sha256(left.tobytes())
        digest.update(right.tobytes())

        def steps() -> dict[str, np.ndarray]:
            disparity = match_stereo(left, right)
            return {"steps": np.nan_to_num(disparity * DISPARITY_STEPS).astype(np.uint16)}

        stored = self.cache.arrays(f"matches/{digest.hexdigest()[:32]}", steps)["steps"]
        return np.where(stored > 0, stored / np.float32(DISPARITY_STEPS), np.float32(np.nan))
