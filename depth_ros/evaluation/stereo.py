"""Figures of disparity: EPE, D1-all and bad-N as the benchmarks define them, density, coverage of the deviation."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import nn

from depth_ros.datasets import Sample


def disparity_figures(
    disparity: np.ndarray, truth: np.ndarray, std: np.ndarray | None = None
) -> dict[str, float]:
    """Figures of a disparity (H, W) px against the truth (H, W), NaN = unknown in both.

    epe: mean |error|, px. d1_all: % of pixels with |error| > 3 px and > 5 % (KITTI 2015). bad_1, bad_2: % with
    |error| > 1, 2 px (Middlebury). All over pixels that are known to both; density: % of the true ones that
    are known. coverage: % of them with |error| <= std.
    """
    true = np.isfinite(truth)
    known = true & np.isfinite(disparity)
    error = np.abs(disparity[known] - truth[known])
    result = {
        "epe": float(error.mean()),
        "d1_all": 100 * float(((error > 3) & (error > 0.05 * truth[known])).mean()),
        "bad_1": 100 * float((error > 1).mean()),
        "bad_2": 100 * float((error > 2).mean()),
        "density": 100 * float(known.sum() / max(true.sum(), 1)),
    }
    if std is not None:
        result["coverage"] = 100 * float((error <= std[known]).mean())
    return result


def true_disparity(sample: Sample) -> np.ndarray:
    """(H, W) px of the left image, NaN = unknown, of a sample with depth and a right eye."""
    assert sample.depth is not None and sample.right is not None
    return np.float32(sample.fx_baseline) / sample.depth


@torch.inference_mode()
def validate_pairs(model: nn.Module, samples: Sequence[Sample]) -> dict[str, float]:
    """Mean figures of a module over rectified samples with truth, at full size."""
    rows = []
    for sample in samples:
        assert sample.right is not None
        height, width = sample.left.image.shape[:2]
        step = int(model.size_multiple)  # type: ignore[arg-type]
        below, beside = -height % step, -width % step
        pair = [
            torch.from_numpy(cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE))[None]
            for image in (sample.left.image, sample.right.image)
        ]
        disparity, std = (x[0, :height, :width].cpu().numpy() for x in model(*pair))
        rows.append(disparity_figures(disparity, true_disparity(sample), std))
    return {key: float(np.mean([row[key] for row in rows])) for key in ("epe", "d1_all", "bad_1", "coverage")}
