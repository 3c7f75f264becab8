"""Evaluation: metrics of a model on recorded data."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from depth_ros.evaluation.options import DepthOptions, EvaluationOptions


@dataclass(frozen=True)
class Task:
    """One task of `depth_ros evaluate`. needs_model: whether --model must be given."""

    run: Callable[[argparse.Namespace, EvaluationOptions], dict[str, Any]]
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
    evaluate.add_argument("--data", type=Path, required=True, metavar="RECORDING", help="a folder or a bag")
    evaluate.add_argument("--split", choices=("all", "held_out"), default="all",
                          help="held_out: only the samples that training leaves out")  # fmt: skip
    evaluate.add_argument("--limit", type=int, default=0, help="maximum number of images; 0 = all")
    add_json_option(evaluate)
    evaluate.add_argument("--report", type=Path, metavar="FILE", help="write an HTML report")
    _add_depth_options(evaluate)
    evaluate.add_argument("--trajectories", type=Path, metavar="FOLDER",
                          help="odometry: write estimate.txt and ground_truth.txt, TUM format")  # fmt: skip
    evaluate.add_argument("--instances", action="store_true",
                          help="object_motion: use the folder's moving_objects as instance masks")  # fmt: skip
    add_engine_options(evaluate)
    add_recording_options(evaluate)


def _add_depth_options(evaluate: argparse.ArgumentParser) -> None:
    depth = evaluate.add_argument_group("evaluation of depth", "each replaces the value of the protocol")
    depth.add_argument("--protocol", default="auto")
    depth.add_argument("--crop", choices=("none", "garg", "eigen", "cityscapes"))
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
    depth.add_argument("--refine-steps", type=int, default=0, metavar="STEPS", help="default: 20")
    depth.add_argument("--static-model", default="", metavar="MODEL",
                       help="with --refine: model trained without masks, for the rows without them")  # fmt: skip
    depth.add_argument("--baseline-data", type=Path, metavar="FOLDER", help="training data of the baseline")


def run_evaluate(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from depth_ros.evaluation.options import EvaluationOptions

    task = TASKS[arguments.task]
    if task.needs_model and not arguments.model:
        raise DepthRosError(f"evaluate {arguments.task} needs --model")
    with tqdm(unit="image", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        options = EvaluationOptions(
            arguments.split,
            arguments.limit,
            engine_settings(arguments),
            dataclasses.replace(
                recording_options(arguments), image_list=arguments.images, lidar_x=arguments.lidar_x
            ),
            arguments.report,
            command_line(),
            progress,
        )
        result = task.run(arguments, options)
    if arguments.json:
        write_json(result, arguments.json)
    if arguments.json != "-":
        print("\n".join(task.lines(result)))
        if arguments.report:
            print(f"report: {arguments.report}")


def _evaluate_depth(arguments: argparse.Namespace, options: EvaluationOptions) -> dict[str, Any]:
    from depth_ros.config import settings_from
    from depth_ros.estimators.stereo.estimator import StereoSettings, is_stereo
    from depth_ros.evaluation.depth import evaluate_depth
    from depth_ros.evaluation.options import DepthOptions
    from depth_ros.evaluation.stereo import evaluate_stereo

    if is_stereo(arguments.model):
        stereo = settings_from(StereoSettings, {"scale": arguments.scale}, "evaluate")
        return evaluate_stereo(arguments.model, arguments.data, options, stereo)
    depth = DepthOptions(
        arguments.protocol, arguments.crop, arguments.scaling, arguments.resize, arguments.cap,
        baseline_data=arguments.baseline_data,
    )  # fmt: skip
    if arguments.refine:
        return _evaluate_refined_depth(arguments, options, depth)
    return evaluate_depth(arguments.model, arguments.data, options, depth)


def _evaluate_refined_depth(
    arguments: argparse.Namespace, options: EvaluationOptions, depth: DepthOptions
) -> dict[str, Any]:
    from depth_ros.estimators.refinement import PROTOCOLS
    from depth_ros.evaluation.refined_depth import RefinementOptions, evaluate_refined_depth

    settings = PROTOCOLS[arguments.refine]
    if arguments.refine_steps:
        settings = dataclasses.replace(settings, steps=arguments.refine_steps)
    refinement = RefinementOptions(settings, arguments.static_model)
    return evaluate_refined_depth(arguments.model, arguments.data, options, depth, refinement)


def _depth_lines(result: dict[str, Any]) -> list[str]:
    rows = [(row["row"], row["metrics"]) for row in result.get("rows", ())] or [("model", result["metrics"])]
    return [
        f"{result['model']} on {result['data']}: {result['images']} images, {result['engine']}",
        *(
            f"{name:<9} {metrics_line(metrics)}"
            for name, metrics in (*rows, ("baseline", result["baseline"]))
        ),
    ]


def _evaluate_odometry(arguments: argparse.Namespace, options: EvaluationOptions) -> dict[str, Any]:
    from depth_ros.evaluation.odometry import evaluate_odometry

    return evaluate_odometry(arguments.model, arguments.data, options, trajectories=arguments.trajectories)


def _odometry_lines(result: dict[str, Any]) -> list[str]:
    metrics = {key: value for key, value in result.items() if isinstance(value, float)}
    head = f"{result['model']} on {result['data']}: {result['frames']} frames, {result['engine']}"
    return [f"{head}, scale {result['model_scale'].replace('_', ' ')}", metrics_line(metrics)]


def _evaluate_object_motion(arguments: argparse.Namespace, options: EvaluationOptions) -> dict[str, Any]:
    from depth_ros.evaluation.object_motion import evaluate_object_motion

    return evaluate_object_motion(arguments.model, arguments.data, options, instances=arguments.instances)


def _object_motion_lines(result: dict[str, Any]) -> list[str]:
    metrics = {key: value for key, value in result.items() if isinstance(value, float)}
    head = f"{result['model']} on {result['data']}: {result['frames']} pairs, {result['engine']}"
    return [f"{head}, {result['method']}", metrics_line(metrics)]


def _evaluate_planes(arguments: argparse.Namespace, options: EvaluationOptions) -> dict[str, Any]:
    from depth_ros.evaluation.planes import evaluate_planes

    protocol = "indoor" if arguments.protocol == "auto" else arguments.protocol
    return evaluate_planes(arguments.model, str(arguments.data), options, protocol)


def _planes_lines(result: dict[str, Any]) -> list[str]:
    head = f"{result['model']} on {result['data']}: {result['images']} images, {result['ground_truth_planes']} planes"
    return [f"{head}, {result['engine']}", *(f"{k:<26} {v:.3f}" for k, v in result["metrics"].items())]


TASKS = {
    "depth": Task(_evaluate_depth, _depth_lines, needs_model=True),
    "odometry": Task(_evaluate_odometry, _odometry_lines, needs_model=False),
    "object_motion": Task(_evaluate_object_motion, _object_motion_lines, needs_model=False),
    "planes": Task(_evaluate_planes, _planes_lines, needs_model=True),
}
