"""Evaluation of the filters: how many pixels each of them leaves, and how large the errors of these are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from depth_ros.config import settings_from
from depth_ros.datatypes import Depth
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.estimators.stereo.estimator import StereoEstimator, is_stereo
from depth_ros.estimators.stereo.pair import rectified_pair
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.options import DepthOptions, EvaluationOptions
from depth_ros.evaluation.setup import evaluation_setup, select
from depth_ros.recordings import Sample, open_recording

OFF = {"flying_pixels": 0.0}
ROWS: dict[str, dict[str, float]] = {
    "none": OFF,
    "flying_pixels 0.15 (default)": {},
    "flying_pixels 0.05": {"flying_pixels": 0.05},
    "image_border 0.05": {**OFF, "image_border": 0.05},
    "max_depth 5": {**OFF, "max_depth": 5.0},
    "max_depth 20": {**OFF, "max_depth": 20.0},
    "min_confidence 0.3": {**OFF, "min_confidence": 0.3},
    "min_confidence 0.5": {**OFF, "min_confidence": 0.5},
    "min_confidence 0.7": {**OFF, "min_confidence": 0.7},
    "flying_pixels 0.15, min_confidence 0.5": {"min_confidence": 0.5},
}
"""{row: parameters of `FilterSettings`}; rows with min_confidence only for models with standard deviations."""


def evaluate_filters(
    model: str,
    data: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
    depth: DepthOptions = DepthOptions(),  # noqa: B008
) -> dict[str, Any]:
    """Coverage and errors of the depth of a model, for one camera or stereo, after each filter of `ROWS`.

    Returns the content of `depth_ros evaluate depth --filters --json`; `metrics` are those without filters. Raises
    DepthRosError if the recording has no ground truth, or no pairs for a stereo model.
    """
    selection = select(open_recording(data, options.recording), options.split, options.limit)
    estimate, estimator = _depth_source(model, options)
    setup = evaluation_setup(selection, depth, estimator.card)
    metrics: dict[str, DepthMetrics] = {}
    for done, (_, sample) in enumerate(selection.samples(), 1):
        if (ground_truth := setup.ground_truth.depth(sample)) is not None:
            result = estimate(sample)
            for row, parameters in ROWS.items():
                if result.std is not None or "min_confidence" not in parameters:
                    kept = filtered(result, settings_from(FilterSettings, parameters, row))
                    row_metrics = metrics.setdefault(row, DepthMetrics(setup.protocol))
                    row_metrics.add(kept.depth, ground_truth, sample.fx_baseline)
        options.progress(done, len(selection.indices))
    if not metrics:
        raise DepthRosError(f"'{data}' has no ground truth to measure filters with")
    rows = [{"row": row, "metrics": each.compute()} for row, each in metrics.items()]
    return {
        "model": model, "data": str(data), "protocol": setup.text, "images": len(metrics["none"]),
        "metrics": rows[0]["metrics"], "rows": rows, "baseline": {}, "engine": estimator.engine_status.name,
    }  # fmt: skip


def _depth_source(
    model: str, options: EvaluationOptions
) -> tuple[Callable[[Sample], Depth], DepthEstimator | StereoEstimator]:
    """A function from samples to depth, and its estimator."""
    if not is_stereo(model):
        mono = DepthEstimator(model, options.engine)
        return lambda sample: mono.estimate(sample.left), mono
    stereo = StereoEstimator(model, options.engine)

    def estimate(sample: Sample) -> Depth:
        if sample.right is None:
            raise DepthRosError(f"sample '{sample.name}' has no right image, which model '{model}' needs")
        return stereo.estimate(rectified_pair(sample.left, sample.right)).depth()

    return estimate, stereo
