"""Filters of depth and disparity as functions of values: nodes, replay and evaluation apply the same ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Disparity

FLYING_PIXEL_STEP = 2.0
"""px of disparity to the surfaces on both sides, from which a pixel counts as flying."""


@dataclass(frozen=True)
class FilterSettings:
    """Which pixels of a disparity image are kept."""

    min_confidence: float = setting(
        0.0,
        "Minimum probability of a disparity error below 1 px; less certain pixels are published as NaN.",
        "",
        0.0,
        1.0,
        dynamic=True,
    )
    flying_pixels: float = setting(
        FLYING_PIXEL_STEP,
        "Minimum disparity step to both neighbouring surfaces from which an edge pixel is removed as a flying "
        "pixel. 0 keeps them.",
        "px", 0.0, 100.0, dynamic=True,
    )  # fmt: skip


@dataclass(frozen=True)
class RangeSettings:
    """Which depths are published."""

    max_depth: float = setting(
        1000.0, "Maximum depth; farther pixels are published as NaN (0 in 16UC1).", "m", 0.1, 10000.0, dynamic=True
    )  # fmt: skip


def confidence(std: np.ndarray) -> np.ndarray:
    """Probability of a disparity error below 1 px, for standard deviations (px) that cover 68 % of the errors.

    Assumes Laplacian errors: 1 - 0.32 ** (1 / std).
    """
    return 1 - np.exp(np.float32(math.log(0.32)) / std)


def confidence_image(disparity: Disparity) -> np.ndarray:
    """(H, W) float32 probability of an error below 1 px, 0 where the disparity is invalid; 1 without a deviation."""
    valid = np.isfinite(disparity.disparity)
    if disparity.std is None:
        return valid.astype(np.float32)
    return np.where(valid, confidence(disparity.std), np.float32(0))


def flying_pixel_mask(disparity: np.ndarray, step: float) -> np.ndarray:
    """(H, W) bool: edge pixels between two surfaces, more than `step` px in front of the farthest and behind the
    nearest valid pixel of their 5x5 neighbourhood. In a point cloud they would float in the air."""
    window = np.ones((5, 5), np.uint8)
    valid = np.isfinite(disparity)
    low = cv2.erode(np.where(valid, disparity, np.inf).astype(np.float32), window)
    high = cv2.dilate(np.where(valid, disparity, -np.inf).astype(np.float32), window)
    return valid & (disparity - low > step) & (high - disparity > step)


def filtered(disparity: Disparity, settings: FilterSettings) -> Disparity:
    """The disparity with NaN where it is too uncertain or lies between two surfaces."""
    keep = confidence_image(disparity) >= settings.min_confidence
    if settings.flying_pixels:
        keep &= ~flying_pixel_mask(disparity.disparity, settings.flying_pixels)
    return replace(disparity, disparity=np.where(keep, disparity.disparity, np.float32(np.nan)))


def within_range(depth: np.ndarray, max_depth: float) -> np.ndarray:
    """Depth (H, W) m with NaN where it exceeds `max_depth`."""
    return np.where(depth <= max_depth, depth, np.float32(np.nan))


def no_depth_reason(depth: np.ndarray, max_depth: float) -> str:
    """Why no pixel of a depth image is left. depth: (H, W) m, before the filters."""
    valid = depth[np.isfinite(depth)]
    if not valid.size:
        return "no pixel has a valid depth: is the camera covered, or do left and right image not match?"
    if valid.min() > max_depth:
        return (
            f"all depth is beyond max_depth ({max_depth:g} m), the median at {np.median(valid):.4g} m: check focal "
            "length and baseline in camera_info, or raise max_depth"
        )
    return "the filters remove every pixel: lower min_confidence, or raise flying_pixels or max_depth"
