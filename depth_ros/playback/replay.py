"""A recording through an estimator, offline and faster than real time, or through the real node over DDS.

Frames and estimator are the same both ways, and so are the results.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from depth_ros.card import Card
from depth_ros.datatypes import Disparity
from depth_ros.engine import EngineStatus
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth_doubts import DepthDoubts, Floor
from depth_ros.estimators.filters import filtered
from depth_ros.evaluation.two_view import prepared_for
from depth_ros.playback.bag_output import SUFFIXES, ResultBag
from depth_ros.playback.kinds import ReplayKind, Result
from depth_ros.playback.output import ResultFolder
from depth_ros.playback.robot import Robot
from depth_ros.recordings import Recording, Sample, readable

if TYPE_CHECKING:
    from depth_ros.datatypes import Frame
    from depth_ros.evaluation.metrics.depth import DepthMetrics
    from depth_ros.playback.play import Played

log = logging.getLogger("depth_ros.playback")

TimedResult = tuple[Sample, Result, float]
"""A sample with its ground truth, its result, and the latency of the result, ms."""


class Estimator(Protocol):
    """DepthEstimator, RefiningEstimator or StereoEstimator."""

    @property
    def card(self) -> Card | None: ...

    @property
    def engine_status(self) -> EngineStatus: ...

    def estimate(self, frame: Any) -> Result:
        """The depth of one Frame, or the disparity of one StereoFrame."""
        ...


@dataclass(frozen=True)
class ReplayOptions:
    """out: new folder (see `output.ResultFolder`), or new .mcap or .db3 file (see `bag_output.ResultBag`).

    limit: maximum number of frames; 0 = all. progress: show a progress bar. robot: of what is written, and checked.
    """

    out: Path | None = None
    limit: int = 0
    progress: bool = True
    robot: Robot = field(default_factory=Robot)


@dataclass(frozen=True)
class Replay:
    """The result of a replay.

    seconds: wall time. duration: s from the first to the last stamp. latencies: ms of each frame.
    metrics: against the recorded ground truth, over `compared` frames under `protocol`; None without ground truth.
    damage: what of the recording could not be read, one line each; all intact frames are in the result.
    checks: {name: value} of what `DepthDoubts` measured last.
    """

    frames: int
    seconds: float
    duration: float
    latencies: tuple[float, ...]
    metrics: dict[str, float | None] | None
    compared: int
    protocol: str
    damage: str
    checks: dict[str, object]


def replay(
    recording: Recording, estimator: Estimator, kind: ReplayKind, options: ReplayOptions = ReplayOptions()
) -> Replay:
    """Run the estimator on every frame of a recording, in order. Damaged frames are left out.

    Raises DepthRosError if `options.out` is not empty, no frame can be read, or a stereo model finds no pairs.
    """
    frames = _Frames(prepared_for(estimator.card, recording, limit=options.limit), options.limit)

    def results() -> Iterator[TimedResult]:
        for sample in frames:
            frame = kind.input_of(sample)
            start = time.perf_counter()
            result = estimator.estimate(frame)
            yield sample, result, 1000 * (time.perf_counter() - start)

    scale = estimator.card.scale if estimator.card else "metric"
    return _collect(results(), frames, kind, scale, options)


def replay_through(
    recording: Recording,
    play: Callable[[Iterable[tuple[Frame, ...]]], Iterable[Played]],
    kind: ReplayKind,
    scale: str,
    options: ReplayOptions = ReplayOptions(),
) -> Replay:
    """The same through `play`, which plays frames through the real node (see `playback.play`).

    scale: of the model, as its card states it. Frames that the node skipped are not in the result. Latencies are
    measured from publishing the image to receiving the result.
    """
    frames = _Frames(recording, options.limit)
    pending: dict[int, Sample] = {}

    def views() -> Iterator[tuple[Frame, ...]]:
        for sample in frames:
            pending[sample.left.stamp] = sample
            yield kind.views_of(sample)

    def results() -> Iterator[TimedResult]:
        for played in play(views()):
            sample = pending[played.stamp]
            for stamp in [stamp for stamp in pending if stamp <= played.stamp]:
                del pending[stamp]
            yield sample, kind.result_of(played, sample), 1000 * played.latency

    return _collect(results(), frames, kind, scale, options)


class _Frames:
    """The readable samples of a recording up to a limit. damage: what could not be read, known after the last one."""

    def __init__(self, recording: Recording, limit: int) -> None:
        self.recording = recording
        self._count = min(limit or len(recording), len(recording))
        self._skipped: list[str] = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        return (sample for _, sample in readable(self.recording, range(self._count), self._skipped))

    @property
    def damage(self) -> str:
        lines = list(self.recording.damage)
        if self._skipped:
            lines.append(f"{len(self._skipped)} damaged frames were skipped; the first: {self._skipped[0]}")
        return "\n".join(lines)


def _collect(
    results: Iterable[TimedResult], frames: _Frames, kind: ReplayKind, scale: str, options: ReplayOptions
) -> Replay:
    """Consume all results; write and measure them."""
    from tqdm import tqdm

    check = _DepthCheck(options.robot)
    if options.out:
        results = _written(results, options, frames.recording.contents.consecutive, scale == "metric")
    latencies: list[float] = []
    stamps: list[int] = []
    metrics: DepthMetrics | None = None
    without_depth = 0
    begin = time.perf_counter()
    for sample, result, latency in tqdm(
        results, total=len(frames), unit="frame", disable=not options.progress
    ):
        if not stamps:
            for doubt in kind.doubts_about(sample):
                log.warning("%s", doubt)
        latencies.append(latency)
        stamps.append(sample.left.stamp)
        if scale == "metric":
            check.add(result)
        without_depth += not np.isfinite(kind.depth_of(result)).any()
        if sample.depth is not None and not frames.recording.contents.predicted_depth:
            metrics = metrics or _metrics_for(sample, scale)
            metrics.add(kind.depth_of(result), sample.depth, sample.fx_baseline)
    if not latencies:
        raise DepthRosError(frames.damage or "the recording has no frames")
    if without_depth:
        log.warning("%d of %d depth images have no valid pixel", without_depth, len(stamps))
    return Replay(
        len(latencies),
        time.perf_counter() - begin,
        (max(stamps) - min(stamps)) / 1e9,
        tuple(latencies),
        metrics.compute() if metrics else None,
        len(metrics) if metrics else 0,
        metrics.protocol.text if metrics else "",
        frames.damage,
        check.doubts.values,
    )


class _DepthCheck:
    """Logs the doubts that the nodes would publish, each once."""

    def __init__(self, robot: Robot) -> None:
        self.doubts, self._filters = DepthDoubts(), robot.filters
        T = robot.T_base_camera
        self._floor = None if T is None else Floor(robot.base_frame, T)
        self._logged: set[str] = set()

    def add(self, result: Result) -> None:
        """Measure a result, if one is due."""
        time = 1e-9 * result.stamp
        if not self.doubts.is_due(time):
            return
        depth = result.depth() if isinstance(result, Disparity) else result
        self.doubts.measure(time, depth, filtered(depth, self._filters), self._floor)
        for kind, text in self.doubts.texts("the model", depth.baseline > 0).items():
            if kind not in self._logged:
                log.warning("%s", text)
            self._logged.add(kind)


def _written(
    results: Iterable[TimedResult], options: ReplayOptions, is_consecutive: bool, is_metric: bool
) -> Iterator[TimedResult]:
    """The same results, each written to a folder or bag."""
    out = options.out
    assert out
    is_bag = out.suffix in SUFFIXES
    with ResultBag(out, is_consecutive, is_metric, options.robot) if is_bag else ResultFolder(out) as output:
        for timed in results:
            output.write(timed[0], timed[1])
            yield timed


def _metrics_for(sample: Sample, scale: str) -> DepthMetrics:
    """Empty metrics under the protocol that suits the first sample with ground truth."""
    from depth_ros.evaluation.metrics.depth import DepthMetrics
    from depth_ros.evaluation.setup import choose_protocol

    return DepthMetrics(choose_protocol("auto", sample, scale))
