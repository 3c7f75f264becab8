"""Evaluation of depth models on recorded folders."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from depth_ros import geometry
from depth_ros.card import find_card
from depth_ros.datatypes import Depth, Frame
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.evaluation.focal_length import FocalLengthRule
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.metrics.protocols import DepthProtocol, align_depth
from depth_ros.evaluation.options import DepthOptions, EvaluationOptions, Progress, no_progress
from depth_ros.evaluation.recorded import Recorded, RecordedDepths, match_by_stamp
from depth_ros.evaluation.report.depth import DepthReport, DepthStrip, write_depth_report, write_depth_sheet
from depth_ros.evaluation.report.sections import example_images, model_facts
from depth_ros.evaluation.report.sheet import extreme_images
from depth_ros.evaluation.setup import (
    EvaluationSetup,
    Selection,
    choose_training_folder,
    evaluation_setup,
    select,
)
from depth_ros.evaluation.two_view import prepared_for
from depth_ros.recordings import Recording, Sample, open_recording
from depth_ros.recordings.instances import movable_objects


class DepthPredictor(Protocol):
    """Anything that estimates depth from a frame, e.g. `estimators.depth.DepthEstimator`."""

    def estimate(self, frame: Frame) -> Depth:
        """Depth of a frame."""
        ...


@dataclass(frozen=True)
class DepthComparison:
    """Metrics of predictions and of the baseline. images: number of images with ground truth.

    without_rule: metrics of the same predictions without the rule for the focal length; empty without such a rule.
    ranking: (AbsRel, index) of these images, best first. latencies: ms, of all frames.
    """

    metrics: dict[str, float | None]
    baseline: dict[str, float | None]
    images: int
    latencies: tuple[float, ...]
    ranking: tuple[tuple[float, int], ...]
    without_rule: dict[str, float | None] = field(default_factory=dict)


def evaluate_depth(
    model: str,
    data: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
    depth: DepthOptions = DepthOptions(),  # noqa: B008
) -> dict[str, Any]:
    """Evaluate a model on a folder; returns the content of `depth_ros evaluate depth --json`."""
    estimator = DepthEstimator(model, options.engine)
    card = estimator.card
    folder = prepared_for(card, open_recording(data, options.recording), options.engine)
    training_folder = choose_training_folder(depth.baseline_data, folder, options.split)
    selection = select(folder, options.split, options.limit)
    setup = evaluation_setup(selection, depth, card, training_folder)
    estimator.estimate(selection.first.left)  # builds the engine, which does not count as latency
    comparison = compare(estimator, setup, options.progress, FocalLengthRule.of(card))
    result = _result(card.name, data, setup, comparison, estimator.engine_status.name)
    if card.extra_inputs:
        result["missing_inputs"] = dict(estimator.missing)
    if options.report is not None:
        facts = model_facts(card) | {
            "why this engine": estimator.engine_status.reason,
            "command": options.command,
        }
        report = _report(result, comparison, estimator, setup, facts)
        write_depth_report(options.report, dataclasses.replace(report, curves=card.curves))
    if options.pictures is not None:
        strips, _ = _strips(extreme_images(_ranked(comparison, setup)), comparison, estimator, setup)
        write_depth_sheet(options.pictures, strips, setup.ground_truth.label)
    return result


def evaluate_recorded_depth(
    recorded: Sequence[Recorded], model: str, folder: Recording, data: Path, report: Path | None = None
) -> dict[str, Any]:
    """Evaluate depth that `model` computed elsewhere, e.g. in a node, with the recorded latencies.

    Depth is matched to the images of the folder by stamp. Raises DepthRosError if no stamp matches.
    """
    matches = match_by_stamp(recorded, folder, data, "depth images")
    card, estimator = find_card(model), RecordedDepths(matches.values())
    text = f"{len(matches)} of {len(folder)}, those with recorded depth"
    selection = Selection(folder, tuple(matches), text)
    setup = evaluation_setup(selection, card=card)
    latencies = tuple(1000 * each.latency for each in matches.values())
    comparison = dataclasses.replace(compare(estimator, setup), latencies=latencies)
    result = _result(card.name, data, setup, comparison, "depth_node over DDS, image to depth")
    if report is not None:
        content = _report(result, comparison, estimator, setup, model_facts(card))
        write_depth_report(report, dataclasses.replace(content, curves=card.curves))
    return result


def compare(
    estimator: DepthPredictor,
    setup: EvaluationSetup,
    progress: Progress = no_progress,
    rule: FocalLengthRule | None = None,
) -> DepthComparison:
    """Run the estimator on the selected samples; measure its depth and the baseline against the ground truth.

    rule: of the model, to measure its depth without it too, unless the protocol fits the scale anyway.
    """
    rule = rule if setup.protocol.scaling == "none" else None
    predicted, without_rule = DepthMetrics(setup.protocol), DepthMetrics(setup.protocol)
    baseline = DepthMetrics(dataclasses.replace(setup.protocol, model_rows=()))  # predicts the whole image
    latencies, ranking = [], []
    indices = setup.selection.indices
    for done, (index, sample) in enumerate(setup.selection.samples(), 1):
        frame = model_input(sample.left, setup.protocol)
        start = time.perf_counter()
        depth = estimator.estimate(frame)
        latencies.append(1000 * (time.perf_counter() - start))
        g = setup.ground_truth.depth(sample)
        if g is not None:
            people = _people(sample)
            metrics = predicted.add(depth.depth, g, sample.fx_baseline, people, depth.std)
            if rule is not None:
                without_rule.add(rule.undone(depth), g, sample.fx_baseline, people)
            guess = setup.baseline.predict(g)
            if guess is not None:
                baseline.add(guess, g, sample.fx_baseline, people)
            if metrics["abs_rel"] is not None:
                ranking.append((metrics["abs_rel"], index))
        progress(done, len(indices))
    return DepthComparison(
        predicted.compute(),
        baseline.compute(),
        len(predicted),
        tuple(latencies),
        tuple(sorted(ranking)),
        without_rule.compute() if rule is not None else {},
    )


def _people(sample: Sample) -> np.ndarray | None:
    """(H, W) bool, people and other objects that move or may move, of the rectified image; None if they are unknown."""
    objects = movable_objects(sample)
    return None if objects is None else geometry.rectify_labels(objects, sample.left.camera) > 0


def model_input(frame: Frame, protocol: DepthProtocol) -> Frame:
    """The part of a frame that the model gets under a protocol."""
    if protocol.model_rows:
        image, camera = geometry.rectify(frame.image, frame.camera)
        top, bottom = (round(row * camera.height) for row in protocol.model_rows)
        camera = camera.cropped(0, top, camera.width, bottom - top)
        return dataclasses.replace(frame, image=np.ascontiguousarray(image[top:bottom]), camera=camera)
    if not protocol.model_input:
        return frame
    width, height, x, y = protocol.model_input
    image, camera = geometry.rectify(frame.image, frame.camera)

    def cut(image: np.ndarray) -> np.ndarray:
        whole = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
        return np.ascontiguousarray(whole[y : height - y, x : width - x])

    camera = camera.resized(width, height).cropped(x, y, width - 2 * x, height - 2 * y)
    inputs = {name: cut(values) for name, values in frame.extra_inputs.items()}
    return dataclasses.replace(frame, image=cut(image), camera=camera, extra_inputs=inputs)


def _result(
    model: str, data: Path, setup: EvaluationSetup, comparison: DepthComparison, engine: str
) -> dict[str, Any]:
    latency = summarise(comparison.latencies)
    return {
        "model": model,
        "data": str(data),
        "protocol": setup.text,
        "images": comparison.images,
        "metrics": comparison.metrics,
        "baseline": comparison.baseline,
        "engine": engine,
        "ms_per_image": latency.median if latency else None,
        **({"without_focal_length": comparison.without_rule} if comparison.without_rule else {}),
    }


def _report(
    result: dict[str, Any],
    comparison: DepthComparison,
    estimator: DepthPredictor,
    setup: EvaluationSetup,
    facts: dict[str, str],
) -> DepthReport:
    """Content of the report: example images from best to worst, and the point cloud of the typical one."""
    strips, cloud = _strips(example_images(_ranked(comparison, setup)), comparison, estimator, setup)
    latencies, label = comparison.latencies, setup.ground_truth.label
    return DepthReport(result, strips, latencies, cloud, facts, label)


def _ranked(comparison: DepthComparison, setup: EvaluationSetup) -> list[int]:
    """Indices from best to worst; without ground truth in their order."""
    return [index for _, index in comparison.ranking] or list(setup.selection.indices)


def _strips(
    shown: Mapping[int, str], comparison: DepthComparison, estimator: DepthPredictor, setup: EvaluationSetup
) -> tuple[tuple[DepthStrip, ...], Depth]:
    """Strips of images, {index: name}, and the depth of the first."""
    abs_rel = {index: error for error, index in comparison.ranking}
    strips, depths = [], []
    for index, position in shown.items():
        sample = setup.selection.folder[index]
        depths.append(estimator.estimate(model_input(sample.left, setup.protocol)))
        image, _ = geometry.rectify(sample.left.image, sample.left.camera)
        title = f"{position}: {sample.name}" if abs_rel else sample.name
        g = setup.ground_truth.depth(sample)
        aligned = align_depth(depths[-1].depth, g, setup.protocol)
        strips.append(DepthStrip(title, image, aligned, g, abs_rel.get(index)))
    return tuple(strips), depths[0]
