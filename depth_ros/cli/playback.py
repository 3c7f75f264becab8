"""Playback: replay, the demonstration, the benchmark."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from depth_ros.cli.many import add_parallel_options, print_problems, run_all, table
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
    from depth_ros.playback.estimator import EstimatorSettings
    from depth_ros.playback.kinds import ReplayKind
    from depth_ros.playback.replay import Replay, ReplayOptions
    from depth_ros.playback.robot import RobotOptions
    from depth_ros.recordings import Recording


def add_commands(commands: Commands) -> None:
    """demo, replay, bench."""
    demo = add_command(
        commands, "demo", run_demo, "play a clip through the node, measure it and write a report"
    )
    demo.add_argument(
        "--data", type=Path, metavar="FOLDER", help="a recorded folder; default: a rendered street"
    )
    demo.add_argument(
        "--model", default="mono_driving", help="default: %(default)s, for streets; rooms need mono"
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="FOLDER")

    replay = add_command(commands, "replay", run_replay, "run a model on a recording, faster than real time")
    replay.add_argument(
        "recordings", nargs="+", metavar="RECORDING",
        help="bags, folders, videos, images, or quoted patterns such as 'bags/*.mcap'",
    )  # fmt: skip
    replay.add_argument("--model", default="mono", help="default: %(default)s")
    replay.add_argument("--out", type=Path, metavar="PATH",
                        help="new folder for depth images, or .mcap file for what the nodes would publish")  # fmt: skip
    replay.add_argument("--limit", type=int, default=0, help="maximum number of frames; 0 = all")
    replay.add_argument(
        "--config", type=Path, metavar="FILE",
        help="YAML with parameters of the node: filters, clouds, and base_frame, located by /tf_static of the bag",
    )  # fmt: skip
    replay.add_argument(
        "--camera-height", type=float, default=0.0, metavar="METRES",
        help="height of a level camera above the ground, in place of /tf_static",
    )  # fmt: skip
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
    add_parallel_options(replay)

    bench = add_command(commands, "bench", run_bench, "time all backends, and the node over DDS, in one run")
    bench.add_argument("--model", default="mono_driving", help="default: %(default)s")
    bench.add_argument("--family", default="", help="time the equivalent forms of a family's network instead")
    bench.add_argument("--clouds", action="store_true",
                       help="time the filters, clouds, scan and temporal fusion of the nodes instead")  # fmt: skip
    bench.add_argument("--rounds", type=int, default=60, help="timed calls of each backend, interleaved")
    bench.add_argument("--no-ros", action="store_true", help="leave out the node")
    add_json_option(bench)


def run_demo(arguments: argparse.Namespace) -> None:
    from depth_ros.playback.demo import demo

    demo(arguments.data, arguments.model, arguments.out, show=print)


def run_replay(arguments: argparse.Namespace) -> int:
    """Replay one recording, or several side by side. Returns 1 if one of several failed or is damaged."""
    from depth_ros.recordings.names import find_recordings

    recordings = find_recordings(arguments.recordings)
    if len(recordings) > 1:
        return _replay_all(arguments, recordings)
    (path,) = recordings.values()
    _replay_one(arguments, path)
    return 0


def _replay_one(arguments: argparse.Namespace, path: Path) -> None:
    from depth_ros.playback.estimator import open_estimator
    from depth_ros.playback.replay import ReplayOptions, replay
    from depth_ros.recordings import open_recording

    settings = _estimator_settings(arguments)
    recording = open_recording(path, recording_options(arguments))
    options = ReplayOptions(arguments.out, arguments.limit, robot=_robot_options(arguments).robot(recording))
    print(f"calibration: {recording.camera_source}")
    if arguments.through_ros:
        result = _replay_through_node(arguments, recording, settings.kind, options)
    else:
        estimator = open_estimator(settings)
        result = replay(recording, estimator, settings.kind, options)
        print(f"engine: {estimator.engine_status.name}, {estimator.engine_status.reason}")
    _print_replay(result)


def _replay_all(arguments: argparse.Namespace, recordings: Mapping[str, Path]) -> int:
    from depth_ros.evaluation.joint import REPLAY, join
    from depth_ros.playback.recording_items import output_paths, replay_item

    if arguments.through_ros:
        raise DepthRosError(f"--through-ros plays one recording; {len(recordings)} are given")
    settings, reading = _estimator_settings(arguments), recording_options(arguments)
    outputs, robot = output_paths(arguments.out, recordings), _robot_options(arguments)
    outcomes = run_all(
        {
            name: functools.partial(
                replay_item, path, reading, settings, outputs.get(name), arguments.limit, robot
            )
            for name, path in recordings.items()
        },
        arguments,
    )
    print(table(*join(REPLAY, outcomes).table()))
    return print_problems(outcomes)


def _estimator_settings(arguments: argparse.Namespace) -> EstimatorSettings:
    from depth_ros.playback.estimator import EstimatorSettings

    return EstimatorSettings(arguments.model, engine_settings(arguments), arguments.scale, arguments.refine)


def _robot_options(arguments: argparse.Namespace) -> RobotOptions:
    from depth_ros.playback.robot import RobotOptions

    return RobotOptions(arguments.config, arguments.camera_height)


def _replay_through_node(
    arguments: argparse.Namespace, recording: Recording, kind: ReplayKind, options: ReplayOptions
) -> Replay:
    from depth_ros.card import find_card
    from depth_ros.playback.kinds import STEREO
    from depth_ros.playback.play import DEPTH_NODE, STEREO_NODE, UP_TO_SCALE_NODE, play
    from depth_ros.playback.replay import replay_through

    parameters: dict[str, object] = {
        key: getattr(arguments, key) for key in ("backend", "precision", "device", "post_process")
    }
    parameters["flying_pixels"] = 0.0  # measured at full density, as without ROS
    scale = find_card(arguments.model).scale if kind is not STEREO else "metric"
    node = UP_TO_SCALE_NODE if scale == "up_to_scale" else DEPTH_NODE
    if kind is STEREO:
        node, parameters = STEREO_NODE, {**parameters, "scale": arguments.scale}
    return replay_through(
        recording,
        lambda views: play(node, views, arguments.model, arguments.rate, parameters),
        kind,
        scale,
        options,
    )


def _print_replay(result: Replay) -> None:
    """Print latency and metrics. Raises DepthRosError if the recording is damaged."""
    from depth_ros.evaluation.metrics.latency import summarise

    latency = summarise(result.latencies)
    if latency:
        speed = f"{result.duration / result.seconds:.1f} times real time" if result.seconds else ""
        print(f"{result.frames} frames, median {latency.median:.1f} ms, p95 {latency.p95:.1f} ms, {speed}")
    for name, value in result.checks.items():
        print(f"{name}: {value}")
    if result.metrics:
        print(f"{result.compared} frames with ground truth; {result.protocol}")
        print(metrics_line(result.metrics))
    if result.damage:
        raise DepthRosError(result.damage)


def run_bench(arguments: argparse.Namespace) -> None:
    from depth_ros.playback.bench import bench, bench_forms, table
    from depth_ros.playback.bench_clouds import bench_clouds

    if arguments.clouds:
        result = bench_clouds(arguments.rounds)
    elif arguments.family:
        result = bench_forms(arguments.family, arguments.rounds)
    else:
        result = bench(arguments.model, arguments.rounds, ros=not arguments.no_ros)
    if arguments.json:
        write_json(result, arguments.json)
    if arguments.json != "-":
        print(table(result))
