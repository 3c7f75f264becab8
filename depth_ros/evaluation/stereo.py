"""Stereo models on recorded folders: disparity figures, with semi-global matching always beside them.

Every pixel with truth counts, in the left image at its full size; figures are per image, then their mean.
Shares (D1, bad-N, density, coverage) are numbers from 0 to 1.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import nn

from depth_ros.datasets import Sample, open_folder
from depth_ros.datatypes import Disparity
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.depth import figures as depth_figures
from depth_ros.evaluation.latency import summarise
from depth_ros.evaluation.plan import choose
from depth_ros.evaluation.reference import stereo_reference

if TYPE_CHECKING:
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.stereo import StereoSettings

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


def evaluate_stereo(
    model: str,
    data: Path,
    *,
    split: str = "all",
    engine_settings: EngineSettings | None = None,
    stereo: StereoSettings | None = None,
    limit: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a stereo model, or `semi_global`, on a folder of pairs: what `evaluate depth --json` writes.

    `figures` are the model's, with the depth figures that one camera is measured by; `baseline` those of
    semi-global matching with its holes filled, so that both know every pixel; `baselines` also without.
    Raises DepthRosError where the folder has no pairs with truth.
    """
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.stereo import RANGE, StereoEstimator, StereoSettings, rectified_pair

    stereo = stereo or StereoSettings()
    ours = StereoEstimator(model, engine_settings or EngineSettings(), stereo)
    classical = dataclasses.replace(stereo, disparity_range=stereo.disparity_range or RANGE, fill=False)
    estimators = {
        "ours": ours,
        "semi_global": StereoEstimator("semi_global", stereo=classical),
        "semi_global_filled": StereoEstimator(
            "semi_global", stereo=dataclasses.replace(classical, fill=True)
        ),
    }
    folder = open_folder(data)
    indices, words = choose(folder, split, limit)
    rows: dict[str, list[dict[str, float | None]]] = {name: [] for name in estimators}
    latencies: dict[str, list[float]] = {name: [] for name in estimators}
    reference = False
    for done, index in enumerate(indices, 1):
        sample = folder[index]
        if sample.right is None:
            raise DepthRosError(f"{data} has no right eye: a stereo model is measured on pairs")
        pair = rectified_pair(sample.left, sample.right)
        truth = true_disparity(sample)
        if truth is None and folder[indices[0]].depth is None:
            reference, matched = True, stereo_reference(sample)
            truth = None if matched is None else np.float32(sample.fx_baseline) / matched
        for name, estimator in estimators.items() if truth is not None else ():
            if not rows[name]:
                estimator.estimate(pair)  # builds the engine, which is no latency
            start = time.perf_counter()
            found = estimator.estimate(pair)
            latencies[name].append(1000 * (time.perf_counter() - start))
            assert truth is not None
            rows[name].append(disparity_figures(found.disparity, truth, found.std) | _depth(found, sample))
        progress(done, len(indices))
    if not rows["ours"]:
        raise DepthRosError(f"{data} has no pair with truth among {words} of its images")
    means = {name: mean_figures(found) for name, found in rows.items()}
    times = {name: summarise(taken) for name, taken in latencies.items()}
    note = "NO GROUND TRUTH: compared with strict semi-global matching; " if reference else ""
    return {
        "model": model,
        "data": str(data),
        "protocol": f"{note}stereo: {PROTOCOL}; images: {words}; baseline: semi-global matching, filled",
        "images": len(rows["ours"]),
        "figures": means["ours"],
        "baseline": means["semi_global_filled"],
        "baselines": {name: means[name] for name in ("semi_global", "semi_global_filled")},
        "engine": ours.engine_name,
        "ms_per_image": _median(times["ours"]),
        "ms_per_image_baseline": _median(times["semi_global"]),
    }


def _median(latency: Any) -> float | None:
    return latency.median if latency else None


def _depth(found: Disparity, sample: Sample) -> dict[str, float | None]:
    """The figures of depth, of recordings whose depth is known."""
    if sample.depth is None:
        return {}
    measured = depth_figures(found.depth().depth, sample.depth)
    return {key: measured[key] for key in ("abs_rel", "rmse", "delta1", "silog")}


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
