"""Evaluation setup: selected samples, ground truth, protocol and baseline."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.card import Card
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.baselines.mean_inverse_depth import MeanInverseDepth
from depth_ros.evaluation.baselines.semi_global import stereo_reference_depth
from depth_ros.evaluation.metrics.protocols import PROTOCOLS, DepthProtocol
from depth_ros.evaluation.options import DepthOptions
from depth_ros.geometry import rectify_depth
from depth_ros.recordings import Recording, Sample, open_recording, readable
from depth_ros.recordings.split import part_of, training

SPLITS = ("all", "held_out", "test")
INDOOR_RANGE = 10.0
"""A recording of a single camera counts as indoors if 95 % of the depths of an image are below this, m."""


@dataclass(frozen=True)
class Selection:
    """Samples of a folder to evaluate. text: description of which samples these are."""

    folder: Recording
    indices: tuple[int, ...]
    text: str

    def samples(self) -> Iterator[tuple[int, Sample]]:
        """Index and sample of all selected frames; damaged ones are logged and left out."""
        return readable(self.folder, self.indices)

    @functools.cached_property
    def first(self) -> Sample:
        """The first readable sample. Raises DepthRosError if there is none."""
        for _, sample in self.samples():
            return sample
        raise DepthRosError(f"no image of the recording ({self.text}) can be read")

    @functools.cached_property
    def first_with_depth(self) -> Sample | None:
        """The first sample with measured depth, or None."""
        if self.folder.contents.predicted_depth:
            return None
        return next((sample for _, sample in self.samples() if sample.depth is not None), None)


def select(folder: Recording, split: str, limit: int = 0) -> Selection:
    """The samples of a split, at most `limit` (0 = all), evenly spaced."""
    if split not in SPLITS:
        raise DepthRosError(f"split is '{split}'; allowed: {', '.join(SPLITS)}")
    indices = list(part_of(folder, split))  # type: ignore[arg-type]
    if not indices:
        raise DepthRosError(f"split '{split}' of the recording has no images")
    text = {"all": "all", "held_out": "held out from training"}.get(
        split, "used for neither training nor calibration"
    )
    if 0 < limit < len(indices):
        spaced = np.linspace(0, len(indices) - 1, limit).round().astype(int)
        return Selection(folder, tuple(indices[i] for i in spaced), f"{limit} of {text}, evenly spaced")
    return Selection(folder, tuple(indices), text)


@dataclass(frozen=True)
class GroundTruth:
    """Depth that predictions are compared with. label: caption of its images in reports. note: warning that goes with
    every result; empty for measured depth. depth: of a sample, (H, W) m of the rectified left image, or None."""

    label: str
    note: str
    depth: Callable[[Sample], np.ndarray | None]


def measured_depth(sample: Sample) -> np.ndarray | None:
    """The recorded depth, rectified as its image. Raises DepthRosError if rectification would turn the camera."""
    return None if sample.depth is None else rectify_depth(sample.depth, sample.left.camera)[0]


MEASURED = GroundTruth("ground truth", "", measured_depth)
STEREO_REFERENCE = GroundTruth(
    "stereo matching",
    "NO GROUND TRUTH: g is semi-global matching of the stereo pair, with an error of about 4 %",
    stereo_reference_depth,
)
NO_GROUND_TRUTH = GroundTruth("ground truth", "NO GROUND TRUTH: nothing to compare with", lambda sample: None)


def choose_ground_truth(selection: Selection) -> GroundTruth:
    """Measured depth if any sample has it, else semi-global matching of stereo pairs, else none."""
    if selection.first_with_depth is not None:
        return MEASURED
    if selection.first.right is not None:
        return STEREO_REFERENCE
    return NO_GROUND_TRUTH


def choose_protocol(name: str, sample: Sample | None, scale: str = "metric") -> DepthProtocol:
    """The protocol of that name; `auto` chooses by a sample with measured depth (None if there is none).

    Pairs and recordings without depth are measured as in KITTI 2015, a single camera indoors with `indoor`, outdoors
    with `eigen`. scale: of the model; predictions without metric scale are aligned to each image, by its median, or by
    scale and shift for affine inverse depth.
    """
    if name != "auto":
        if name not in PROTOCOLS:
            raise DepthRosError(f"protocol is '{name}'; allowed: auto, {', '.join(PROTOCOLS)}")
        return PROTOCOLS[name]
    if sample is None or sample.right is not None or sample.depth is None:
        protocol = PROTOCOLS["kitti2015"]
    else:
        indoors = np.nanpercentile(sample.depth, 95) < INDOOR_RANGE
        protocol = PROTOCOLS["indoor" if indoors else "eigen"]
    scaling = {"metric": protocol.scaling, "up_to_scale": "median"}.get(scale, scale)
    return dataclasses.replace(protocol, scaling=scaling)


@dataclass(frozen=True)
class Baseline:
    """Prediction without looking at the image. predict: depth (H, W) m for an image with the given ground truth
    (H, W), which is left out of it; None if there is no other image."""

    text: str
    predict: Callable[[np.ndarray], np.ndarray | None]


@dataclass(frozen=True)
class EvaluationSetup:
    """Everything that decides the metrics of depth predictions. text: one-line description of all of it."""

    selection: Selection
    ground_truth: GroundTruth
    protocol: DepthProtocol
    baseline: Baseline
    text: str


def evaluation_setup(
    selection: Selection,
    options: DepthOptions = DepthOptions(),  # noqa: B008
    card: Card | None = None,
    training_folder: Recording | None = None,
) -> EvaluationSetup:
    """Choose ground truth, protocol and baseline for the selected samples.

    card: of the model, None if it has none and predicts metric depth; ground truth of unknown scale is aligned as a
    model without scale is. The baseline is computed from the training part of `training_folder`; without one, from the
    card's `mean_inverse_depth`, the average of the model's training images; without that, from the other images of the
    folder (leave one out).
    """
    folder, ground_truth = selection.folder, choose_ground_truth(selection)
    scale = card.scale if card else "metric"
    if scale == "metric" and not folder.contents.metric:
        scale = "up_to_scale"  # of the ground truth
    protocol = choose_protocol(options.protocol, selection.first_with_depth, scale)
    protocol = _with_changes(protocol, options)
    if training_folder is None and card and card.mean_inverse_depth.is_file() and len(folder):
        baseline = _model_baseline(card, folder)
    else:
        baseline = _folder_baseline(folder, training_folder, ground_truth)
    parts = (
        ground_truth.note, protocol.text, getattr(folder, "note", ""), f"images: {selection.text}",
        f"baseline: {baseline.text}",
    )  # fmt: skip
    return EvaluationSetup(selection, ground_truth, protocol, baseline, "; ".join(filter(None, parts)))


def choose_training_folder(data: Path | None, folder: Recording, split: str) -> Recording | None:
    """The folder whose training part the baseline may use: `data`, the evaluated folder itself, or none."""
    if data is not None:
        return open_recording(data)
    return folder if split != "all" and training(folder) else None


def _with_changes(protocol: DepthProtocol, options: DepthOptions) -> DepthProtocol:
    changes: dict[str, Any] = {
        "crop": options.crop, "scaling": options.scaling, "resize": options.resize,
        "max_ground_truth": options.cap, "max_depth": options.cap,
    }  # fmt: skip
    changes = {key: value for key, value in changes.items() if value is not None}
    return dataclasses.replace(protocol, name=f"{protocol.name}, changed", **changes) if changes else protocol


def _model_baseline(card: Card, folder: Recording) -> Baseline:
    camera = next(sample for _, sample in readable(folder)).left.camera.rectified()
    mean = MeanInverseDepth.from_file(card.mean_inverse_depth, camera.fx * card.width / camera.width)
    return Baseline(
        "per-pixel mean inverse depth of the model's training images", lambda g: mean.predict(*g.shape)
    )


def _folder_baseline(
    folder: Recording, training_folder: Recording | None, ground_truth: GroundTruth
) -> Baseline:
    source = folder if training_folder is None else training_folder
    indices = range(len(source)) if training_folder is None else training(source)
    samples = (sample for _, sample in readable(source, indices))
    depths = [depth for sample in samples if (depth := ground_truth.depth(sample)) is not None]
    if not depths:
        return Baseline("none, for lack of ground truth", lambda g: None)
    mean = MeanInverseDepth.from_depths(depths)
    if training_folder is None:
        return Baseline(
            "per-pixel mean inverse depth of all other images of the folder (leave one out)",
            lambda g: mean.without(g).predict(*g.shape),
        )
    return Baseline(
        f"per-pixel mean inverse depth of {len(depths)} training images", lambda g: mean.predict(*g.shape)
    )
