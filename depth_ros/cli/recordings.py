"""Recordings: write a bag of a recorded folder, render a clip of the built-in world."""

from __future__ import annotations

import argparse
from pathlib import Path

from depth_ros.cli.options import Commands, add_command, add_recording_options, recording_options


def add_commands(commands: Commands) -> None:
    """bag, render."""
    bag = add_command(commands, "bag", run_bag, "convert a recording to a rosbag2")
    bag.add_argument("recording", type=Path, help="a folder, a video or images")
    bag.add_argument("bag", type=Path)
    bag.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="default: %(default)s")
    bag.add_argument("--compressed", action="store_true", help="lossless CompressedImage instead of Image")
    add_recording_options(bag)

    render = add_command(commands, "render", run_render, "render a clip of the built-in world to a folder")
    render.add_argument("kind", choices=("street", "room"))
    render.add_argument("folder", type=Path)
    render.add_argument("--frames", type=int, default=40, help="number of frames; default: %(default)s")
    render.add_argument("--seed", type=int, default=0, help="random seed of the scene; default: %(default)s")
    render.add_argument("--rate", type=float, default=0.0, help="frame rate in Hz; 0 = the kind's default")


def run_bag(arguments: argparse.Namespace) -> None:
    from depth_ros.recordings import open_recording
    from depth_ros.recordings.bags import write_bag

    recording = open_recording(arguments.recording, recording_options(arguments))
    write_bag(recording, arguments.bag, arguments.storage, arguments.compressed, True)
    print(f"bag: {arguments.bag}")


def run_render(arguments: argparse.Namespace) -> None:
    from depth_ros.world import World, WorldSettings, write_folder

    settings = WorldSettings(
        kind=arguments.kind, frames=arguments.frames, seed=arguments.seed, rate=arguments.rate
    )
    write_folder(World(settings), arguments.folder)
    print(f"folder: {arguments.folder}")
