"""One of several recordings, replayed or predicted: functions for work items, whose results JSON can hold."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.playback.bag_output import SUFFIXES
from depth_ros.playback.estimator import EstimatorSettings, open_estimator, require_pairs
from depth_ros.playback.predict import predict
from depth_ros.playback.replay import ReplayOptions, replay
from depth_ros.playback.robot import RobotOptions
from depth_ros.recordings import RecordingOptions, open_recording


def replay_item(
    path: Path, reading: RecordingOptions, settings: EstimatorSettings, out: Path | None, limit: int,
    robot: RobotOptions = RobotOptions(),  # noqa: B008
) -> dict[str, Any]:  # fmt: skip
    """Replay a recording; see `playback.replay`. `problem`: what of it could not be read."""
    recording = open_recording(path, reading)
    estimator = open_estimator(settings)
    with new_output(out) as target:
        options = ReplayOptions(target, limit, progress=False, robot=robot.robot(recording))
        result = replay(recording, estimator, settings.kind, options)
    latency = summarise(result.latencies)
    return {
        "data": str(path),
        "calibration": recording.camera_source,
        "engine": f"{estimator.engine_status.name}, {estimator.engine_status.reason}",
        "frames": result.frames,
        "ms_per_frame": latency.median if latency else None,
        "compared": result.compared,
        "protocol": result.protocol,
        "metrics": result.metrics or {},
        "problem": result.damage,
        "out": None if out is None else str(out),
    }


def predict_item(
    path: Path, reading: RecordingOptions, settings: EstimatorSettings, out: Path, limit: int
) -> dict[str, Any]:
    """Predict a recording; see `playback.predict`. `problem`: how many frames could not be read."""
    recording = open_recording(path, reading)
    require_pairs(recording, path, settings)
    with new_output(out) as target:
        assert target is not None
        result = predict(recording, open_estimator(settings), settings.kind, target, limit)
    count = len(result.damaged)
    return {
        "data": str(path),
        "frames": result.frames,
        "scale": result.scale,
        "problem": f"{count} damaged frames were left out; the first: {result.damaged[0]}" if count else "",
        "out": str(out),
    }


def output_paths(out: Path | None, names: Iterable[str], default: str = "") -> dict[str, Path]:
    """Where the results of each recording go, by its name.

    out: new folder, for a folder a recording; with the suffix of a bag its stem is the folder, for a bag a recording.
    None: `default`, with the name for {}; no output if that is empty. Raises DepthRosError if something is there.
    """
    if out is None:
        return {name: Path(default.format(name)) for name in names} if default else {}
    suffix = out.suffix if out.suffix in SUFFIXES else ""
    folder = out.with_suffix("") if suffix else out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DepthRosError(f"{folder} exists already: remove it or give another name")
    return {name: folder / f"{name}{suffix}" for name in names}


@contextlib.contextmanager
def new_output(out: Path | None) -> Iterator[Path | None]:
    """A path to write to, which becomes `out` when the block ends without an error.

    What a process left that was killed there is removed, so that the recording can be tried again. None stays None.
    Raises DepthRosError if `out` exists and is not an empty folder.
    """
    if out is None:
        yield None
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DepthRosError(f"{out} exists already: remove it or give another name")
    folder = out.with_name(f".{out.name}.part")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder / out.name
        os.replace(folder / out.name, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
