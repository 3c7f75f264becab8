"""Playback: predict, replay, the demonstration, the benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depth_ros.cli.options import (
    Commands,
    add_command,
    add_engine_options,
    add_json_option,
    add_recording_options,
    engine_settings,
    metrics_line,
    recording_options,
    write_json,
)
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from depth_ros.playback.kinds import ReplayKind
    from depth_ros.playback.replay import Estimator, Replay, ReplayOptions
    from depth_ros.recordings import Recording


def add_commands(commands: Commands) -> None:
    """predict, demo, replay, bench."""
    predict = add_command(
        commands, "predict", run_predict, "write depth, colours and point clouds of a recording"
    )
    predict.add_argument("recording", type=Path, help="an image, a folder, a video or a bag")
    predict.add_argument("--model", default="mono_indoor", help="default: %(default)s")
    predict.add_argument("--out", type=Path, metavar="FOLDER", help="new folder; default: NAME_depth")
    predict.add_argument("--limit", type=int, default=0, help="maximum number of frames; 0 = all")
    predict.add_argument("--open", action="store_true", help="show the result")
    add_engine_options(predict)
    add_recording_options(predict)

    demo = add_command(
        commands, "demo", run_demo, "play a clip through the node, measure it and write a report"
    )
    demo.add_argument(
        "--data", type=Path, metavar="FOLDER", help="a recorded folder; default: a rendered street"
    )
    demo.add_argument("--model", default="mono_driving", help="default: %(default)s")
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="FOLDER")

    replay = add_command(commands, "replay", run_replay, "run a model on a recording, faster than real time")
    replay.add_argument("recording", type=Path, help="a bag, a folder, a video or an image")
    replay.add_argument("--model", default="mono_driving", help="default: %(default)s")
    replay.add_argument("--out", type=Path, metavar="PATH",
                        help="new folder for depth images, or .mcap file for what the nodes would publish")  # fmt: skip
    replay.add_argument("--limit", type=int, default=0, help="maximum number of frames; 0 = all")
    replay.add_argument("--through-ros", action="store_true", help="play it through the real node over DDS")
    replay.add_argument(
        "--refine", type=int, default=0, metavar="STEPS",
        help="online refinement: training steps a frame, usually 20; 0 = none",
    )  # fmt: skip
    replay.add_argument(
        "--rate", type=float, default=1.0, help="with --through-ros: playback rate relative to the recording"
    )
    replay.add_argument(
        "--scale", type=float, default=1.0, help="stereo: scale at which images are matched, 0.1 to 2"
    )
    add_engine_options(replay)
    add_recording_options(replay)

    bench = add_command(commands, "bench", run_bench, "time all backends, and the node over DDS, in one run")
    bench.add_argument("--model", default="mono_driving", help="default: %(default)s")
    bench.add_argument("--family", default="", help="time the equivalent forms of a family's network instead")
    bench.add_argument("--rounds", type=int, default=60, help="timed calls of each backend, interleaved")
    bench.add_argument("--no-ros", action="store_true", help="leave out the node")
    add_json_option(bench)


def run_predict(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from depth_ros.estimators.depth import DepthEstimator
    from depth_ros.estimators.stereo.estimator import StereoEstimator, is_stereo
    from depth_ros.playback.kinds import MONO, STEREO
    from depth_ros.playback.predict import predict
    from depth_ros.recordings import open_recording

    recording = open_recording(arguments.recording, recording_options(arguments))
    stereo = is_stereo(arguments.model)
    if stereo and not recording.contents.pairs:
        raise DepthRosError(
            f"{arguments.recording} has no calibrated stereo pairs, which model '{arguments.model}' needs: give "
            "--camera LEFT RIGHT, or choose a model for one camera"
        )
    estimator: Estimator = (StereoEstimator if stereo else DepthEstimator)(
        arguments.model, engine_settings(arguments)
    )
    out = arguments.out or Path(f"{arguments.recording.resolve().stem}_depth")
    count = min(arguments.limit or len(recording), len(recording))
    result = predict(
        recording, estimator, STEREO if stereo else MONO, out, arguments.limit,
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


def run_demo(arguments: argparse.Namespace) -> None:
    from depth_ros.playback.demo import demo

    demo(arguments.data, arguments.model, arguments.out, show=print)


def run_replay(arguments: argparse.Namespace) -> None:
    from depth_ros.estimators.stereo.estimator import is_stereo
    from depth_ros.playback.kinds import MONO, STEREO
    from depth_ros.playback.replay import ReplayOptions, replay
    from depth_ros.recordings import open_recording

    kind = STEREO if is_stereo(arguments.model) else MONO
    options = ReplayOptions(arguments.out, arguments.limit)
    recording = open_recording(arguments.recording, recording_options(arguments))
    print(f"calibration: {recording.camera_source}")
    if arguments.through_ros:
        result = _replay_through_node(arguments, recording, kind, options)
    else:
        estimator = _stereo_estimator(arguments) if kind is STEREO else _depth_estimator(arguments)
        result = replay(recording, estimator, kind, options)
        print(f"engine: {estimator.engine_status.name}, {estimator.engine_status.reason}")
    _print_replay(result)


def _replay_through_node(
    arguments: argparse.Namespace, recording: Recording, kind: ReplayKind, options: ReplayOptions
) -> Replay:
    from depth_ros.card import find_card
    from depth_ros.playback.kinds import STEREO
    from depth_ros.playback.play import DEPTH_NODE, STEREO_NODE, play
    from depth_ros.playback.replay import replay_through

    parameters: dict[str, object] = {
        key: getattr(arguments, key) for key in ("backend", "precision", "device")
    }
    node, scale = DEPTH_NODE, find_card(arguments.model).scale if kind is not STEREO else "metric"
    if kind is STEREO:  # measured at full density, as without ROS
        node, parameters = STEREO_NODE, {**parameters, "flying_pixels": 0.0, "scale": arguments.scale}
    return replay_through(
        recording,
        lambda views: play(node, views, arguments.model, arguments.rate, parameters),
        kind,
        scale,
        options,
    )


def _stereo_estimator(arguments: argparse.Namespace) -> Estimator:
    from depth_ros.config import settings_from
    from depth_ros.estimators.stereo.estimator import StereoEstimator, StereoSettings

    if arguments.refine:
        raise DepthRosError("--refine is for depth models; stereo models have no online refinement")
    settings = settings_from(StereoSettings, {"scale": arguments.scale}, "replay")
    return StereoEstimator(arguments.model, engine_settings(arguments), settings)


def _depth_estimator(arguments: argparse.Namespace) -> Estimator:
    from depth_ros.estimators.depth import DepthEstimator
    from depth_ros.estimators.refinement import RefinementSettings, RefiningEstimator

    if arguments.refine:
        return RefiningEstimator(arguments.model, RefinementSettings(steps=arguments.refine))
    return DepthEstimator(arguments.model, engine_settings(arguments))


def _print_replay(result: Replay) -> None:
    """Print latency and metrics. Raises DepthRosError if the recording is damaged."""
    from depth_ros.evaluation.metrics.latency import summarise

    latency = summarise(result.latencies)
    if latency:
        speed = f"{result.duration / result.seconds:.1f} times real time" if result.seconds else ""
        print(f"{result.frames} frames, median {latency.median:.1f} ms, p95 {latency.p95:.1f} ms, {speed}")
    if result.metrics:
        print(f"{result.compared} frames with ground truth; {result.protocol}")
        print(metrics_line(result.metrics))
    if result.damage:
        raise DepthRosError(result.damage)


def run_bench(arguments: argparse.Namespace) -> None:
    from depth_ros.playback.bench import bench, bench_forms, table

    if arguments.family:
        result = bench_forms(arguments.family, arguments.rounds)
    else:
        result = bench(arguments.model, arguments.rounds, ros=not arguments.no_ros)
    if arguments.json:
        write_json(result, arguments.json)
    if arguments.json != "-":
        print(table(result))
