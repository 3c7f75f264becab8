"""Stereo matching, semi-global or by a stereo model, which fills the gaps of measured depth."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import nn

from depth_ros.card import find_card, load_model
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.stereo import predict_pair
from depth_ros.training.data.cache import ArrayCache

MIN_GRADIENT = 12.0
"""Mean horizontal Sobel response, grey levels, below which semi-global matches are discarded as untextured."""
MIN_MODEL_GRADIENT = 4.0
"""The same for a stereo model, which matches what has less texture, but not the sky."""
DISPARITY_STEPS = 16
"""Steps of the matcher per pixel."""
MAX_STD = 1.0
"""px; disparities of a model with a larger standard deviation are discarded."""
MAX_MATCHED_DISPARITY = 4000.0
"""px; `DISPARITY_STEPS` of it are stored in 16 bits."""

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
    return np.where((disparity >= 1) & (texture(left) > MIN_GRADIENT), disparity, np.nan)


def texture(image: np.ndarray) -> np.ndarray:
    """(H, W) float32 mean horizontal Sobel response around each pixel, grey levels."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.blur(np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)), (15, 15))


@functools.lru_cache(maxsize=2)
def _stereo_model(name: str) -> nn.Module:
    card = find_card(name)
    if card.task != "stereo_depth":
        raise DepthRosError(f"stereo_model: '{name}' is a model of task {card.task}, not of stereo_depth")
    return load_model(card).eval()


@torch.inference_mode()
def match_by_model(name: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Disparity (H, W) float32 px of the left image by a stereo model.

    NaN where its standard deviation is large, if it predicts one, and where there is no texture at all (sky).
    """
    disparity, *stds = predict_pair(_stereo_model(name), left, right)
    valid = (disparity > 1 / DISPARITY_STEPS) & (disparity < MAX_MATCHED_DISPARITY)
    for std in stds:
        valid &= std < MAX_STD
    valid &= texture(left) > MIN_MODEL_GRADIENT
    return np.where(valid, disparity, np.float32(np.nan))


class CachedMatching:
    """Disparities of the stereo model `model`, or of `match_stereo` where it is empty (0.16 s for a pair of KITTI),
    computed once for every pair of images."""

    def __init__(self, cache: ArrayCache, model: str = "") -> None:
        self.cache, self.model = cache, model

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        digest = hashlib.sha256(left.tobytes())
        digest.update(right.tobytes())
        if self.model:
            digest.update(find_card(self.model).sha256.encode())

        def steps() -> dict[str, np.ndarray]:
            disparity = match_by_model(self.model, left, right) if self.model else match_stereo(left, right)
            return {"steps": np.nan_to_num(disparity * DISPARITY_STEPS).astype(np.uint16)}

        stored = self.cache.arrays(f"matches/{digest.hexdigest()[:32]}", steps)["steps"]
        return np.where(stored > 0, stored / np.float32(DISPARITY_STEPS), np.float32(np.nan))
