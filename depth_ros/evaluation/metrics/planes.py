"""Plane recall, the metric of piecewise planar reconstruction (PlaneNet, section 6.2, and its released protocol).

A ground-truth plane is recalled when a predicted plane covers it with more than a given intersection over union and
the mean absolute depth difference over the intersection is below a threshold. All images are pooled.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

DEPTH_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.6)
"""Thresholds of the depth difference in tables, m."""
THRESHOLD_NAMES = (*(f"{threshold:g}_m" for threshold in DEPTH_THRESHOLDS), "any_depth")
"""Ends of the names of the recalls at these thresholds, and without one."""
CURVES = {
    **{f"IoU > {iou}": ((iou,), tuple(round(0.05 * i, 2) for i in range(13))) for iou in (0.3, 0.5, 0.7)},
    **{
        f"error < {metres} m": (tuple(round(0.1 * i, 1) for i in range(11)), (metres,))
        for metres in (0.1, 0.2, 0.3)
    },
}
"""The curves of the released protocol: name -> (minimum IoUs, depth differences m), one of which varies."""


@dataclass(frozen=True)
class RecallCurve:
    """Recall over a threshold. over: "depth" (m) or "iou". planes, pixels: fractions recalled at each threshold."""

    over: str
    thresholds: tuple[float, ...]
    planes: tuple[float, ...]
    pixels: tuple[float, ...]


@dataclass
class PlaneMetrics:
    """Accumulates the overlaps of images.

    planes, pixels: of the ground truth. overlaps: one row per ground-truth plane and predicted plane that intersect:
    (number of the ground-truth plane over all images, IoU, mean |depth difference| m, intersection px).
    """

    planes: int = 0
    pixels: int = 0
    overlaps: list[tuple[int, float, float, int]] = field(default_factory=list)

    def add(
        self, labels: np.ndarray, depth: np.ndarray, true_labels: np.ndarray, true_depth: np.ndarray
    ) -> None:
        """Add one image: predicted labels (H, W), -1 = none, and depth (H, W) m; the same of the ground truth.

        Pixels with invalid (NaN) ground-truth depth belong to no ground-truth plane.
        """
        valid = np.isfinite(true_depth)
        true_labels = np.where(valid, true_labels, -1)
        difference = np.abs(depth - true_depth)
        areas = dict(zip(*np.unique(labels[valid & (labels >= 0)], return_counts=True), strict=True))
        for label in np.unique(true_labels[true_labels >= 0]):
            mask = true_labels == label
            candidates = np.unique(labels[mask & (labels >= 0)], return_counts=True)
            for other, common in zip(*candidates, strict=True):
                error = difference[mask & (labels == other)]
                error = float(error[np.isfinite(error)].mean()) if np.isfinite(error).any() else np.inf
                iou = float(common / (mask.sum() + areas[other] - common))
                self.overlaps.append((self.planes, iou, error, int(common)))
            self.planes += 1
            self.pixels += int(mask.sum())

    def recall(self, min_iou: float = 0.5, max_depth_error: float = 0.05) -> tuple[float, float]:
        """Fraction of the ground-truth planes recalled, and of their pixels in the best intersections."""
        best: dict[int, int] = {}
        for plane, iou, error, common in self.overlaps:
            if iou > min_iou and error < max_depth_error:
                best[plane] = max(best.get(plane, 0), common)
        return len(best) / max(self.planes, 1), sum(best.values()) / max(self.pixels, 1)

    def curves(self) -> dict[str, RecallCurve]:
        """The recall curves named in `CURVES`."""
        found = {}
        for name, (ious, metres) in CURVES.items():
            points = [self.recall(iou, error) for iou in ious for error in metres]
            over, thresholds = ("iou", ious) if len(metres) == 1 else ("depth", metres)
            planes, pixels = zip(*points, strict=True)
            found[name] = RecallCurve(over, thresholds, planes, pixels)
        return found

    def compute(self) -> dict[str, float]:
        """Recall of planes and pixels at an IoU of 0.5: {"plane_recall_0.05_m": ..., "pixel_recall_0.05_m": ...}.

        One pair per threshold of `DEPTH_THRESHOLDS`, and `..._any_depth`, which judges the segmentation alone.
        """
        metrics: dict[str, float] = {}
        for suffix, threshold in zip(THRESHOLD_NAMES, (*DEPTH_THRESHOLDS, np.inf), strict=True):
            planes, pixels = self.recall(0.5, threshold)
            metrics |= {f"plane_recall_{suffix}": planes, f"pixel_recall_{suffix}": pixels}
        return metrics
