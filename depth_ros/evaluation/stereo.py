"""Evaluation of stereo models on recorded folders, with semi-global matching as the baseline."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from depth_ros.card import find_card
from depth_ros.datatypes import Depth, Disparity, StereoFrame
from depth_ros.errors import DepthRosError
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.estimators.stereo.estimator import (
    DEFAULT_DISPARITY_RANGE,
    StereoEstimator,
    StereoSettings,
)
from depth_ros.estimators.stereo.pair import rectified_pair
from depth_ros.estimators.stereo.semi_global import SEMI_GLOBAL
from depth_ros.evaluation.metrics.depth import depth_metrics
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.metrics.stereo import (
    PROTOCOL,
    CoverageByStd,
    disparity_metrics,
    ground_truth_disparity,
    mean_metrics,
)
from depth_ros.evaluation.options import EvaluationOptions, Progress, no_progress
from depth_ros.evaluation.recorded import Recorded, RecordedDisparities, match_by_stamp
from depth_ros.evaluation.report.sections import example_images, model_facts
from depth_ros.evaluation.report.sheet import extreme_images
from depth_ros.evaluation.report.stereo import (
    StereoReport,
    StereoStrip,
    format_metric,
    write_stereo_report,
    write_stereo_sheet,
)
from depth_ros.evaluation.setup import (
    STEREO_REFERENCE,
    GroundTruth,
    Selection,
    choose_ground_truth,
    select,
)
from depth_ros.recordings import Recording, Sample, open_recording

MODEL, FILLED = "model", "semi_global_filled"
"""Names of the evaluated model and of semi-global matching with filled holes among the estimators."""
MAX_RELATIVE_STD = 0.05
"""The report's point cloud shows pixels whose standard deviation of depth is below this fraction of the depth."""
ASSUMED_STD = 0.5
"""Standard deviation of disparity assumed there for models that predict none, px."""
REFERENCE_NOTE = "NO GROUND TRUTH: compared with strict semi-global matching; "
DEPTH_METRICS = ("abs_rel", "rmse", "delta1", "silog")
"""Depth metrics that are also reported."""


class DisparityPredictor(Protocol):
    """Anything that estimates disparity from a rectified pair, e.g. `estimators.stereo.estimator.StereoEstimator`."""

    def estimate(self, frame: StereoFrame, /) -> Disparity:
        """Disparity of a pair."""
        ...


@dataclass(frozen=True)
class StereoSetup:
    """Pairs to evaluate and their ground truth, measured or strict semi-global matching."""

    selection: Selection
    ground_truth: GroundTruth

    @property
    def has_reference_only(self) -> bool:
        """Whether semi-global matching stands in for the ground truth."""
        return self.ground_truth is STEREO_REFERENCE

    def disparity(self, sample: Sample) -> np.ndarray | None:
        """Ground truth (H, W) px of the left image, NaN = invalid; None for a sample without."""
        if not self.has_reference_only:
            return ground_truth_disparity(sample)
        depth = self.ground_truth.depth(sample)
        return None if depth is None else np.float32(sample.fx_baseline) / depth


@dataclass(frozen=True)
class StereoComparison:
    """Estimators on the same pairs. metrics, latencies (ms): by estimator. ranking: (EPE px, index) of the pairs with
    ground truth by the model, best first. coverage: of the model's standard deviations."""

    metrics: dict[str, dict[str, float | None]]
    latencies: dict[str, tuple[float, ...]]
    ranking: tuple[tuple[float, int], ...]
    coverage: CoverageByStd


def evaluate_stereo(
    model: str,
    data: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
    stereo: StereoSettings = StereoSettings(),  # noqa: B008
) -> dict[str, Any]:
    """Evaluate a stereo model, or `semi_global`, on a folder of pairs; returns the content of `evaluate depth --json`.

    `metrics` are those of the model, including depth metrics; `baseline` those of semi-global matching with filled
    holes, so that both are dense; `baselines` also without filling.
    Raises DepthRosError if the folder has no pairs with ground truth.
    """
    estimator = StereoEstimator(model, options.engine, stereo)
    selection = select(open_recording(data, options.recording), options.split, options.limit)
    setup = StereoSetup(selection, choose_ground_truth(selection))
    estimators = {MODEL: estimator} | _baselines(stereo, setup)
    comparison = compare_pairs(estimators, setup, options.progress)
    result = _result(model, data, setup, comparison, estimator.engine_status.name)
    if options.report is not None:
        facts = _facts(model) | {
            "why this engine": estimator.engine_status.reason,
            "command": options.command,
        }
        report = _report(result, comparison, estimators, setup, facts)
        curves = estimator.card.curves if estimator.card else None
        write_stereo_report(options.report, dataclasses.replace(report, curves=curves))
    if options.pictures is not None:
        shown = extreme_images([index for _, index in comparison.ranking])
        strips, _ = _strips(shown, estimators, setup)
        write_stereo_sheet(options.pictures, strips, setup.ground_truth.label)
    return result


def evaluate_recorded_disparity(
    recorded: Sequence[Recorded], model: str, folder: Recording, data: Path, report: Path | None = None
) -> dict[str, Any]:
    """Evaluate disparity that `model` computed elsewhere, e.g. in a node, with the recorded latencies.

    Disparity is matched to the pairs of the folder by stamp. Raises DepthRosError if no stamp matches.
    """
    matches = match_by_stamp(recorded, folder, data, "disparity images")
    text = f"{len(matches)} of {len(folder)}, those with recorded disparity"
    selection = Selection(folder, tuple(matches), text)
    setup = StereoSetup(selection, choose_ground_truth(selection))
    estimators = {MODEL: RecordedDisparities(matches.values())} | _baselines(StereoSettings(), setup)
    comparison = compare_pairs(estimators, setup)
    latencies = comparison.latencies | {MODEL: tuple(1000 * each.latency for each in matches.values())}
    comparison = dataclasses.replace(comparison, latencies=latencies)
    result = _result(model, data, setup, comparison, "stereo_depth_node over DDS, pair to disparity")
    if report is not None:
        write_stereo_report(report, _report(result, comparison, estimators, setup, _facts(model)))
    return result


def compare_pairs(
    estimators: Mapping[str, DisparityPredictor], setup: StereoSetup, progress: Progress = no_progress
) -> StereoComparison:
    """Run all estimators on the pairs with ground truth and measure them."""
    rows: dict[str, list[dict[str, float | None]]] = {name: [] for name in estimators}
    latencies: dict[str, list[float]] = {name: [] for name in estimators}
    ranking, coverage = [], CoverageByStd()
    indices = setup.selection.indices
    for done, (index, sample) in enumerate(setup.selection.samples(), 1):
        if sample.right is None:
            raise DepthRosError(f"'{sample.name}' has no right image; stereo models are evaluated on pairs")
        g = setup.disparity(sample)
        if g is not None:
            pair = rectified_pair(sample.left, sample.right)
            for name, estimator in estimators.items():
                if not rows[name]:
                    estimator.estimate(pair)  # builds the engine, which does not count as latency
                start = time.perf_counter()
                prediction = estimator.estimate(pair)
                latencies[name].append(1000 * (time.perf_counter() - start))
                metrics = disparity_metrics(prediction.disparity, g, prediction.std)
                rows[name].append(metrics | _depth_metrics(prediction, sample))
                if name == MODEL:
                    ranking.append((metrics["epe"] or 0.0, index))
                    coverage.add(prediction.disparity, g, prediction.std)
        progress(done, len(indices))
    if not ranking:
        raise DepthRosError(f"no pair of the images ({setup.selection.text}) has ground truth")
    means = {name: mean_metrics(row) for name, row in rows.items()}
    times = {name: tuple(milliseconds) for name, milliseconds in latencies.items()}
    return StereoComparison(means, times, tuple(sorted(ranking)), coverage)


def _baselines(stereo: StereoSettings, setup: StereoSetup) -> dict[str, DisparityPredictor]:
    """Semi-global matching without and with filled holes; none where it stands in for the ground truth."""
    if setup.has_reference_only:
        return {}
    settings = dataclasses.replace(
        stereo, disparity_range=stereo.disparity_range or DEFAULT_DISPARITY_RANGE, scale=1.0, fill=False
    )
    filled = dataclasses.replace(settings, fill=True)
    return {
        SEMI_GLOBAL: StereoEstimator(SEMI_GLOBAL, stereo=settings),
        FILLED: StereoEstimator(SEMI_GLOBAL, stereo=filled),
    }


def _result(
    model: str, data: Path, setup: StereoSetup, comparison: StereoComparison, engine: str
) -> dict[str, Any]:
    note, baseline = "", "; baseline: semi-global matching, filled"
    if setup.has_reference_only:
        note, baseline = REFERENCE_NOTE, ""
    latency, baseline_latency = (
        summarise(comparison.latencies.get(name, ())) for name in (MODEL, SEMI_GLOBAL)
    )
    metrics = comparison.metrics
    missing: dict[str, float | None] = dict.fromkeys(metrics[MODEL])
    return {
        "model": model,
        "data": str(data),
        "protocol": f"{note}stereo: {PROTOCOL}; images: {setup.selection.text}{baseline}",
        "images": len(comparison.ranking),
        "metrics": metrics[MODEL],
        "baseline": metrics.get(FILLED, missing),
        "baselines": {name: metrics.get(name, missing) for name in (SEMI_GLOBAL, FILLED)},
        "coverage_by_std": comparison.coverage.rows(),
        "engine": engine,
        "ms_per_image": latency.median if latency else None,
        "ms_per_image_baseline": baseline_latency.median if baseline_latency else None,
    }


def _depth_metrics(prediction: Disparity, sample: Sample) -> dict[str, float | None]:
    """Depth metrics of a disparity, for recordings with measured depth."""
    if sample.depth is None:
        return {}
    metrics = depth_metrics(prediction.depth().depth, sample.depth)
    return {key: metrics[key] for key in DEPTH_METRICS}


def _facts(model: str) -> dict[str, str]:
    return {"model": "OpenCV"} if model == SEMI_GLOBAL else model_facts(find_card(model))


def _report(
    result: dict[str, Any],
    comparison: StereoComparison,
    estimators: Mapping[str, DisparityPredictor],
    setup: StereoSetup,
    facts: dict[str, str],
) -> StereoReport:
    """Content of the report: example pairs from best to worst, and the point cloud of the typical one."""
    strips, cloud = _strips(example_images([index for _, index in comparison.ranking]), estimators, setup)
    label = setup.ground_truth.label
    return StereoReport(result, strips, comparison.latencies[MODEL], cloud, facts, label)


def _strips(
    shown: Mapping[int, str], estimators: Mapping[str, DisparityPredictor], setup: StereoSetup
) -> tuple[tuple[StereoStrip, ...], Depth]:
    """Strips of pairs, {index: name}, and the reliable depth of the first."""
    strips, clouds = [], []
    for index, position in shown.items():
        sample = setup.selection.folder[index]
        assert sample.right is not None
        pair = rectified_pair(sample.left, sample.right)
        prediction = estimators[MODEL].estimate(pair)
        semi_global = estimators[FILLED].estimate(pair).disparity if FILLED in estimators else None
        g = setup.disparity(sample)
        assert g is not None
        metrics = disparity_metrics(prediction.disparity, g)
        epe, d1 = (format_metric(key, metrics[key]) for key in ("epe", "d1_all"))
        title = f"{position}: {sample.name}, EPE {epe}, D1 {d1}"
        strips.append(
            StereoStrip(title, prediction.image, prediction.disparity, g, prediction.std, semi_global)
        )
        clouds.append(reliable_depth(prediction))
    return tuple(strips), clouds[0]


def reliable_depth(disparity: Disparity) -> Depth:
    """Depth with NaN at flying pixels and where its standard deviation exceeds `MAX_RELATIVE_STD`."""
    std = ASSUMED_STD if disparity.std is None else disparity.std
    kept = filtered(disparity.depth(), FilterSettings())
    certain = std < MAX_RELATIVE_STD * disparity.disparity
    return dataclasses.replace(kept, depth=np.where(certain, kept.depth, np.float32(np.nan)))
