"""Figures of disparity, and of what a model says about its own errors.

Every pixel with truth counts, in the left image at its full size; figures are per image, then their mean.
Shares (D1, bad-N, density, coverage) are numbers from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from torch import nn

from depth_ros.datasets import Sample
from depth_ros.evaluation.metrics.depth import Figure

FIGURES = {
    "epe": Figure("EPE", "px", True, "mean of the absolute error"),
    "d1_all": Figure("D1-all", "%", True, "share of pixels off by more than 3 px and 5 %"),
    "bad_1": Figure("bad 1", "%", True, "share of pixels off by more than 1 px"),
    "bad_2": Figure("bad 2", "%", True, "share of pixels off by more than 2 px"),
    "density": Figure("Density", "%", False, "share of the pixels with truth that are known"),
    "abs_rel": Figure("AbsRel", "", True, "of depth: mean of |d - g| / g"),
    "rmse": Figure("RMSE", "m", True, "of depth: root of the mean of (d - g)^2"),
    "delta1": Figure("\u03b4 < 1.25", "%", False, "of depth: share of pixels with max(d/g, g/d) < 1.25"),
}
"""Those that a reader compares, in the order of tables."""
STATED = (0.5, 1.0, 2.0)
"""px: at these standard deviations coverage is also measured by itself."""
PROTOCOL = (
    "all pixels with truth, at full size, unscaled; epe px, d1_all > 3 px and > 5 % (KITTI 2015), bad_N > N px "
    "(Middlebury), over the pixels that are known; density the share that is known; coverage the share with "
    "|error| <= std, coverage_at_S of the pixels whose std is within 25 % of S; figures per image, then their mean"
)


def disparity_figures(
    disparity: np.ndarray, truth: np.ndarray, std: np.ndarray | None = None
) -> dict[str, float | None]:
    """Figures of a disparity (H, W) px against the truth (H, W), NaN = unknown in both; see `PROTOCOL`.

    None where there is nothing to measure.
    """
    true = np.isfinite(truth)
    known = true & np.isfinite(disparity)
    error, g = np.abs(disparity[known] - truth[known]), truth[known]

    def share(of: np.ndarray) -> float | None:
        return float(of.mean()) if of.size else None

    found = {
        "epe": share(error),
        "d1_all": share((error > 3) & (error > 0.05 * g)),
        "bad_1": share(error > 1),
        "bad_2": share(error > 2),
        "density": float(known.sum() / true.sum()) if true.any() else None,
    }
    if std is not None:
        said = std[known]
        found["coverage"] = share(error <= said)
        for s in STATED:
            found[f"coverage_at_{s:g}"] = share(error[(said > s / 1.25) & (said < 1.25 * s)] <= s)
    return found


def mean_figures(rows: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    """The mean of each figure over the images that have it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = {key: [v for row in rows if (v := row.get(key)) is not None] for key in keys}
    return {key: float(np.mean(column)) if column else None for key, column in columns.items()}


def true_disparity(sample: Sample) -> np.ndarray | None:
    """(H, W) px of the left image, NaN = unknown; None where the sample has no depth or no right eye."""
    if sample.depth is None or sample.right is None:
        return None
    offset = sample.left.camera.cx - sample.right.camera.cx
    return np.float32(sample.fx_baseline) / sample.depth + np.float32(offset)


class Coverage:
    """Pooled over pixels: of those that claim a standard deviation, how many keep to it. Bins of equal ratios."""

    def __init__(self) -> None:
        self.edges = np.geomspace(0.125, 16.0, 15)
        self.count, self.within = np.zeros(len(self.edges) - 1), np.zeros(len(self.edges) - 1)

    def add(self, disparity: np.ndarray, truth: np.ndarray, std: np.ndarray | None) -> None:
        """One image: disparity, truth and its standard deviation (H, W) px, NaN = unknown."""
        if std is None:
            return
        known = np.isfinite(truth) & np.isfinite(disparity)
        said, error = std[known], np.abs(disparity[known] - truth[known])
        self.count += np.histogram(said, self.edges)[0]
        self.within += np.histogram(said[error <= said], self.edges)[0]

    def rows(self, least: float = 0.005) -> list[dict[str, float]]:
        """{std px, coverage, share of all pixels} of each bin that holds at least that share of the pixels."""
        total = max(self.count.sum(), 1.0)
        centres = np.sqrt(self.edges[:-1] * self.edges[1:])
        return [
            {"std": float(s), "coverage": float(w / n), "share": float(n / total)}
            for s, n, w in zip(centres, self.count, self.within, strict=True)
            if n and n / total >= least
        ]


@torch.inference_mode()
def validate_pairs(model: nn.Module, samples: Iterable[Sample]) -> dict[str, float]:
    """Mean figures of a module over rectified samples with truth, at full size, for the log of training."""
    rows = []
    for sample in samples:
        truth = true_disparity(sample)
        if truth is None or sample.right is None:
            continue
        height, width = truth.shape
        step = int(model.size_multiple)  # type: ignore[arg-type]
        device = next(model.parameters()).device
        pair = []
        for image in (sample.left.image, sample.right.image):
            padded = cv2.copyMakeBorder(image, 0, -height % step, 0, -width % step, cv2.BORDER_REPLICATE)
            pair.append(torch.from_numpy(padded)[None].to(device))
        disparity, std = (x[0, :height, :width].cpu().numpy() for x in model(*pair))
        rows.append(disparity_figures(disparity, truth, std))
    means = mean_figures(rows)
    return {key: value for key in ("epe", "d1_all", "bad_1", "coverage") if (value := means[key]) is not None}
