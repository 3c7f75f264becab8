"""`depth_ros predict`."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from pathlib import Path

from depth_ros.cli.many import add_parallel_options, print_problems, run_all, table
from depth_ros.cli.options import (
    Commands,
    add_command,
    add_engine_options,
    add_recording_options,
    engine_settings,
    recording_options,
)
from depth_ros.errors import DepthRosError


def add_commands(commands: Commands) -> None:
    """predict."""
    predict = add_command(
        commands, "predict", run_predict, "write depth, colours and point clouds of a recording"
    )
    predict.add_argument(
        "recordings", nargs="+", metavar="RECORDING",
        help="images, folders, videos, bags, or quoted patterns such as 'bags/*.mcap'",
    )  # fmt: skip
    predict.add_argument("--model", default="mono", help="default: %(default)s")
    predict.add_argument("--out", type=Path, metavar="FOLDER", help="new folder; default: NAME_depth")
    predict.add_argument("--limit", type=int, default=0, help="maximum number of frames; 0 = all")
    predict.add_argument("--open", action="store_true", help="show the result")
    add_engine_options(predict)
    add_recording_options(predict)
    add_parallel_options(predict)


def run_predict(arguments: argparse.Namespace) -> int:
    """Predict one recording, or several side by side. Returns 1 if one of several failed."""
    from depth_ros.recordings.names import find_recordings

    recordings = find_recordings(arguments.recordings)
    if len(recordings) > 1:
        return _predict_all(arguments, recordings)
    (path,) = recordings.values()
    _predict_one(arguments, path)
    return 0


def _predict_one(arguments: argparse.Namespace, path: Path) -> None:
    from tqdm import tqdm

    from depth_ros.playback.estimator import EstimatorSettings, open_estimator, require_pairs
    from depth_ros.playback.predict import predict
    from depth_ros.recordings import open_recording

    settings = EstimatorSettings(arguments.model, engine_settings(arguments))
    recording = open_recording(path, recording_options(arguments))
    require_pairs(recording, path, settings)
    out = arguments.out or Path(f"{path.resolve().stem}_depth")
    count = min(arguments.limit or len(recording), len(recording))
    result = predict(
        recording, open_estimator(settings), settings.kind, out, arguments.limit,
        lambda frames: tqdm(frames, total=count, unit="frame", disable=None),
    )  # fmt: skip
    print(
        f"{result.frames} frames in {out}: depth/ colour/ metres/ points/"
        + f", {result.video}" * bool(result.video)
    )
    print(f"scale: {result.scale}")
    if result.damaged:
        print(f"{len(result.damaged)} damaged frames were left out; the first: {result.damaged[0]}")
    if arguments.open:
        import webbrowser

        shown = result.video or next(iter(sorted((out / "colour").iterdir())))
        webbrowser.open(shown.resolve().as_uri())


def _predict_all(arguments: argparse.Namespace, recordings: Mapping[str, Path]) -> int:
    from depth_ros.playback.estimator import EstimatorSettings
    from depth_ros.playback.recording_items import output_paths, predict_item

    if arguments.open:
        raise DepthRosError(f"--open shows one recording; {len(recordings)} are given")
    settings = EstimatorSettings(arguments.model, engine_settings(arguments))
    reading, outputs = recording_options(arguments), output_paths(arguments.out, recordings, "{}_depth")
    outcomes = run_all(
        {
            name: functools.partial(predict_item, path, reading, settings, outputs[name], arguments.limit)
            for name, path in recordings.items()
        },
        arguments,
    )
    results = {name: outcomes[name].result for name in recordings}
    rows = [
        (name, str(result["frames"]), f"  {result['out']}: {result['scale']}")
        for name, result in results.items()
        if result
    ]
    print(table(("recording", "frames", "  depth/ colour/ metres/ points/ in: scale"), rows))
    return print_problems(outcomes)
