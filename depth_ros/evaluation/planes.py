"""Plane recall, the figure of piecewise planar reconstruction (PlaneNet, section 6.2, and its released protocol).

A true plane is recalled when some predicted one covers it with more than a given intersection over union and the mean
absolute depth difference over the intersection is below a threshold. Everything is pooled over the images.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

DEPTHS = (0.05, 0.1, 0.2, 0.3, 0.6)
"""m, thresholds of the depth difference in tables."""


@dataclass
class PlaneTally:
    """Collects images. `pairs`: one row a true plane and predicted plane that touch: (true plane's number over all
    images, IoU, mean |depth difference| m, intersection px)."""

    planes: int = 0
    pixels: int = 0
    pairs: list[tuple[int, float, float, int]] = field(default_factory=list)

    def add(self, labels: np.ndarray, depth: np.ndarray, true_labels: np.ndarray, truth: np.ndarray) -> None:
        """One image: predicted labels (H, W), -1 = none, and depth (H, W) m; the same of the truth, NaN = unknown."""
        known = np.isfinite(truth)
        true_labels = np.where(known, true_labels, -1)
        difference = np.abs(depth - truth)
        areas = dict(zip(*np.unique(labels[known & (labels >= 0)], return_counts=True), strict=True))
        for label in np.unique(true_labels[true_labels >= 0]):
            own = true_labels == label
            for other, common in zip(
                *np.unique(labels[own & (labels >= 0)], return_counts=True), strict=True
            ):
                error = difference[own & (labels == other)]
                error = float(error[np.isfinite(error)].mean()) if np.isfinite(error).any() else np.inf
                share = float(common / (own.sum() + areas[other] - common))
                self.pairs.append((self.planes, share, error, int(common)))
            self.planes += 1
            self.pixels += int(own.sum())

    def recall(self, iou: float = 0.5, depth: float = 0.05) -> tuple[float, float]:
        """Share of the true planes that are recalled, and of the true planar pixels by their best intersections."""
        best: dict[int, int] = {}
        for plane, share, error, common in self.pairs:
            if share > iou and error < depth:
                best[plane] = max(best.get(plane, 0), common)
        return len(best) / max(self.planes, 1), sum(best.values()) / max(self.pixels, 1)

    def figures(self) -> dict[str, float]:
        """{"plane recall 0.05 m": ..., "pixel recall 0.05 m": ...} at an IoU of 0.5 for each of `DEPTHS`, and of any
        depth, which judges the segmentation alone."""
        found: dict[str, float] = {}
        for threshold in (*DEPTHS, np.inf):
            name = f"{threshold:g} m" if np.isfinite(threshold) else "any depth"
            found[f"plane recall {name}"], found[f"pixel recall {name}"] = self.recall(0.5, threshold)
        return found
