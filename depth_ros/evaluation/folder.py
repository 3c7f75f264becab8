"""A model on a recorded folder: figures beside the baseline, latencies, and what the page needs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_ros import geometry
from depth_ros.datasets import Folder, Sample, open_folder
from depth_ros.datasets.split import held_out, training
from depth_ros.datatypes import Depth, Frame
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.baseline import MeanInverseDepth
from depth_ros.evaluation.depth import PROTOCOLS, Protocol, Tally
from depth_ros.evaluation.latency import summarise
from depth_ros.evaluation.reference import stereo_reference
from depth_ros.evaluation.report import Report, Strip, write_report

if TYPE_CHECKING:
    from depth_ros.engine import EngineSettings

SPLITS = ("all", "held_out")
TRUTHS = {
    "measured": "",
    "stereo": "NO GROUND TRUTH: g is semi-global matching of the stereo pair, itself off by about 4 %",
    "none": "NO GROUND TRUTH: nothing to compare with",
}
STEPS = {"typical": 0.5, "best": 0.0, "better half": 0.25, "worse half": 0.75, "worst": 1.0}
"""The images of the page, by their place in the ranking."""
INDOOR_RANGE = 10.0
"""m; where 95 % of the truth is nearer, a single camera is indoors."""


@dataclass(frozen=True)
class Comparison:
    """Predictions against the truth of a folder.

    images: how many had truth. ranking: (AbsRel, index) of those, best first. latencies: ms, of all frames.
    """

    figures: dict[str, float | None]
    baseline: dict[str, float | None]
    images: int
    latencies: tuple[float, ...]
    ranking: tuple[tuple[float, int], ...]


def evaluate_depth(
    model: str,
    data: Path,
    *,
    split: str = "all",
    protocol: str = "auto",
    baseline_data: Path | None = None,
    engine_settings: EngineSettings | None = None,
    limit: int = 0,
    report: Path | None = None,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a model on a folder and return what `depth_ros evaluate depth --json` writes.

    split: `all` images, or only the `held_out` part of a folder that the model was trained on.
    protocol: a name of `PROTOCOLS` or `auto`. baseline_data: folder whose training part the baseline is made
    of, where it is not `data`. limit: at most so many images, evenly spread; 0 = no limit.
    report: file of the page to write. command: what the user typed, for the page.
    """
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.depth import DepthEstimator

    folder = open_folder(data)
    indices = choose(folder, split, limit)
    truth = truth_kind(folder, indices)
    estimator = DepthEstimator(model, engine_settings or EngineSettings())
    chosen = choose_protocol(protocol, folder, indices, truth, estimator.card.scale)
    baseline, baseline_text = choose_baseline(folder, split, baseline_data, truth)
    if indices:
        estimator.estimate(folder[indices[0]].left)  # builds the engine, which is no latency
    comparison = compare(estimator.estimate, folder, indices, chosen, baseline, truth, progress)
    spread = f", {len(indices)} evenly spread" if limit else ""
    text = [TRUTHS[truth], chosen.text, f"images: {split}{spread}", f"baseline: {baseline_text}"]
    latency = summarise(comparison.latencies)
    result = {
        "model": estimator.card.name,
        "data": str(data),
        "protocol": "; ".join(part for part in text if part),
        "images": comparison.images,
        "figures": comparison.figures,
        "baseline": comparison.baseline,
        "engine": estimator.engine_name,
        "ms_per_image": latency.median if latency else None,
    }
    if report is not None:
        card = estimator.card
        facts = {
            "model": f"{card.name}, family {card.family}, scale {card.scale}",
            "licence of the weights": f"{card.licence} {card.terms}".strip(),
            "trained on": ", ".join(card.training_data) or "not stated",
            "engine": " ".join(filter(None, (estimator.engine_name, estimator.reason))),
            "command": command,
        }
        page = report_of(result, comparison, estimator.estimate, folder, indices, truth, facts)
        write_report(report, page)
    return result


def choose(folder: Folder, split: str, limit: int = 0) -> list[int]:
    """Indices of the samples to evaluate."""
    if split not in SPLITS:
        raise DepthRosError(f"split is '{split}'; allowed: {', '.join(SPLITS)}")
    indices = held_out(folder) if split == "held_out" else list(range(len(folder)))
    if 0 < limit < len(indices):
        return [indices[i] for i in np.linspace(0, len(indices) - 1, limit).round().astype(int)]
    return indices


def truth_kind(folder: Folder, indices: Sequence[int]) -> str:
    """What the images can be compared with: `measured` depth, the `stereo` reference or `none`."""
    if any(folder[index].depth is not None for index in indices):
        return "measured"
    return "stereo" if indices and folder[indices[0]].right is not None else "none"


def choose_protocol(
    name: str, folder: Folder, indices: Sequence[int], truth: str, scale: str = "metric"
) -> Protocol:
    """The protocol of that name; `auto` takes the one that suits the recording.

    A pair is measured as KITTI 2015, a single camera indoors as `indoor`, outdoors as `eigen`; a model
    without metric scale is scaled by the median of each image.
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
    return protocol if scale == "metric" else dataclasses.replace(protocol, scaling="median")


def choose_baseline(
    folder: Folder, split: str, data: Path | None, truth: str
) -> tuple[Callable[[np.ndarray], np.ndarray | None], str]:
    """A function that guesses the depth of an image, given its truth to leave it out, and words for it."""
    source = folder if data is None else open_folder(data)
    others = data is not None or split == "held_out"
    seen = training(source) if others else list(range(len(source)))
    depths = [depth for index in seen if (depth := truth_of(source[index], truth)) is not None]
    if not depths:
        return lambda _: None, "none, no truth to take a mean of"
    mean = MeanInverseDepth.of(depths)
    if not others:
        return (
            lambda truth: mean.without(truth).predict(*truth.shape),
            "per-pixel mean inverse depth of all other images of the folder (leave one out)",
        )
    name = "the folder" if data is None else data.name
    return (
        lambda truth: mean.predict(*truth.shape),
        f"per-pixel mean inverse depth of the {len(depths)} training images of {name}",
    )


def truth_of(sample: Sample, truth: str) -> np.ndarray | None:
    """(H, W) m of the rectified left image by `truth_kind`, or None where this sample has none."""
    if truth == "stereo":
        return stereo_reference(sample)
    if sample.depth is not None and not sample.left.camera.is_rectified:
        raise DepthRosError(f"the truth of '{sample.name}' belongs to a distorted image: rectify it first")
    return sample.depth if truth == "measured" else None


def fx_baseline(sample: Sample) -> float:
    """Depth times disparity, m px, of the rectified pair; 0 without a right eye."""
    if sample.right is None:
        return 0.0
    return sample.left.camera.rectified().fx * sample.right.camera.baseline


def compare(
    estimate: Callable[[Frame], Depth],
    folder: Folder,
    indices: Sequence[int],
    protocol: Protocol,
    baseline: Callable[[np.ndarray], np.ndarray | None],
    truth: str = "measured",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Run `estimate` on the samples and measure it, and the baseline, against their truth."""
    ours, theirs = Tally(protocol), Tally(protocol)
    latencies, ranking = [], []
    for done, index in enumerate(indices, 1):
        sample = folder[index]
        start = time.perf_counter()
        result = estimate(sample.left)
        latencies.append(1000 * (time.perf_counter() - start))
        g = truth_of(sample, truth)
        if g is not None:
            found = ours.add(result.depth, g, fx_baseline(sample))
            guess = baseline(g)
            if guess is not None:
                theirs.add(guess, g, fx_baseline(sample))
            if found["abs_rel"] is not None:
                ranking.append((found["abs_rel"], index))
        progress(done, len(indices))
    return Comparison(ours.figures(), theirs.figures(), len(ours), tuple(latencies), tuple(sorted(ranking)))


def report_of(
    result: dict[str, Any],
    comparison: Comparison,
    estimate: Callable[[Frame], Depth],
    folder: Folder,
    indices: Sequence[int],
    truth: str,
    facts: dict[str, str],
) -> Report:
    """The page's content: a typical image, the range from the best to the worst, the typical one's cloud."""
    ranked = [index for _, index in comparison.ranking] or list(indices)
    error_of = {index: error for error, index in comparison.ranking}
    strips, depths = [], []
    for step, share in STEPS.items():
        index = ranked[round(share * (len(ranked) - 1))]
        sample = folder[index]
        depths.append(estimate(sample.left))
        image, _ = geometry.rectify(sample.left.image, sample.left.camera)
        title = f"{step}: {sample.name}" if error_of else sample.name
        strips.append(Strip(title, image, depths[-1].depth, truth_of(sample, truth), error_of.get(index)))
    name = "stereo matching" if truth == "stereo" else "truth"
    return Report(result, tuple(strips), comparison.latencies, depths[0], facts, name)
