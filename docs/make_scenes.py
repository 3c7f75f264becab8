"""Make the pictures of docs/scenes.md: `make scenes BOOKSTORE=folder BLENDER=program`.

BOOKSTORE: a checkout of aws-robotics/aws-robomaker-bookstore-world, which no model was trained on. What is rendered is
kept in build/scenes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from depth_ros.cli import main
from depth_ros.recordings import Sample
from depth_ros.world import World, WorldSettings, write_folder

ROOT = Path(__file__).resolve().parents[1]
SCENES, IMAGES = ROOT / "build/scenes", ROOT / "docs/images"
BOOKSTORE = {
    "bookstore": ("--frames", "32", "--clutter", "5"),
    "bookstore_pairs": (
        "--frames", "16", "--clutter", "5", "--baseline", "0.12", "--width", "480", "--height", "320",
    ),
}  # fmt: skip
"""Options of `depth_ros render scene`, by recording."""
MODELS = {
    "mono": "bookstore", "mono_indoor": "bookstore", "mono_driving": "streets", "stereo": "bookstore_pairs",
    "stereo_driving": "streets",
}  # fmt: skip
"""Recording of each model."""
FIRST_STREET, STREETS = 3_000_000, 40
"""Seed of the first street, and their number; training has seeds from 0, validation from 2 000 000."""


class Streets(World):
    """The first pair of each of several streets."""

    def __init__(self) -> None:
        super().__init__(
            WorldSettings(kind="street", seed=FIRST_STREET, frames=STREETS, width=832, height=256)
        )

    def __getitem__(self, index: int) -> Sample:
        street = World(replace(self.settings, seed=FIRST_STREET + index, frames=1))
        return replace(street[0], T_world_camera=None, velocities=None)


def render(bookstore: Path, blender: str, threads: str) -> None:
    """Render the recordings that are not there."""
    for name, options in BOOKSTORE.items():
        world = bookstore / "worlds/bookstore.world"
        run(
            "render",
            "scene",
            world,
            "--out",
            SCENES / name,
            *options,
            "--blender",
            blender,
            "--threads",
            threads,
        )
    if not (SCENES / "streets/camera.yaml").is_file():
        write_folder(Streets(), SCENES / "streets", extension="jpg")


def run(*arguments: object) -> None:
    """A command of depth_ros. Raises SystemExit if it fails."""
    if status := main([str(each) for each in arguments]):
        raise SystemExit(status)


def make(models: Sequence[str]) -> None:
    """Write the pictures of some models."""
    for model in models:
        file = IMAGES / f"scenes_{model}.webp"
        run(
            "evaluate",
            "depth",
            "--model",
            model,
            "--data",
            SCENES / MODELS[model],
            "--backend",
            "eager",
            "--pictures",
            file,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bookstore", type=Path)
    parser.add_argument("--blender", default="")
    parser.add_argument("--threads", default="0")
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    arguments = parser.parse_args()
    render(arguments.bookstore, arguments.blender, arguments.threads)
    make(arguments.models)
