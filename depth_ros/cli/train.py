"""Training."""

from __future__ import annotations

import argparse
from pathlib import Path

from depth_ros.cli.options import Commands, add_command


def add_commands(commands: Commands) -> None:
    """train."""
    train = add_command(commands, "train", run_train, "train a recipe; an interrupted run is resumed")
    train.add_argument("recipe")
    train.add_argument("--data", type=Path, default=Path("../shared/data"), metavar="FOLDER",
                       help="folder that holds the recipe's data; default: %(default)s")  # fmt: skip
    train.add_argument("--out", type=Path, metavar="FOLDER", help="working folder; default: runs/RECIPE")
    train.add_argument("--steps", type=int, default=0, help="number of steps instead of the recipe's")
    train.add_argument("--start", default="", metavar="MODEL", help="fine-tune this model with the recipe")
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
    path = train(recipe, arguments.data, arguments.out or Path("runs") / recipe.name)
    evaluate = f"depth_ros evaluate {recipe.supervision.evaluation_task}"
    print(f"model: {path}; evaluate it: {evaluate} --model {path} --data FOLDER --split held_out")
