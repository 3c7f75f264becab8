"""Evaluation: metrics of a model on recorded data."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_ros.cli.many import add_parallel_options, print_problems, run_all, table
from depth_ros.cli.options import (
    Commands,
    add_command,
    add_engine_options,
    add_json_option,
    add_recording_options,
    command_line,
    engine_settings,
    metrics_line,
    recording_options,
    write_json,
)
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from depth_ros.evaluation.joint import JointTask
    from depth_ros.evaluation.options import DepthOptions, EvaluationOptions

Evaluation = Callable[[Path, "EvaluationOptions"], dict[str, Any]]
"""Evaluates a recording; picklable, so that worker processes can do it."""


@dataclass(frozen=True)
class Task:
    """One task of `depth_ros evaluate`. needs_model: whether --model must be given.

    evaluation: how the recording of that name is evaluated. lines: output for one recording.
    """

    evaluation: Callable[[argparse.Namespace, str], Evaluation]
    lines: Callable[[dict[str, Any]], list[str]]
    needs_model: bool


def add_commands(commands: Commands) -> None:
    """evaluate."""
    evaluate = add_command(
        commands, "evaluate", run_evaluate, "measure a model on a recording with ground truth"
    )
    evaluate.add_argument("task", choices=tuple(TASKS))
    evaluate.add_argument(
        "--model", default="",
        help="name or folder; odometry, object_motion: the model that estimates depth, default: what suits the folder",
    )  # fmt: skip
    evaluate.add_argument("--data", nargs="+", required=True, metavar="RECORDING",
                          help="folders, bags, or quoted patterns such as 'bags/*.mcap'")  # fmt: skip
    evaluate.add_argument("--split", choices=("all", "held_out", "test"), default="all",
                          help="held_out: only the samples that training leaves out; test: of these, only those on "
                          "which standard deviations were not calibrated")  # fmt: skip
    evaluate.add_argument("--limit", type=int, default=0, help="maximum number of images; 0 = all")
    add_json_option(evaluate)
    evaluate.add_argument("--report", type=Path, metavar="FILE", help="write an HTML report")
    evaluate.add_argument("--pictures", type=Path, metavar="FILE",
                          help="depth of one recording: write an image, e.g. .webp, of the five best and the five "
                          "worst images, by AbsRel or, of pairs, EPE")  # fmt: skip
    _add_depth_options(evaluate)
    evaluate.add_argument("--trajectories", type=Path, metavar="FOLDER",
                          help="odometry: write estimate.txt and ground_truth.txt, TUM format")  # fmt: skip
    evaluate.add_argument("--imu", action="store_true",
                          help="odometry: begin each alignment with the rotation of the recorded IMU")  # fmt: skip
    evaluate.add_argument("--instances", action="store_true",
                          help="object_motion: use the masks of --masks or the folder's moving_objects")  # fmt: skip
    evaluate.add_argument("--depth-model", default="", metavar="MODEL",
                          help="object_motion with a model of that task: the model that estimates depth")  # fmt: skip
    evaluate.add_argument("--obstacle-range", type=float, default=4.0, metavar="METRES",
                          help="obstacles: range within which they count")  # fmt: skip
    add_engine_options(evaluate)
    add_recording_options(evaluate)
    add_parallel_options(evaluate)


def _add_depth_options(evaluate: argparse.ArgumentParser) -> None:
    depth = evaluate.add_argument_group("evaluation of depth", "each replaces the value of the protocol")
    depth.add_argument("--protocol", default="auto")
    depth.add_argument("--crop", choices=("none", "garg", "eigen", "cityscapes", "make3d_strip"))
    depth.add_argument("--scaling", choices=("none", "median", "least_squares", "affine_inverse"))
    depth.add_argument("--resize", choices=("inverse_depth", "depth"), help="quantity that is interpolated")
    depth.add_argument("--cap", type=float, help="maximum depth, m")
    depth.add_argument("--scale", type=float, default=1.0,
                       help="stereo: scale at which images are matched, up to 2")  # fmt: skip
    depth.add_argument("--images", type=Path, metavar="FILE",
                       help="list of raw KITTI images to evaluate, e.g. the Eigen split's test file")  # fmt: skip
    depth.add_argument("--lidar-x", action="store_true",
                       help="raw KITTI, Make3D: ground truth is the distance from the lidar, as in tables")  # fmt: skip
    depth.add_argument(
        "--refine", nargs="?", const="published", choices=("published", "guarded"),
        help="online refinement of models that learn from video: a row without, with it, and with masks; published: as "
        "the authors of struct2depth (default), guarded: as in replay --refine",
    )  # fmt: skip
    depth.add_argument("--filters", action="store_true",
                       help="coverage and errors after each filter of the nodes, of one camera or stereo")  # fmt: skip
    depth.add_argument("--refine-steps", type=int, default=0, metavar="STEPS", help="default: 20")
    depth.add_argument("--static-model", default="", metavar="MODEL",
                       help="with --refine: model trained without masks, for the rows without them")  # fmt: skip
    depth.add_argument("--baseline-data", type=Path, metavar="FOLDER", help="training data of the baseline")


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate one recording, or several side by side. Returns 1 if one of several failed."""
    from depth_ros.recordings.names import find_recordings

    task = TASKS[arguments.task]
    if task.needs_model and not arguments.model:
        raise DepthRosError(f"evaluate {arguments.task} needs --model")
    recordings = find_recordings(arguments.data)
    if arguments.filters and (arguments.refine or arguments.report):
        raise DepthRosError("evaluate depth --filters prints rows: leave out --refine and --report")
    if arguments.pictures and (
        arguments.task != "depth" or arguments.filters or arguments.refine or len(recordings) > 1
    ):
        raise DepthRosError(
            "--pictures is for evaluate depth of one recording, without --filters and --refine"
        )
    if len(recordings) > 1 and arguments.refine:
        raise DepthRosError(f"evaluate depth --refine takes one recording at a time, not {len(recordings)}")
    if len(recordings) > 1:
        return _evaluate_all(arguments, task, recordings)
    (data,) = recordings.values()
    _evaluate_one(arguments, task, data)
    return 0


def _evaluate_one(arguments: argparse.Namespace, task: Task, data: Path) -> None:
    from tqdm import tqdm

    with tqdm(unit="image", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        options = dataclasses.replace(
            _options(arguments), report=arguments.report, pictures=arguments.pictures, progress=progress
        )
        result = task.evaluation(arguments, "")(data, options)
    if arguments.json:
        write_json(result, arguments.json)
    if arguments.json != "-":
        print("\n".join(task.lines(result)))
        if arguments.report:
            print(f"report: {arguments.report}")
        if arguments.pictures:
            print(f"pictures: {arguments.pictures}")


def _evaluate_all(arguments: argparse.Namespace, task: Task, recordings: Mapping[str, Path]) -> int:
    from depth_ros.evaluation.joint import join
    from depth_ros.evaluation.report.joint import single_report, write_joint_report

    report, options = arguments.report, _options(arguments)
    calls = {
        name: functools.partial(
            task.evaluation(arguments, name),
            data,
            dataclasses.replace(options, report=single_report(report, name) if report else None),
        )
        for name, data in recordings.items()
    }
    outcomes = run_all(calls, arguments)
    joint = join(_joint_task(arguments), outcomes)
    if report:
        title = f"{arguments.task.replace('_', ' ').capitalize()} on {len(recordings)} recordings"
        facts = {"model": arguments.model or "default of each recording", "command": options.command}
        write_joint_report(report, joint, title, facts)
    if arguments.json:
        write_json(joint.to_json(), arguments.json)
    if arguments.json == "-":
        return 1 if joint.failed else 0
    print(table(*joint.table()))
    if report:
        print(f"report: {report}")
    return print_problems(outcomes)


def _options(arguments: argparse.Namespace) -> EvaluationOptions:
    """Options without report and progress."""
    from depth_ros.evaluation.options import EvaluationOptions

    reading = dataclasses.replace(
        recording_options(arguments), image_list=arguments.images, lidar_x=arguments.lidar_x
    )
    return EvaluationOptions(
        arguments.split, arguments.limit, engine_settings(arguments), reading, command=command_line()
    )


def _joint_task(arguments: argparse.Namespace) -> JointTask:
    from depth_ros.estimators.stereo.estimator import is_stereo
    from depth_ros.evaluation import joint

    if arguments.task == "depth":
        return joint.STEREO if is_stereo(arguments.model) and not arguments.filters else joint.DEPTH
    tasks = {
        "flicker": joint.FLICKER, "odometry": joint.ODOMETRY, "object_motion": joint.OBJECT_MOTION,
        "planes": joint.PLANES, "obstacles": joint.OBSTACLES,
    }  # fmt: skip
    return tasks[arguments.task]


def _depth(arguments: argparse.Namespace, name: str) -> Evaluation:
    from depth_ros.config import settings_from
    from depth_ros.estimators.stereo.estimator import StereoSettings, is_stereo
    from depth_ros.evaluation.depth import evaluate_depth
    from depth_ros.evaluation.filtered_depth import evaluate_filters
    from depth_ros.evaluation.options import DepthOptions
    from depth_ros.evaluation.stereo import evaluate_stereo

    if is_stereo(arguments.model) and not arguments.filters:
        stereo = settings_from(StereoSettings, {"scale": arguments.scale}, "evaluate")
        return functools.partial(evaluate_stereo, arguments.model, stereo=stereo)
    depth = DepthOptions(
        arguments.protocol, arguments.crop, arguments.scaling, arguments.resize, arguments.cap,
        baseline_data=arguments.baseline_data,
    )  # fmt: skip
    if arguments.filters:
        return functools.partial(evaluate_filters, arguments.model, depth=depth)
    if arguments.refine:
        return _refined_depth(arguments, depth)
    return functools.partial(evaluate_depth, arguments.model, depth=depth)


def _refined_depth(arguments: argparse.Namespace, depth: DepthOptions) -> Evaluation:
    from depth_ros.estimators.refinement import PROTOCOLS
    from depth_ros.evaluation.refined_depth import RefinementOptions, evaluate_refined_depth
    from depth_ros.playback.estimator import REFINED_WITHOUT_POST_PROCESSING

    if arguments.post_process:
        raise DepthRosError(REFINED_WITHOUT_POST_PROCESSING)
    settings = PROTOCOLS[arguments.refine]
    if arguments.refine_steps:
        settings = dataclasses.replace(settings, steps=arguments.refine_steps)
    refinement = RefinementOptions(settings, arguments.static_model)
    return functools.partial(evaluate_refined_depth, arguments.model, depth=depth, refinement=refinement)


def _depth_lines(result: dict[str, Any]) -> list[str]:
    rows = [(row["row"], row["metrics"]) for row in result.get("rows", ())] or [("model", result["metrics"])]
    rows += [("without the focal length", result.get("without_focal_length"))]
    return [
        f"{result['model']} on {result['data']}: {result['images']} images, {result['engine']}",
        *(
            f"{name:<{max(9, *(len(name) for name, metrics in rows if metrics))}} {metrics_line(metrics)}"
            for name, metrics in (*rows, ("baseline", result["baseline"]))
            if metrics
        ),
    ]


def _flicker(arguments: argparse.Namespace, name: str) -> Evaluation:
    from depth_ros.evaluation.flicker import evaluate_flicker

    if arguments.report:
        raise DepthRosError("evaluate flicker has no report: leave out --report")
    return functools.partial(evaluate_flicker, arguments.model)


def _flicker_lines(result: dict[str, Any]) -> list[str]:
    cost = f"fusion {result['fusion_cpu_ms_per_image']:.1f} ms of CPU time an image"
    return [
        f"{result['model']} on {result['data']}: {result['images']} images, {result['engine']}, {cost}",
        *(f"{row['row']:<10} {metrics_line(row['metrics'])}" for row in result["rows"]),
    ]


def _odometry(arguments: argparse.Namespace, name: str) -> Evaluation:
    from depth_ros.evaluation.odometry import evaluate_odometry

    folder = arguments.trajectories / name if arguments.trajectories else None
    return functools.partial(evaluate_odometry, arguments.model, trajectories=folder, use_imu=arguments.imu)


def _odometry_lines(result: dict[str, Any]) -> list[str]:
    metrics = {key: value for key, value in result.items() if isinstance(value, float)}
    head = f"{result['model']} on {result['data']}: {result['frames']} frames, {result['engine']}"
    return [f"{head}, scale {result['model_scale'].replace('_', ' ')}", metrics_line(metrics)]


def _object_motion(arguments: argparse.Namespace, name: str) -> Evaluation:
    from depth_ros.evaluation.object_motion import evaluate_object_motion

    return functools.partial(
        evaluate_object_motion, arguments.model,
        instances=arguments.instances or bool(arguments.masks), depth_model=arguments.depth_model,
    )  # fmt: skip


def _object_motion_lines(result: dict[str, Any]) -> list[str]:
    metrics = {key: value for key, value in result.items() if isinstance(value, float)}
    head = f"{result['model']} on {result['data']}: {result['frames']} pairs, {result['engine']}"
    return [f"{head}, {result['method']}", metrics_line(metrics)]


def _planes(arguments: argparse.Namespace, name: str) -> Evaluation:
    from depth_ros.evaluation.planes import evaluate_planes

    protocol = "indoor" if arguments.protocol == "auto" else arguments.protocol
    return functools.partial(evaluate_planes, arguments.model, protocol=protocol)


def _planes_lines(result: dict[str, Any]) -> list[str]:
    head = f"{result['model']} on {result['data']}: {result['images']} images, {result['ground_truth_planes']} planes"
    return [f"{head}, {result['engine']}", *(f"{k:<26} {v:.3f}" for k, v in result["metrics"].items())]


def _obstacles(arguments: argparse.Namespace, name: str) -> Evaluation:
    from depth_ros.evaluation.metrics.obstacles import Marking
    from depth_ros.evaluation.obstacles import evaluate_obstacles

    marking = Marking(max_range=arguments.obstacle_range)
    return functools.partial(evaluate_obstacles, arguments.model, marking=marking)


def _obstacle_lines(result: dict[str, Any]) -> list[str]:
    images = f"{result['images']} images, {result['without_ground']} without ground"
    head = f"{result['model']} on {result['data']}: {images}"
    return [f"{head}, {result['engine']}", *(f"{k:<26} {v:.3f}" for k, v in result["metrics"].items())]


TASKS = {
    "depth": Task(_depth, _depth_lines, needs_model=True),
    "flicker": Task(_flicker, _flicker_lines, needs_model=True),
    "odometry": Task(_odometry, _odometry_lines, needs_model=False),
    "object_motion": Task(_object_motion, _object_motion_lines, needs_model=False),
    "planes": Task(_planes, _planes_lines, needs_model=True),
    "obstacles": Task(_obstacles, _obstacle_lines, needs_model=True),
}
