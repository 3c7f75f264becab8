"""A model on a recorded folder: figures beside the baseline, latencies, and what the page needs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import cv2
import numpy as np

from depth_ros import geometry
from depth_ros.card import Card, find_card
from depth_ros.datasets import Folder, open_folder
from depth_ros.datatypes import Depth, Frame
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.depth import Protocol as DepthProtocol
from depth_ros.evaluation.metrics.depth import Tally, as_measured
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.report.depth import Report, Strip, write_report
from depth_ros.evaluation.setup import Plan, choose, other_folder, plan

if TYPE_CHECKING:
    from depth_ros.engine import EngineSettings

STEPS = {"typical": 0.5, "best": 0.0, "worst": 1.0, "better half": 0.25, "worse half": 0.75}
"""The images of the page, by their place in the ranking."""


class Stamped(Protocol):
    """What a stamp, ns, belongs to."""

    @property
    def stamp(self) -> int: ...


S = TypeVar("S", bound=Stamped)


class Recorded(Protocol):
    """A depth that was recorded. stamp: ns of its frame. depth: (H, W) m. latency: s until it was there."""

    @property
    def stamp(self) -> int: ...

    @property
    def depth(self) -> np.ndarray: ...

    @property
    def latency(self) -> float: ...


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
    changes: Mapping[str, Any] | None = None,
    images: Path | None = None,
    lidar_x: bool = False,
    baseline_data: Path | None = None,
    engine_settings: EngineSettings | None = None,
    limit: int = 0,
    report: Path | None = None,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a model on a folder and return what `depth_ros evaluate depth --json` writes.

    split: `all` images, or only the `held_out` part of a folder that the model was trained on.
    protocol: a name of `PROTOCOLS` or `auto`; changes: fields of it with other values. images, lidar_x: see
    `depth_ros.datasets.open_folder`. baseline_data: folder whose training part the baseline is made
    of, where it is not `data`. limit: at most so many images, evenly spread; 0 = no limit.
    report: file of the page to write. command: what the user typed, for the page.
    """
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.depth import DepthEstimator

    estimator = DepthEstimator(model, engine_settings or EngineSettings())
    folder = open_folder(data, images, lidar_x)
    indices, words = choose(folder, split, limit)
    scale, source = estimator.card.scale, other_folder(baseline_data, folder, split)
    typical = estimator.card.typical
    planned = plan(folder, indices, words, protocol, scale, source, typical, changes)
    if indices:
        estimator.estimate(folder[indices[0]].left)  # builds the engine, which is no latency
    comparison = compare(estimator.estimate, planned, progress)
    result = _result(estimator.card.name, data, planned, comparison, estimator.engine_name)
    if report is not None:
        facts = card_facts(estimator.card) | {"why this engine": estimator.reason, "command": command}
        write_report(
            report, _page(result, comparison, estimator.estimate, planned, facts), estimator.card.curves
        )
    return result


def evaluate_recorded(
    recorded: Sequence[Recorded], model: str, folder: Folder, data: Path, *, report: Path | None = None
) -> dict[str, Any]:
    """The same for depth that `model` made elsewhere, say in a node: images are matched by their stamps.

    Latencies are those recorded. Raises DepthRosError if no stamp is one of the folder's.
    """
    found = matched(recorded, folder, data, "depth images")
    by_stamp = {each.stamp: each for each in found.values()}

    def estimate(frame: Frame) -> Depth:
        return as_depth(by_stamp[frame.stamp].depth, frame)

    card = find_card(model)
    words = f"{len(found)} of {len(folder)}, those for which depth came back"
    planned = plan(folder, list(found), words, scale=card.scale, typical=card.typical)
    latencies = tuple(1000 * each.latency for each in found.values())
    comparison = dataclasses.replace(compare(estimate, planned), latencies=latencies)
    result = _result(card.name, data, planned, comparison, "depth_node over DDS, image to depth")
    if report is not None:
        write_report(report, _page(result, comparison, estimate, planned, card_facts(card)), card.curves)
    return result


def matched(recorded: Iterable[S], folder: Folder, data: Path, what: str) -> dict[int, S]:
    """What was recorded, each by the index in the folder of the image that has its stamp, in order.

    Raises DepthRosError if none has one; what: its name there.
    """
    by_stamp = {each.stamp: each for each in recorded}
    stamps = (folder[index].left.stamp for index in range(len(folder)))
    found = {index: by_stamp[stamp] for index, stamp in enumerate(stamps) if stamp in by_stamp}
    if not found:
        raise DepthRosError(f"none of {len(by_stamp)} {what} has a stamp of {data}: is it that recording?")
    return found


def compare(
    estimate: Callable[[Frame], Depth],
    planned: Plan,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Run `estimate` on the planned samples and measure it, and the baseline, against their truth."""
    ours, theirs = Tally(planned.protocol), Tally(planned.protocol)
    latencies, ranking = [], []
    for done, index in enumerate(planned.indices, 1):
        sample = planned.folder[index]
        frame = seen(sample.left, planned.protocol)
        start = time.perf_counter()
        result = estimate(frame)
        latencies.append(1000 * (time.perf_counter() - start))
        g = planned.truth_of(sample)
        if g is not None:
            people = None if sample.moving is None else sample.moving > 0
            found = ours.add(result.depth, g, sample.fx_baseline, people)
            guess = planned.baseline(g)
            if guess is not None:
                theirs.add(guess, g, sample.fx_baseline, people)
            if found["abs_rel"] is not None:
                ranking.append((found["abs_rel"], index))
        progress(done, len(planned.indices))
    return Comparison(ours.figures(), theirs.figures(), len(ours), tuple(latencies), tuple(sorted(ranking)))


def seen(frame: Frame, protocol: DepthProtocol) -> Frame:
    """What a model gets to see of a frame under a protocol."""
    if not protocol.view:
        return frame
    width, height, x, y = protocol.view
    image, camera = geometry.rectify(frame.image, frame.camera)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)[y : height - y, x : width - x]
    camera = camera.resized(width, height).cropped(x, y, width - 2 * x, height - 2 * y)
    return dataclasses.replace(frame, image=np.ascontiguousarray(image), camera=camera)


def _result(model: str, data: Path, planned: Plan, comparison: Comparison, engine: str) -> dict[str, Any]:
    latency = summarise(comparison.latencies)
    return {
        "model": model,
        "data": str(data),
        "protocol": planned.text,
        "images": comparison.images,
        "figures": comparison.figures,
        "baseline": comparison.baseline,
        "engine": engine,
        "ms_per_image": latency.median if latency else None,
    }


def card_facts(card: Card) -> dict[str, str]:
    """What a page says of the model."""
    return {
        "model": f"{card.name}, family {card.family}, scale {card.scale.replace('_', ' ')}",
        "licence of the weights": f"{card.licence}. {card.terms}".strip(". "),
        "trained on": "; ".join(card.training_data) or "not stated",
    }


def as_depth(depth: np.ndarray, frame: Frame) -> Depth:
    """A recorded depth (h, w) with the camera and the pixels that belong to it."""
    height, width = depth.shape
    image, camera = geometry.rectify(frame.image, frame.camera)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return Depth(frame.stamp, frame.frame_id, depth, camera.resized(width, height), small)


def places(ranked: Sequence[int]) -> dict[int, str]:
    """The images that a page shows, of indices from the best to the worst: {index: which it is}, the typical one
    first. Each image once, also where there are few."""
    named = {ranked[round(share * (len(ranked) - 1))]: step for step, share in reversed(STEPS.items())}
    return dict(reversed(named.items()))


def _page(
    result: dict[str, Any],
    comparison: Comparison,
    estimate: Callable[[Frame], Depth],
    planned: Plan,
    facts: dict[str, str],
) -> Report:
    """The page's content: a typical image, the range from the best to the worst, the typical one's cloud."""
    ranked = [index for _, index in comparison.ranking] or list(planned.indices)
    error_of = {index: error for error, index in comparison.ranking}
    strips, depths = [], []
    for index, step in places(ranked).items():
        sample = planned.folder[index]
        depths.append(estimate(sample.left))
        image, _ = geometry.rectify(sample.left.image, sample.left.camera)
        title = f"{step}: {sample.name}" if error_of else sample.name
        g = planned.truth_of(sample)
        shown = as_measured(depths[-1].depth, g, planned.protocol)
        strips.append(Strip(title, image, shown, g, error_of.get(index)))
    name = "stereo matching" if planned.truth == "stereo" else "truth"
    return Report(result, tuple(strips), comparison.latencies, depths[0], facts, name)
