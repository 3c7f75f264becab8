"""Recordings: write a bag of a recorded folder, render a clip of the built-in world."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from depth_ros.cli.options import (
    Commands,
    add_command,
    add_recording_options,
    add_settings_options,
    recording_options,
    settings_of,
)


def add_commands(commands: Commands) -> None:
    """bag, render."""
    bag = add_command(commands, "bag", run_bag, "convert a recording to a rosbag2")
    bag.add_argument("recording", type=Path, help="a folder, a video or images")
    bag.add_argument("bag", type=Path)
    bag.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="default: %(default)s")
    bag.add_argument("--compressed", action="store_true", help="lossless CompressedImage instead of Image")
    add_recording_options(bag)

    render = add_command(commands, "render", run_render, "render the built-in world, or a scene, to a folder")
    kinds = render.add_subparsers(required=True, metavar="KIND", dest="kind")
    for kind in ("street", "room"):
        built_in = add_command(kinds, kind, run_render, f"a clip in a {kind} of the built-in world")
        built_in.add_argument("folder", type=Path)
        built_in.add_argument("--frames", type=int, default=40, help="number of frames; default: %(default)s")
        built_in.add_argument(
            "--seed", type=int, default=0, help="random seed of the scene; default: %(default)s"
        )
        built_in.add_argument(
            "--rate", type=float, default=0.0, help="frame rate in Hz; 0 = the kind's default"
        )
    _add_scene(kinds)


def _add_scene(kinds: Commands) -> None:
    from depth_ros.rendering.settings import SceneSettings

    scene = add_command(
        kinds, "scene", run_render_scene, "a Gazebo world or model, or a mesh, by Blender's Cycles"
    )
    scene.add_argument(
        "scene", type=Path, help="SDF (.world, .sdf, the folder of a model), glTF, COLLADA, OBJ or STL"
    )
    scene.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                       help="the recording; frames that it has are kept")  # fmt: skip
    scene.add_argument("--models", nargs="+", type=Path, default=[], metavar="FOLDER",
                       help="folders of the included models, before those of GZ_SIM_RESOURCE_PATH")  # fmt: skip
    scene.add_argument("--skip-missing", action="store_true", help="leave out models that cannot be found")
    scene.add_argument("--objects", nargs="+", type=Path, default=[], metavar="SCENE",
                       help="models or meshes for --clutter; default: the small objects of the scene")  # fmt: skip
    scene.add_argument(
        "--up", choices=("auto", "x", "y", "z"), default="auto", help="vertical axis of a mesh"
    )
    scene.add_argument(
        "--unit", type=float, default=1.0, help="metres per unit of a mesh; default: %(default)s"
    )
    scene.add_argument("--blender", default="", metavar="PROGRAM",
                       help="Blender, or a Python with bpy; default: this Python, else blender on PATH")  # fmt: skip
    add_settings_options(scene, SceneSettings)


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


def run_render_scene(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from depth_ros.rendering.blender import find_blender
    from depth_ros.rendering.reading import read_objects, read_scene
    from depth_ros.rendering.recording import render_recording
    from depth_ros.rendering.settings import SceneSettings

    settings = settings_of(arguments, SceneSettings)
    command = find_blender(arguments.blender)
    scene = read_scene(
        arguments.scene, arguments.models, arguments.skip_missing, arguments.up, arguments.unit
    )
    for line in scene.left_out:
        print(f"left out: {line}", file=sys.stderr)
    objects = read_objects(arguments.objects, arguments.models)
    with tqdm(total=settings.frames, unit="frame", disable=None) as bar:
        render_recording(scene, settings, arguments.out, command, bar.update, objects)
    print(f"folder: {arguments.out}")
