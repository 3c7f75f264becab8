"""Training."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from depth_ros.cli.options import (
    Commands,
    add_command,
    add_recording_options,
    command_line,
    recording_options,
)

if TYPE_CHECKING:
    from depth_ros.training.recipes import Recipe, Source


def add_commands(commands: Commands) -> None:
    """train."""
    train = add_command(commands, "train", run_train, "train a recipe; an interrupted run is resumed")
    train.add_argument("recipe", help="name of a recipe, or a recipe file of your own: .yaml or .py")
    train.add_argument("--data", type=Path, default=Path("../shared/data"), metavar="FOLDER",
                       help="folder that holds the recipe's data; default: %(default)s")  # fmt: skip
    train.add_argument("--out", type=Path, metavar="FOLDER", help="working folder; default: runs/RECIPE")
    train.add_argument("--steps", type=int, default=0, help="number of steps instead of the recipe's")
    train.add_argument("--start", default="", metavar="MODEL",
                       help="fine-tune this trained or imported model, or those in this folder")  # fmt: skip
    train.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="changes",
                       help="change the recipe: learning_rate=1e-4, settings.NAME=VALUE, ...")  # fmt: skip
    train.add_argument("--encoder-weights", type=Path, metavar="FILE",
                       help="ImageNet weights of the encoder: torchvision's .pth, or Caffe's as .npy")  # fmt: skip
    train.add_argument("--workers", type=int, metavar="N",
                       help="processes that load data; default: the processors less one, at most 8")  # fmt: skip
    group = train.add_argument_group("data")
    group.add_argument("--on", nargs="+", default=[], metavar="RECORDING",
                       help="train on these bags, folders or videos, without their last fifth")  # fmt: skip
    group.add_argument("--validate-on", nargs="+", default=[], metavar="RECORDING",
                       help="validate on these instead of on the last fifth of those of --on")  # fmt: skip
    group.add_argument("--images", type=Path, metavar="FILE",
                       help="train on the images of raw KITTI that a split file lists, e.g. Eigen's")  # fmt: skip
    group.add_argument("--validation-images", type=Path, metavar="FILE",
                       help="validate on those that this one lists")  # fmt: skip
    add_recording_options(train)


def run_train(arguments: argparse.Namespace) -> None:
    from depth_ros.training.base_model import fine_tuning
    from depth_ros.training.loop import train
    from depth_ros.training.recipes import find_recipe
    from depth_ros.training.recipes.changes import changed, from_arguments
    from depth_ros.training.recipes.recipe import own_name
    from depth_ros.training.table import change_lines

    recipe = find_recipe(arguments.recipe)
    if arguments.start:
        recipe = fine_tuning(recipe, arguments.start)
    if arguments.changes:
        recipe = replace(recipe, name=own_name(recipe.name))
        recipe = changed(recipe, from_arguments(arguments.changes), "--set")
    if arguments.on:
        recipe = recipe.on_recordings(training_sources(arguments), validation_sources(arguments))
    if arguments.start or arguments.on or arguments.changes or Path(arguments.recipe).suffix:
        recipe = replace(recipe, command=command_line())
    if arguments.steps:
        recipe = recipe.with_steps(arguments.steps)
    out = arguments.out or Path("runs") / recipe.name
    if arguments.encoder_weights:
        recipe = _with_encoder(recipe, arguments.encoder_weights, out)
    path = train(recipe, arguments.data, out, arguments.workers)
    print(*change_lines(out), sep="\n")
    print(f"model: {path}; {next_steps(recipe, path, arguments.data)}")


def training_sources(arguments: argparse.Namespace) -> list[Source]:
    """The recordings of --on: without their held-out part, unless the validation data was named."""
    from depth_ros.training.recipes import Source

    options = replace(recording_options(arguments), image_list=arguments.images)
    whole = arguments.images or arguments.validation_images or arguments.validate_on
    return [Source(folder, "all" if whole else "training", options=options) for folder in arguments.on]


def validation_sources(arguments: argparse.Namespace) -> list[Source]:
    """The recordings of --validate-on, the images of --validation-images, or the held-out part of those of --on."""
    from depth_ros.training.recipes import Source

    options = replace(recording_options(arguments), image_list=arguments.validation_images)
    if arguments.validate_on or arguments.validation_images:
        folders = arguments.validate_on or arguments.on
        return [Source(folder, "all", options=options) for folder in folders]
    if arguments.images:
        return []  # all images of a split file are trained on
    return [Source(folder, "held_out", options=options) for folder in arguments.on]


def next_steps(recipe: Recipe, path: Path, data: Path) -> str:
    """What to type next: how to measure a model, and how to give it to a node."""
    task = recipe.supervision.evaluation_task
    recorded = [source for source in recipe.validation if not source.is_rendered]
    where, split = (recorded[0].path(data), recorded[0].part) if recorded else ("RECORDING", "held_out")
    return (
        f"evaluate it: depth_ros evaluate {task} --model {path} --data {where} --split {split}\n"
        f"build its engine: depth_ros compile {path}\n"
        f"give it to a running node: ros2 param set /camera/depth_ros/depth_node model {path.resolve()}"
    )


def _with_encoder(recipe: Recipe, weights: Path, out: Path) -> Recipe:
    """The recipe with initial weights of its encoder, converted to a file in the working folder."""
    from safetensors.torch import save_file

    from depth_ros.checkpoint_import import read_variables
    from depth_ros.checkpoint_import.imagenet import encoder_state

    out.mkdir(parents=True, exist_ok=True)
    save_file(encoder_state(recipe.family, read_variables(weights)), out / "encoder.safetensors")
    return replace(recipe, initial_weights=str(out / "encoder.safetensors"))
