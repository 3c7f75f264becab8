"""Evaluation of online refinement: the rows of the tables of Casser et al. (AAAI 2019) on one recording.

The neighbours of an evaluated image are those in the whole recording, also where a split file lists few of its images.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.card import find_card
from depth_ros.datatypes import Depth
from depth_ros.errors import DepthRosError
from depth_ros.estimators.refinement import PUBLISHED, ClipRefiner, RefinementSettings
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.metrics.protocols import DepthProtocol
from depth_ros.evaluation.options import DepthOptions, EvaluationOptions
from depth_ros.evaluation.setup import choose_training_folder, evaluation_setup, select
from depth_ros.recordings import Recording, Sample, open_recording
from depth_ros.recordings.instances import clip_instances
from depth_ros.recordings.split import continuous_parts


@dataclass(frozen=True)
class RefinementOptions:
    """settings: of the refinement. static_model: model trained without object motion, for the rows without masks."""

    settings: RefinementSettings = PUBLISHED
    static_model: str = ""


@dataclass
class Row:
    """One row of the table: depth of a model, refined or not, with masks or not. milliseconds: of every image."""

    name: str
    refiner: ClipRefiner
    refined: bool
    masks: bool
    metrics: DepthMetrics
    milliseconds: list[float] = dataclasses.field(default_factory=list)

    def depth(self, sample: Sample, clip: Sequence[Sample]) -> Depth:
        """Depth of a sample. clip: it and its neighbours; empty if one is missing."""
        if not self.refined:
            return self.refiner.trained_depth(sample.left)
        if not clip:
            self.refiner.outcomes["not refined: a neighbouring frame is missing"] += 1
            return self.refiner.trained_depth(sample.left)
        objects = clip_instances(clip) if self.masks else None
        labels = () if objects is None else tuple(objects.labels)
        return self.refiner.refined_depth([each.left for each in clip], labels)

    def result(self) -> dict[str, Any]:
        """Entry of `rows` in the result."""
        latency = summarise(tuple(self.milliseconds))
        return {
            "row": self.name,
            "model": self.refiner.card.name,
            "metrics": self.metrics.compute(),
            "outcomes": dict(self.refiner.outcomes) if self.refined else {},
            "ms_per_image": latency.median if latency else None,
        }


class Clips:
    """The clips of a recording around, or up to, given samples."""

    def __init__(self, recording: Recording, length: int, target: int) -> None:
        self._recording, self._before, self._after = recording, target, length - 1 - target
        self._indices = {name: index for index, name in enumerate(recording.names)}
        self._parts = continuous_parts(recording)

    def of(self, sample: Sample) -> list[Sample]:
        """The clip of a sample, oldest first; empty if a neighbour is missing or of another camera."""
        index = self._indices.get(sample.name)
        part = next((part for part in self._parts if index in part), range(0))
        if index is None or index - self._before < part.start or index + self._after >= part.stop:
            return []
        clip = [self._recording[i] for i in range(index - self._before, index + self._after + 1)]
        same = all(each.left.camera.K.tolist() == sample.left.camera.K.tolist() for each in clip)
        return clip if same else []


def evaluate_refined_depth(
    model: str, data: Path, options: EvaluationOptions, depth: DepthOptions, refinement: RefinementOptions
) -> dict[str, Any]:
    """Evaluate online refinement; returns the content of `depth_ros evaluate depth --refine --json`.

    Rows, as in the paper: "none" and "R", the static model and its refinement without masks; "M" and "M+R", the model,
    which was trained with masks, and its refinement with those of the recording. Without a static model: "trained",
    "R", and "M+R" if the recording has masks and the model object motion.
    """
    if options.report is not None:
        raise DepthRosError("evaluate depth --refine writes no report: use --json")
    folder = open_recording(data, options.recording)
    whole = open_recording(data, dataclasses.replace(options.recording, image_list=None))
    selection = select(folder, options.split, options.limit)
    card = find_card(model)
    training_folder = choose_training_folder(depth.baseline_data, folder, options.split)
    setup = evaluation_setup(selection, depth, card, training_folder)
    if setup.protocol.model_input or setup.protocol.model_rows:
        raise DepthRosError(
            f"protocol '{setup.protocol.name}' is for single images, which cannot be refined online"
        )
    rows = _rows(model, refinement, selection.first, setup.protocol)
    clips = {row.name: Clips(whole, row.refiner.clip_length, row.refiner.target) for row in rows}
    baseline = DepthMetrics(setup.protocol)
    for done, (_, sample) in enumerate(selection.samples(), 1):
        g = setup.ground_truth.depth(sample)
        if g is not None:
            for row in rows:
                clip = clips[row.name].of(sample) if row.refined else []
                start = time.perf_counter()
                found = row.depth(sample, clip)
                row.milliseconds.append(1000 * (time.perf_counter() - start))
                row.metrics.add(found.depth, g, sample.fx_baseline)
            guess = setup.baseline.predict(g)
            if guess is not None:
                baseline.add(guess, g, sample.fx_baseline)
        options.progress(done, len(selection.indices))
    return {
        "model": card.name,
        "data": str(data),
        "protocol": f"{setup.text}; {_text(refinement.settings, rows[-1].refiner)}",
        "images": len(rows[0].metrics),
        "rows": [row.result() for row in rows],
        "baseline": baseline.compute(),
        "engine": rows[-1].refiner.engine_status.name,
    }


def _rows(model: str, refinement: RefinementOptions, first: Sample, protocol: DepthProtocol) -> list[Row]:
    """The rows for a recording that begins with the sample `first`."""

    def row(name: str, model: str, refined: bool, masks: bool = False) -> Row:
        refiner = ClipRefiner(model, refinement.settings)
        return Row(name, refiner, refined, masks, DepthMetrics(protocol))

    has_masks = first.instances is not None or first.moving_objects is not None
    if not refinement.static_model:
        rows = [row("trained", model, False), row("R", model, True)]
        with_motion = has_masks and rows[0].refiner.has_object_motion
        return [*rows, row("M+R", model, True, True)] if with_motion else rows
    rows = [row("none", refinement.static_model, False), row("R", refinement.static_model, True)]
    rows += [row("M", model, False), row("M+R", model, True, True)]
    if not has_masks or not rows[-1].refiner.has_object_motion:
        lacking = "the recording has no instance masks (--masks)" if not has_masks else ""
        raise DepthRosError(f"row M+R: {lacking or f'{model} has no model of task object_motion beside it'}")
    return rows


def _text(settings: RefinementSettings, refiner: ClipRefiner) -> str:
    limits = (
        "unlimited change" if np.isinf(settings.max_change) else f"change of at most {settings.max_change:g}"
    )
    return (
        f"refinement: {settings.steps} steps of Adam at {settings.learning_rate:g} on {refiner.clip_length} frames, "
        f"depth of the {settings.target} one, smoothness {settings.smoothness_weight:g}, {limits}"
    )
