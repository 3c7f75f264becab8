"""Disparity metrics, and coverage of the standard deviations that a model predicts.

All pixels with ground truth count, in the left image at full size; metrics are per image, then averaged.
Ratios (D1, bad-N, density, coverage) are numbers from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from torch import nn

from depth_ros.evaluation.metrics.depth import Metric
from depth_ros.recordings import Sample

METRICS = {
    "epe": Metric("EPE", "px", True, "mean of the absolute error"),
    "d1_all": Metric("D1-all", "%", True, "fraction of pixels with an error above 3 px and 5 %"),
    "bad_1": Metric("bad 1", "%", True, "fraction of pixels with an error above 1 px"),
    "bad_2": Metric("bad 2", "%", True, "fraction of pixels with an error above 2 px"),
    "density": Metric(
        "Density", "%", False, "fraction of the pixels with ground truth that have a disparity"
    ),
    "abs_rel": Metric("AbsRel", "", True, "of depth: mean of |d - g| / g"),
    "rmse": Metric("RMSE", "m", True, "of depth: root of the mean of (d - g)^2"),
    "delta1": Metric("\u03b4 < 1.25", "%", False, "of depth: fraction of pixels with max(d/g, g/d) < 1.25"),
}
"""The metrics of tables, in their order."""
COVERAGE_STDS = (0.5, 1.0, 2.0)
"""Predicted standard deviations, px, at which coverage is also measured separately."""
PROTOCOL = (
    "all pixels with ground truth, at full size, unscaled; epe px, d1_all > 3 px and > 5 % (KITTI 2015), bad_N > N px "
    "(Middlebury), over the pixels with a disparity; density the fraction that has one; coverage the fraction with "
    "|error| <= std, coverage_at_S over the pixels with std within 25 % of S; metrics per image, then averaged"
)


def disparity_metrics(
    disparity: np.ndarray, ground_truth: np.ndarray, std: np.ndarray | None = None
) -> dict[str, float | None]:
    """Metrics of a disparity (H, W) px against the ground truth (H, W), NaN = invalid in both; see `PROTOCOL`.

    None where nothing could be measured.
    """
    measured = np.isfinite(ground_truth)
    valid = measured & np.isfinite(disparity)
    error, g = np.abs(disparity[valid] - ground_truth[valid]), ground_truth[valid]

    def mean(values: np.ndarray) -> float | None:
        return float(values.mean()) if values.size else None

    metrics = {
        "epe": mean(error),
        "d1_all": mean((error > 3) & (error > 0.05 * g)),
        "bad_1": mean(error > 1),
        "bad_2": mean(error > 2),
        "density": float(valid.sum() / measured.sum()) if measured.any() else None,
    }
    if std is not None:
        predicted = std[valid]
        metrics["coverage"] = mean(error <= predicted)
        for s in COVERAGE_STDS:
            near = (predicted > s / 1.25) & (predicted < 1.25 * s)
            metrics[f"coverage_at_{s:g}"] = mean(error[near] <= s)
    return metrics


def mean_metrics(rows: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    """Mean of each metric over the images that have it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = {key: [v for row in rows if (v := row.get(key)) is not None] for key in keys}
    return {key: float(np.mean(column)) if column else None for key, column in columns.items()}


def ground_truth_disparity(sample: Sample) -> np.ndarray | None:
    """(H, W) px of the left image, NaN = invalid; None for a sample without depth or without a right image."""
    if sample.depth is None or sample.right is None:
        return None
    offset = sample.left.camera.cx - sample.right.camera.cx
    return np.float32(sample.fx_baseline) / sample.depth + np.float32(offset)


class CoverageByStd:
    """Fraction of errors within the predicted standard deviation, pooled over pixels in logarithmic bins of it."""

    def __init__(self) -> None:
        self.edges = np.geomspace(0.125, 16.0, 15)
        self.count, self.within = np.zeros(len(self.edges) - 1), np.zeros(len(self.edges) - 1)

    def add(self, disparity: np.ndarray, ground_truth: np.ndarray, std: np.ndarray | None) -> None:
        """Add one image: disparity, ground truth and standard deviation (H, W) px, NaN = invalid."""
        if std is None:
            return
        valid = np.isfinite(ground_truth) & np.isfinite(disparity)
        predicted, error = std[valid], np.abs(disparity[valid] - ground_truth[valid])
        self.count += np.histogram(predicted, self.edges)[0]
        self.within += np.histogram(predicted[error <= predicted], self.edges)[0]

    def rows(self, min_pixel_ratio: float = 0.005) -> list[dict[str, float]]:
        """{std: px, coverage, pixel_ratio} of each bin that holds at least `min_pixel_ratio` of all pixels."""
        total = max(self.count.sum(), 1.0)
        centres = np.sqrt(self.edges[:-1] * self.edges[1:])
        return [
            {"std": float(s), "coverage": float(w / n), "pixel_ratio": float(n / total)}
            for s, n, w in zip(centres, self.count, self.within, strict=True)
            if n and n / total >= min_pixel_ratio
        ]


@torch.inference_mode()
def validate_pairs(model: nn.Module, samples: Iterable[Sample]) -> dict[str, float]:
    """Mean metrics of a module over rectified samples with ground truth, at full size, for the training log."""
    rows = []
    for sample in samples:
        ground_truth = ground_truth_disparity(sample)
        if ground_truth is None or sample.right is None:
            continue
        disparity, *stds = predict_pair(model, sample.left.image, sample.right.image)
        rows.append(disparity_metrics(disparity, ground_truth, *stds))
    means = mean_metrics(rows)
    keys = ("epe", "d1_all", "bad_1", "coverage")
    return {key: value for key in keys if (value := means.get(key)) is not None}


def predict_pair(model: nn.Module, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, ...]:
    """Disparity (H, W) float32 px of a rectified pair (H, W, 3) uint8 RGB by a module, and its standard deviation where
    the module predicts it. Images are padded to a multiple of `size_multiple`."""
    height, width = left.shape[:2]
    step = int(model.size_multiple)  # type: ignore[arg-type]
    device = next(model.parameters()).device
    pair = []
    for image in (left, right):
        padded = cv2.copyMakeBorder(image, 0, -height % step, 0, -width % step, cv2.BORDER_REPLICATE)
        pair.append(torch.from_numpy(padded)[None].to(device))
    found = model(*pair)
    results = (found,) if isinstance(found, torch.Tensor) else found
    return tuple(x[0, :height, :width].cpu().numpy() for x in results)
