"""A stereo model on a recorded folder: figures with semi-global matching always beside them, and the page."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from depth_ros.card import find_card
from depth_ros.datasets import Folder, Sample, open_folder
from depth_ros.datatypes import Disparity, StereoFrame
from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.semi_global import SEMI_GLOBAL
from depth_ros.evaluation.baselines.semi_global import stereo_reference
from depth_ros.evaluation.depth import card_facts, matched, places
from depth_ros.evaluation.metrics.depth import figures as depth_figures
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.metrics.stereo import (
    PROTOCOL,
    Coverage,
    disparity_figures,
    mean_figures,
    true_disparity,
)
from depth_ros.evaluation.report.stereo import StereoReport, StereoStrip, write_stereo_report
from depth_ros.evaluation.setup import choose, truth_kind

if TYPE_CHECKING:
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.stereo.estimator import StereoSettings

Estimate = Callable[[StereoFrame], Disparity]
OURS, FILLED = "ours", "semi_global_filled"
CERTAIN, UNSAID = 0.05, 0.5
"""The cloud shows pixels whose depth is said to be known within this share of it; px, the standard deviation where
none is said."""
NO_TRUTH = "NO GROUND TRUTH: compared with strict semi-global matching; "


class RecordedDisparity(Protocol):
    """A disparity that was recorded. stamp: ns of the pair. disparity: (H, W) px, NaN = unknown, 0 = infinitely
    far. latency: s until it was there."""

    @property
    def stamp(self) -> int: ...

    @property
    def disparity(self) -> np.ndarray: ...

    @property
    def latency(self) -> float: ...


@dataclass(frozen=True)
class Subject:
    """What is measured: pairs of a folder. words: which they are. reference: there is no truth, and strict
    semi-global matching stands for it."""

    folder: Folder
    indices: tuple[int, ...]
    words: str
    reference: bool

    @staticmethod
    def of(folder: Folder, indices: Sequence[int], words: str) -> Subject:
        return Subject(folder, tuple(indices), words, truth_kind(folder, indices) == "stereo")

    def truth_of(self, sample: Sample) -> np.ndarray | None:
        """(H, W) px of the left image, NaN = unknown; None where this sample has no truth."""
        if not self.reference:
            return true_disparity(sample)
        matched = stereo_reference(sample)
        return None if matched is None else np.float32(sample.fx_baseline) / matched


@dataclass(frozen=True)
class PairComparison:
    """Estimators on the same pairs. figures, latencies (ms): by estimator. ranking: (D1, index) of the pairs with
    truth by the first of them, best first. coverage: of its standard deviations, if it has any."""

    figures: dict[str, dict[str, float | None]]
    latencies: dict[str, tuple[float, ...]]
    ranking: tuple[tuple[float, int], ...]
    coverage: Coverage


def evaluate_stereo(
    model: str,
    data: Path,
    *,
    split: str = "all",
    engine_settings: EngineSettings | None = None,
    stereo: StereoSettings | None = None,
    limit: int = 0,
    report: Path | None = None,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a stereo model, or `semi_global`, on a folder of pairs: what `evaluate depth --json` writes.

    `figures` are the model's, with the depth figures that one camera is measured by; `baseline` those of
    semi-global matching with its holes filled, so that both know every pixel; `baselines` also without.
    report: file of the page to write. command: what the user typed, for the page.
    Raises DepthRosError where the folder has no pairs with truth.
    """
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.stereo.estimator import StereoEstimator, StereoSettings

    stereo = stereo or StereoSettings()
    ours = StereoEstimator(model, engine_settings or EngineSettings(), stereo)
    folder = open_folder(data)
    subject = Subject.of(folder, *choose(folder, split, limit))
    estimates = {OURS: ours.estimate} | _classical(stereo, subject)
    comparison = compare_pairs(estimates, subject, progress)
    result = _result(model, data, subject, comparison, ours.engine_name)
    if report is not None:
        facts = _facts(model) | {"why this engine": ours.reason, "command": command}
        curves = ours.card.curves if ours.card else None
        write_stereo_report(report, _page(result, comparison, estimates, subject, facts), curves)
    return result


def evaluate_recorded_pairs(
    recorded: Sequence[RecordedDisparity],
    model: str,
    folder: Folder,
    data: Path,
    *,
    report: Path | None = None,
) -> dict[str, Any]:
    """The same for disparities that `model` made elsewhere, say in a node: pairs are matched by their stamps.

    Latencies are those recorded. Raises DepthRosError if no stamp is one of the folder's.
    """
    from depth_ros.estimators.stereo.estimator import StereoSettings

    found = matched(recorded, folder, data, "disparities")
    by_stamp = {each.stamp: each for each in found.values()}

    def estimate(pair: StereoFrame) -> Disparity:
        return as_disparity(by_stamp[pair.left.stamp].disparity, pair)

    words = f"{len(found)} of {len(folder)}, those for which disparity came back"
    subject = Subject.of(folder, list(found), words)
    estimates = {OURS: estimate} | _classical(StereoSettings(), subject)
    comparison = compare_pairs(estimates, subject)
    latencies = tuple(1000 * each.latency for each in found.values())
    comparison = dataclasses.replace(comparison, latencies={**comparison.latencies, OURS: latencies})
    result = _result(model, data, subject, comparison, "stereo_depth_node over DDS, pair to disparity")
    if report is not None:
        write_stereo_report(report, _page(result, comparison, estimates, subject, _facts(model)))
    return result


def as_disparity(disparity: np.ndarray, pair: StereoFrame) -> Disparity:
    """A recorded disparity (H, W) px, 0 = infinitely far, as the pair's."""
    left, offset = pair.left, pair.left.camera.cx - pair.right.camera.cx
    return Disparity(
        left.stamp,
        left.frame_id,
        disparity + np.float32(offset),
        left.camera,
        left.image,
        pair.baseline,
        offset,
    )


def compare_pairs(
    estimates: Mapping[str, Estimate],
    subject: Subject,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PairComparison:
    """Run every estimator on the pairs that have truth, and measure it."""
    from depth_ros.estimators.stereo.estimator import rectified_pair

    rows: dict[str, list[dict[str, float | None]]] = {name: [] for name in estimates}
    latencies: dict[str, list[float]] = {name: [] for name in estimates}
    ranking, coverage = [], Coverage()
    for done, index in enumerate(subject.indices, 1):
        sample = subject.folder[index]
        if sample.right is None:
            raise DepthRosError(f"'{sample.name}' has no right eye: a stereo model is measured on pairs")
        truth = subject.truth_of(sample)
        if truth is not None:
            pair = rectified_pair(sample.left, sample.right)
            for name, estimate in estimates.items():
                if not rows[name]:
                    estimate(pair)  # builds the engine, which is no latency
                start = time.perf_counter()
                found = estimate(pair)
                latencies[name].append(1000 * (time.perf_counter() - start))
                figures = disparity_figures(found.disparity, truth, found.std)
                rows[name].append(figures | _depth(found, sample))
                if name == OURS:
                    ranking.append((figures["d1_all"] or 0.0, index))
                    coverage.add(found.disparity, truth, found.std)
        progress(done, len(subject.indices))
    if not ranking:
        raise DepthRosError(f"there is no pair with truth among {subject.words} of the images")
    means = {name: mean_figures(found) for name, found in rows.items()}
    taken = {name: tuple(found) for name, found in latencies.items()}
    return PairComparison(means, taken, tuple(sorted(ranking)), coverage)


def _classical(stereo: StereoSettings, subject: Subject) -> dict[str, Estimate]:
    """Semi-global matching as it is, and with its holes filled; none where it stands for the truth itself."""
    from depth_ros.estimators.stereo.estimator import RANGE, StereoEstimator

    if subject.reference:
        return {}
    of = stereo.disparity_range or RANGE
    settings = dataclasses.replace(stereo, disparity_range=of, scale=1.0, fill=False)
    filled = dataclasses.replace(settings, fill=True)
    return {
        SEMI_GLOBAL: StereoEstimator(SEMI_GLOBAL, stereo=settings).estimate,
        FILLED: StereoEstimator(SEMI_GLOBAL, stereo=filled).estimate,
    }


def _result(
    model: str, data: Path, subject: Subject, comparison: PairComparison, engine: str
) -> dict[str, Any]:
    note, baseline = (NO_TRUTH, "") if subject.reference else ("", "; baseline: semi-global matching, filled")
    ours, theirs = (summarise(comparison.latencies.get(name, ())) for name in (OURS, SEMI_GLOBAL))
    figures = comparison.figures
    unknown: dict[str, float | None] = dict.fromkeys(figures[OURS])
    return {
        "model": model,
        "data": str(data),
        "protocol": f"{note}stereo: {PROTOCOL}; images: {subject.words}{baseline}",
        "images": len(comparison.ranking),
        "figures": figures[OURS],
        "baseline": figures.get(FILLED, unknown),
        "baselines": {name: figures.get(name, unknown) for name in (SEMI_GLOBAL, FILLED)},
        "coverage_by_std": comparison.coverage.rows(),
        "engine": engine,
        "ms_per_image": ours.median if ours else None,
        "ms_per_image_baseline": theirs.median if theirs else None,
    }


def _depth(found: Disparity, sample: Sample) -> dict[str, float | None]:
    """The figures of depth, of recordings whose depth is known."""
    if sample.depth is None:
        return {}
    measured = depth_figures(found.depth().depth, sample.depth)
    return {key: measured[key] for key in ("abs_rel", "rmse", "delta1", "silog")}


def _facts(model: str) -> dict[str, str]:
    return {"model": "OpenCV"} if model == SEMI_GLOBAL else card_facts(find_card(model))


def _page(
    result: dict[str, Any],
    comparison: PairComparison,
    estimates: Mapping[str, Estimate],
    subject: Subject,
    facts: dict[str, str],
) -> StereoReport:
    """The page's content: a typical pair, the range from the best to the worst, the typical one's cloud."""
    from depth_ros.estimators.stereo.estimator import FLYING, between_surfaces, rectified_pair

    strips, clouds = [], []
    of = {index: d1 for d1, index in comparison.ranking}
    for index, step in places([index for _, index in comparison.ranking]).items():
        sample = subject.folder[index]
        assert sample.right is not None
        pair = rectified_pair(sample.left, sample.right)
        found = estimates[OURS](pair)
        classical = estimates[FILLED](pair).disparity if FILLED in estimates else None
        truth = subject.truth_of(sample)
        assert truth is not None
        title = f"{step}: {sample.name}, D1 {100 * of[index]:.1f} %"
        image = found.image
        strips.append(StereoStrip(title, image, found.disparity, truth, found.std, classical))
        std = UNSAID if found.std is None else found.std
        keep = ~between_surfaces(found.disparity, FLYING) & (std < CERTAIN * found.disparity)
        clouds.append(dataclasses.replace(found, disparity=np.where(keep, found.disparity, np.nan)).depth())
    truth_name = "stereo matching" if subject.reference else "truth"
    return StereoReport(result, tuple(strips), comparison.latencies[OURS], clouds[0], facts, truth_name)
