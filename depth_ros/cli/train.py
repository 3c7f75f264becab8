"""Training."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from depth_ros.cli.options import Commands, add_command

if TYPE_CHECKING:
    from depth_ros.training.recipes import Recipe


def add_commands(commands: Commands) -> None:
    """train."""
    train = add_command(commands, "train", run_train, "train a recipe; an interrupted run is resumed")
    train.add_argument("recipe")
    train.add_argument("--data", type=Path, default=Path("../shared/data"), metavar="FOLDER",
                       help="folder that holds the recipe's data; default: %(default)s")  # fmt: skip
    train.add_argument("--out", type=Path, metavar="FOLDER", help="working folder; default: runs/RECIPE")
    train.add_argument("--steps", type=int, default=0, help="number of steps instead of the recipe's")
    train.add_argument("--start", default="", metavar="MODEL", help="fine-tune this model with the recipe")
    train.add_argument("--encoder-weights", type=Path, metavar="FILE",
                       help="ImageNet weights of the encoder: torchvision's .pth, or Caffe's as .npy")  # fmt: skip
    train.add_argument("--on", nargs="+", default=[], metavar="FOLDER",
                       help="train on these folders below --data instead of the recipe's")  # fmt: skip


def run_train(arguments: argparse.Namespace) -> None:
    from depth_ros.training.loop import train
    from depth_ros.training.recipes import find_recipe

    recipe = find_recipe(arguments.recipe)
    if arguments.start:
        recipe = recipe.fine_tuning(arguments.start)
    if arguments.on:
        recipe = recipe.on_folders(arguments.on)
    if arguments.steps:
        recipe = recipe.with_steps(arguments.steps)
    out = arguments.out or Path("runs") / recipe.name
    if arguments.encoder_weights:
        recipe = _with_encoder(recipe, arguments.encoder_weights, out)
    path = train(recipe, arguments.data, out)
    evaluate = f"depth_ros evaluate {recipe.supervision.evaluation_task}"
    print(f"model: {path}; evaluate it: {evaluate} --model {path} --data FOLDER --split held_out")


def _with_encoder(recipe: Recipe, weights: Path, out: Path) -> Recipe:
    """The recipe with initial weights of its encoder, converted to a file in the working folder."""
    from safetensors.torch import save_file

    from depth_ros.checkpoint_import import read_variables
    from depth_ros.checkpoint_import.imagenet import encoder_state

    out.mkdir(parents=True, exist_ok=True)
    save_file(encoder_state(recipe.family, read_variables(weights)), out / "encoder.safetensors")
    return dataclasses.replace(recipe, initial_weights=str(out / "encoder.safetensors"))
