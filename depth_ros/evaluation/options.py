"""Options of the evaluations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from depth_ros.engine import EngineSettings
from depth_ros.recordings import RecordingOptions


class Progress(Protocol):
    """Callback after each sample."""

    def __call__(self, done: int, total: int, /) -> None: ...


def no_progress(done: int, total: int, /) -> None:
    """Report no progress."""


@dataclass(frozen=True)
class EvaluationOptions:
    """Options that the evaluations of all tasks share.

    split: `all` samples, or only the `held_out` part of a folder that the model was trained on, or of this only the
    `test` part, on which predicted standard deviations were not calibrated. Odometry and object motion need consecutive
    frames and ignore it.
    limit: maximum number of samples, evenly spaced; odometry and object motion take the first ones. 0 = no limit.
    engine: engine of the model. recording: how the recording is read. report: HTML file to write. pictures: image
    file to write, of the best and the worst images, of depth and stereo. command: command line that the report shows.
    """

    split: str = "all"
    limit: int = 0
    engine: EngineSettings = field(default_factory=EngineSettings)
    recording: RecordingOptions = field(default_factory=RecordingOptions)
    report: Path | None = None
    pictures: Path | None = None
    command: str = ""
    progress: Progress = no_progress


@dataclass(frozen=True)
class DepthOptions:
    """Options of the depth evaluation alone.

    protocol: name in `metrics.protocols.PROTOCOLS`, or `auto` for the one that suits the recording.
    crop, scaling, resize: replace those of the protocol. cap: m, replaces both its limits of the ground truth and of
    the clamp.
    baseline_data: folder whose training part the baseline is computed from, if not the evaluated one.
    """

    protocol: str = "auto"
    crop: str | None = None
    scaling: str | None = None
    resize: str | None = None
    cap: float | None = None
    baseline_data: Path | None = None
