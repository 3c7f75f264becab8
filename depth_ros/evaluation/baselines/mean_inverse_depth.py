"""Baseline that does not look at the image: at every pixel the mean inverse depth of other images.

A network that is not clearly better has learned the camera's mounting rather than the scene.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_ros.errors import DepthRosError


@dataclass(frozen=True)
class MeanInverseDepth:
    """Sums over images: total (H, W) of inverse depth, 1/m, and count (H, W) of images valid at the pixel."""

    total: np.ndarray
    count: np.ndarray

    @staticmethod
    def from_depths(depths: Iterable[np.ndarray]) -> MeanInverseDepth:
        """Of depth images (H, W) m, NaN or 0 = invalid; images of other sizes are resized to the first one."""
        mean = None
        for depth in depths:
            if mean is None:
                mean = MeanInverseDepth(np.zeros(depth.shape), np.zeros(depth.shape))
            mean = mean._add(depth, 1)
        if mean is None or not mean.count.any():
            raise DepthRosError("no valid depth to average: the baseline needs images with ground truth")
        return mean

    @staticmethod
    def from_file(file: Path, focal: float) -> MeanInverseDepth:
        """The `mean_inverse_depth` of a model's card; focal: px, of the camera at the card's width."""
        mean = np.load(file, allow_pickle=False).astype(np.float64) / focal
        return MeanInverseDepth(mean, np.ones(mean.shape))

    def without(self, depth: np.ndarray) -> MeanInverseDepth:
        """The mean of the other images; `depth` must be one of those averaged."""
        return self._add(depth, -1)

    def _add(self, depth: np.ndarray, sign: int) -> MeanInverseDepth:
        height, width = self.total.shape
        if depth.shape != self.total.shape:  # nearest neighbour, since depth images have holes
            depth = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)
        valid = np.isfinite(depth) & (depth > 0)
        inverse = np.divide(1.0, depth, out=np.zeros((height, width)), where=valid)
        return MeanInverseDepth(self.total + sign * inverse, self.count + sign * valid)

    def predict(self, height: int, width: int) -> np.ndarray | None:
        """(height, width) float32 m; None if no image is left.

        Pixels that were valid in no image take the mean of their row, or else of the whole image.
        """
        if not self.count.any():
            return None
        rows, counts = self.total.sum(1), self.count.sum(1)
        overall = rows.sum() / counts.sum()
        row_means = np.divide(rows, counts, out=np.full(rows.shape, overall), where=counts > 0)
        inverse = np.tile(row_means[:, None], self.total.shape[1:])
        np.divide(self.total, self.count, out=inverse, where=self.count > 0)
        return 1 / cv2.resize(inverse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
