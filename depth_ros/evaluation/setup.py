"""What is compared with what: images, truth, protocol and baseline of one evaluation, chosen and in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.datasets import Folder, Sample, open_folder
from depth_ros.datasets.split import held_out, training
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.baselines.mean_inverse_depth import MeanInverseDepth
from depth_ros.evaluation.baselines.semi_global import stereo_reference
from depth_ros.evaluation.metrics.depth import PROTOCOLS, Protocol

SPLITS = ("all", "held_out")
TRUTHS = {
    "measured": "",
    "stereo": "NO GROUND TRUTH: g is semi-global matching of the stereo pair, itself off by about 4 %",
    "none": "NO GROUND TRUTH: nothing to compare with",
}
INDOOR_RANGE = 10.0
"""m; where 95 % of the truth is nearer, a single camera is indoors."""


@dataclass(frozen=True)
class Plan:
    """indices: the samples to evaluate. truth: a key of `TRUTHS`. text: all of it in one line.

    baseline: guesses the depth of an image from others, given its truth to leave it out; None if it cannot.
    """

    folder: Folder
    indices: tuple[int, ...]
    truth: str
    protocol: Protocol
    baseline: Callable[[np.ndarray], np.ndarray | None]
    text: str

    def truth_of(self, sample: Sample) -> np.ndarray | None:
        """(H, W) m of the rectified left image, or None where this sample has none."""
        return _truth_of(sample, self.truth)


def plan(
    folder: Folder,
    indices: Sequence[int],
    words: str,
    protocol: str = "auto",
    scale: str = "metric",
    training_part: Folder | None = None,
    typical: Path | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Plan:
    """Choose truth, protocol and baseline for samples of a folder; `words` say which samples they are.

    scale: of the model's card. training_part: the folder whose training samples the baseline is made of;
    None = `typical`, what the model's own training images look like on average (see card.Card), and where that
    is missing too the other images of `folder`, one left out at a time. changes: of fields of the protocol.
    """
    truth = truth_kind(folder, indices)
    chosen = choose_protocol(protocol, folder, indices, truth, scale)
    if changes:
        chosen = dataclasses.replace(chosen, name=f"{chosen.name}, changed", **changes)
    baseline, how = _baseline(folder, training_part, truth, typical)
    parts = (TRUTHS[truth], chosen.text, getattr(folder, "note", ""), f"images: {words}", f"baseline: {how}")
    return Plan(folder, tuple(indices), truth, chosen, baseline, "; ".join(filter(None, parts)))


def choose(folder: Folder, split: str, limit: int = 0) -> tuple[list[int], str]:
    """Indices of the samples of a split, at most `limit` (0 = all) evenly spread; and words for them."""
    if split not in SPLITS:
        raise DepthRosError(f"split is '{split}'; allowed: {', '.join(SPLITS)}")
    indices = held_out(folder) if split == "held_out" else list(range(len(folder)))
    words = "all" if split == "all" else "those that training never sees"
    if 0 < limit < len(indices):
        spread = np.linspace(0, len(indices) - 1, limit).round().astype(int)
        return [indices[place] for place in spread], f"{limit} of {words}, evenly spread"
    return indices, words


def choose_protocol(
    name: str, folder: Folder, indices: Sequence[int], truth: str = "measured", scale: str = "metric"
) -> Protocol:
    """The protocol of that name; `auto` takes the one that suits the recording.

    A pair is measured as KITTI 2015, a single camera indoors as `indoor`, outdoors as `eigen`; a model
    without metric scale is scaled by the median of each image, one of inverse depth up to scale and shift by both.
    """
    if name != "auto":
        if name not in PROTOCOLS:
            raise DepthRosError(f"protocol is '{name}'; allowed: auto, {', '.join(PROTOCOLS)}")
        return PROTOCOLS[name]
    samples = (folder[index] for index in indices)
    sample = next((s for s in samples if truth != "measured" or s.depth is not None), None)
    if sample is None or sample.right is not None or sample.depth is None:
        protocol = PROTOCOLS["kitti2015"]
    else:
        indoors = np.nanpercentile(sample.depth, 95) < INDOOR_RANGE
        protocol = PROTOCOLS["indoor" if indoors else "eigen"]
    scaling = {"metric": protocol.scaling, "up_to_scale": "median"}.get(scale, scale)
    return dataclasses.replace(protocol, scaling=scaling)


def other_folder(data: Path | None, folder: Folder, split: str) -> Folder | None:
    """The folder whose training part a baseline may use: `data`, the folder itself, or none."""
    if data is not None:
        return open_folder(data)
    return folder if split == "held_out" and training(folder) else None


def truth_kind(folder: Folder, indices: Sequence[int]) -> str:
    """What the images can be compared with: `measured` depth, the `stereo` reference or `none`."""
    if any(folder[index].depth is not None for index in indices):
        return "measured"
    return "stereo" if indices and folder[indices[0]].right is not None else "none"


def _truth_of(sample: Sample, truth: str) -> np.ndarray | None:
    if truth == "stereo":
        return stereo_reference(sample)
    if sample.depth is not None and not sample.left.camera.is_rectified:
        raise DepthRosError(f"the truth of '{sample.name}' belongs to a distorted image: rectify it first")
    return sample.depth if truth == "measured" else None


def _baseline(
    folder: Folder, training_part: Folder | None, truth: str, typical: Path | None
) -> tuple[Callable[[np.ndarray], np.ndarray | None], str]:
    if training_part is None and typical is not None and typical.is_file() and len(folder):
        shipped = MeanInverseDepth.shipped(typical, folder[0].left.camera.rectified().fx)
        return lambda g: shipped.predict(
            *g.shape
        ), "per-pixel mean inverse depth of the model's training images"
    source = folder if training_part is None else training_part
    seen = range(len(source)) if training_part is None else training(source)
    depths = [depth for index in seen if (depth := _truth_of(source[index], truth)) is not None]
    if not depths:
        return lambda _: None, "none, there is no truth to take a mean of"
    mean = MeanInverseDepth.of(depths)
    if training_part is None:
        return (
            lambda g: mean.without(g).predict(*g.shape),
            "per-pixel mean inverse depth of all other images of the folder (leave one out)",
        )
    return (
        lambda g: mean.predict(*g.shape),
        f"per-pixel mean inverse depth of {len(depths)} training images",
    )
