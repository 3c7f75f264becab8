"""Frames and key frames of odometry: image pyramid, inverse depths and patches."""

from __future__ import annotations

import cv2
import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.estimators.odometry.features import detect_points, smooth_inverse_depth
from depth_ros.estimators.odometry.patches import Patches, extract_patches

PYRAMID_LEVELS = 4
"""Number of levels; each has half the size of the previous one."""
COARSE_PATCHES = 250
"""Maximum number of patches on the levels above the finest."""
MARGIN = 2
"""Width of the image border in which matched patches are discarded, px."""


class PreparedFrame:
    """A depth image prepared for alignment.

    grey: (H, W) uint8. levels: its pyramid, float32. K: (3, 3) intrinsics of each level. inverse_depth: (H, W) 1/m,
    NaN where invalid or on an outline. variance: (H, W) of it. moving_mask: (H, W) bool, pixels to ignore, or None.
    velocity: (3, 4) of points in the camera frame, see `reprojection.ray_velocity`; None until it is estimated.
    """

    def __init__(self, depth: Depth, moving_mask: np.ndarray | None, inverse_depth_std: float) -> None:
        self.stamp = depth.stamp
        self.velocity: np.ndarray | None = None
        self.grey = depth.grey
        self.levels: list[np.ndarray] = [self.grey.astype(np.float32)]
        self.K = [depth.camera.K]
        for _ in range(PYRAMID_LEVELS - 1):
            self.levels.append(cv2.pyrDown(self.levels[-1]))
            self.K.append(np.diag([0.5, 0.5, 1.0]) @ self.K[-1])  # pyrDown keeps every second pixel
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = np.where(depth.depth > 0, 1 / depth.depth, np.nan).astype(np.float32)
            self.variance = (
                np.full_like(rho, inverse_depth_std**2) if depth.std is None else (depth.std * rho * rho) ** 2
            )
        self.inverse_depth = smooth_inverse_depth(rho)
        self.moving_mask = moving_mask
        if moving_mask is not None:
            self.inverse_depth[moving_mask] = np.nan

    def is_usable(self, pixels: np.ndarray) -> np.ndarray:
        """(N,) bool: pixels (N, 2) of the finest level that are inside the image and not in `moving_mask`."""
        height, width = self.grey.shape
        inside = np.all((pixels >= MARGIN) & (pixels < [width - MARGIN, height - MARGIN]), axis=1)
        if self.moving_mask is not None:
            columns, rows = np.round(pixels[inside]).astype(int).T
            inside[inside] = ~self.moving_mask[rows, columns]
        return inside

    def inverse_depth_at(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inverse depth and its variance, (N,) each, at pixels (N, 2)."""
        columns, rows = np.round(pixels).astype(int).T
        rho = self.inverse_depth[rows, columns].astype(float)
        variance = self.variance[rows, columns].astype(float)
        return rho, np.where(np.isfinite(variance), np.maximum(variance, 1e-12), 1.0)


class KeyFrame:
    """A frame whose patches are tracked.

    T: (4, 4) its pose. covariance: (6, 6) of T. pixels: (N, 2) patch centres. patches: of each pyramid level; the
    coarser ones have only the patches with `coarse_indices`.
    """

    def __init__(self, frame: PreparedFrame, count: int, T: np.ndarray, covariance: np.ndarray) -> None:
        self.frame, self.T, self.covariance = frame, T, covariance
        self.pixels = detect_points(frame.grey, np.isfinite(frame.inverse_depth), count)
        self.inverse_depth, self.variance = frame.inverse_depth_at(self.pixels)
        coarse_count = min(COARSE_PATCHES, len(self.pixels))
        self.coarse_indices = np.linspace(0, len(self.pixels) - 1, coarse_count).astype(int)
        self.patches = [self._extract(level) for level in range(PYRAMID_LEVELS)]

    def indices(self, level: int) -> np.ndarray:
        """Indices of the patches that a pyramid level has."""
        return self.coarse_indices if level else np.arange(len(self.pixels))

    def _extract(self, level: int) -> Patches:
        step = 2**level
        rho = self.frame.inverse_depth[::step, ::step]
        pixels = self.pixels[self.indices(level)] / step
        return extract_patches(self.frame.levels[level], rho, self.frame.K[level], pixels)
