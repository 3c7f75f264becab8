"""The simplest predictor that has seen the data: at every pixel the mean inverse depth of other images.

A network that is not clearly better has learned the set-up of the camera, not to see.
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
    """Sums over images: total (H, W) of inverse depth, 1/m, count (H, W) of images that knew the pixel."""

    total: np.ndarray
    count: np.ndarray

    @staticmethod
    def of(truths: Iterable[np.ndarray]) -> MeanInverseDepth:
        """Of depth images (H, W) m, NaN or 0 = unknown; other sizes than the first are resized to it."""
        mean = None
        for truth in truths:
            if mean is None:
                mean = MeanInverseDepth(np.zeros(truth.shape), np.zeros(truth.shape))
            mean = mean._with(truth, 1)
        if mean is None or not mean.count.any():
            raise DepthRosError("no depth to take a mean of: the baseline needs images with ground truth")
        return mean

    @staticmethod
    def shipped(file: Path, focal: float) -> MeanInverseDepth:
        """What a model's card calls `typical`, for a camera of that focal length (px)."""
        mean = np.load(file, allow_pickle=False).astype(np.float64) / focal
        return MeanInverseDepth(mean, np.ones(mean.shape))

    def without(self, truth: np.ndarray) -> MeanInverseDepth:
        """The mean of the other images; `truth` must be one of those that it was made of."""
        return self._with(truth, -1)

    def _with(self, truth: np.ndarray, sign: int) -> MeanInverseDepth:
        height, width = self.total.shape
        if truth.shape != self.total.shape:  # depth images have holes: no interpolation across them
            truth = cv2.resize(truth, (width, height), interpolation=cv2.INTER_NEAREST)
        known = np.isfinite(truth) & (truth > 0)
        inverse = np.divide(1.0, truth, out=np.zeros((height, width)), where=known)
        return MeanInverseDepth(self.total + sign * inverse, self.count + sign * known)

    def predict(self, height: int, width: int) -> np.ndarray | None:
        """(height, width) float32 m. Pixels that no image knew take the mean of their row, else of all.

        None if there is no image left.
        """
        if not self.count.any():
            return None
        rows, counts = self.total.sum(1), self.count.sum(1)
        overall = rows.sum() / counts.sum()
        row_means = np.divide(rows, counts, out=np.full(rows.shape, overall), where=counts > 0)
        inverse = np.tile(row_means[:, None], self.total.shape[1:])
        np.divide(self.total, self.count, out=inverse, where=self.count > 0)
        return 1 / cv2.resize(inverse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
