"""What odometry keeps of a frame: its pyramid and inverse depths, and of a key frame the patches to follow."""

from __future__ import annotations

import cv2
import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.estimators.odometry.features import filled, strong_points
from depth_ros.estimators.odometry.patches import Patches, cut

LEVELS = 4
"""Of the pyramid; each has half the size of the one before it."""
COARSE = 250
"""Patches on the levels above the finest."""
MARGIN = 2
"""px; patches found nearer to the border are left out."""


class View:
    """A frame, prepared. grey: (H, W) uint8. levels: its pyramid, float32. K: intrinsics of each level.

    inverse_depth: (H, W) 1/m, NaN where unknown or at an outline; variance: of it.
    moving: (H, W) bool, pixels to leave out, or None. velocity: (3, 4) of points in it, see
    `pose_solver.flow`; None until it is known.
    """

    def __init__(self, depth: Depth, moving: np.ndarray | None, inverse_depth_std: float) -> None:
        self.stamp = depth.stamp
        self.velocity: np.ndarray | None = None
        self.grey = depth.grey
        self.levels: list[np.ndarray] = [self.grey.astype(np.float32)]
        self.K = [depth.camera.K]
        for _ in range(LEVELS - 1):
            self.levels.append(cv2.pyrDown(self.levels[-1]))
            self.K.append(np.diag([0.5, 0.5, 1.0]) @ self.K[-1])  # pyrDown keeps every second pixel
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = np.where(depth.depth > 0, 1 / depth.depth, np.nan).astype(np.float32)
            self.variance = (
                np.full_like(rho, inverse_depth_std**2) if depth.std is None else (depth.std * rho * rho) ** 2
            )
        self.inverse_depth = filled(rho)
        self.moving = moving
        if moving is not None:
            self.inverse_depth[moving] = np.nan

    def still(self, pixels: np.ndarray) -> np.ndarray:
        """Which of N pixels (N, 2) of the finest level are in the image and belong to nothing that moves."""
        height, width = self.grey.shape
        inside = np.all((pixels >= MARGIN) & (pixels < [width - MARGIN, height - MARGIN]), axis=1)
        if self.moving is not None:
            columns, rows = np.round(pixels[inside]).astype(int).T
            inside[inside] = ~self.moving[rows, columns]
        return inside

    def at(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inverse depth and its variance at pixels (N, 2)."""
        columns, rows = np.round(pixels).astype(int).T
        rho, variance = (
            self.inverse_depth[rows, columns].astype(float),
            self.variance[rows, columns].astype(float),
        )
        return rho, np.where(np.isfinite(variance), np.maximum(variance, 1e-12), 1.0)


class KeyFrame:
    """A view whose patches are followed. T, covariance: where it stands. pixels: (N, 2). levels: patches of each."""

    def __init__(self, view: View, count: int, T: np.ndarray, covariance: np.ndarray) -> None:
        self.view, self.T, self.covariance = view, T, covariance
        self.pixels = strong_points(view.grey, np.isfinite(view.inverse_depth), count)
        self.inverse_depth, self.variance = view.at(self.pixels)
        few = np.linspace(0, len(self.pixels) - 1, min(COARSE, len(self.pixels))).astype(int)
        self.coarse = few
        self.levels = [self._cut(level, few if level else slice(None)) for level in range(LEVELS)]

    def _cut(self, level: int, which: np.ndarray | slice) -> Patches:
        step = 2**level
        rho = self.view.inverse_depth[::step, ::step]
        return cut(self.view.levels[level], rho, self.view.K[level], self.pixels[which] / step)
