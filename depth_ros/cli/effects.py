"""Effects: two-view inputs of a clip, and videos made with its depth."""

from __future__ import annotations

import argparse
from pathlib import Path

from depth_ros.cli.options import (
    Commands,
    add_command,
    add_engine_options,
    add_recording_options,
    engine_settings,
    metrics_line,
    recording_options,
)


def add_commands(commands: Commands) -> None:
    """effect, two_view."""
    effect = add_command(
        commands, "effect", run_effect, "apply defocus, remove people or insert an object, and write a video"
    )
    effect.add_argument("effect", choices=("defocus", "remove", "insert"))
    _add_clip_options(effect)
    effect.add_argument("--out", type=Path, required=True, metavar="VIDEO", help=".mp4 or .avi")
    effect.add_argument("--model", default="", help="model that estimates depth; default: recorded depth")
    effect.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
                        help="focus, aperture, size, distance, column or row")  # fmt: skip
    add_engine_options(effect)

    two_view = add_command(
        commands, "two_view", run_two_view, "make two-view inputs of a clip: parallax depth and people masks"
    )
    _add_clip_options(two_view)
    two_view.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="new folder in the general layout"
    )
    two_view.add_argument("--model", default="", help="model that predicts from the inputs")
    add_engine_options(two_view)


def _add_clip_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", type=Path, help="a bag, a folder or a video")
    command.add_argument("--limit", type=int, default=0, help="maximum number of frames; 0 = all")
    add_recording_options(command)


def run_effect(arguments: argparse.Namespace) -> None:
    import yaml
    from tqdm import tqdm

    from depth_ros.config import settings_from
    from depth_ros.effects.clip import ClipOptions
    from depth_ros.effects.video import EffectSettings, VideoOptions, make_video

    pairs = (change.partition("=") for change in arguments.changes)
    changes = {key: yaml.safe_load(value) for key, _, value in pairs}
    options = VideoOptions(
        ClipOptions(recording_options(arguments), arguments.limit),
        settings_from(EffectSettings, changes, "--set"),
        arguments.model,
        engine_settings(arguments),
    )
    images, fraction = make_video(arguments.effect, arguments.source, arguments.out, options, tqdm)
    details = {"remove": f", {100 * fraction:.0f} % of the holes filled from other images",
               "insert": f", {100 * fraction:.0f} % of the object visible"}  # fmt: skip
    print(f"video: {arguments.out}, {images} images{details.get(arguments.effect, '')}")


def run_two_view(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from depth_ros.effects.clip import ClipOptions
    from depth_ros.effects.inputs import TwoViewOptions, write_inputs

    options = TwoViewOptions(
        ClipOptions(recording_options(arguments), arguments.limit),
        arguments.model,
        engine_settings(arguments),
    )
    result = write_inputs(arguments.source, arguments.out, options, tqdm)
    coverage = 100 * result.coverage
    print(f"{result.images} images in {arguments.out}, parallax depth for {coverage:.0f} % of the pixels")
    for name, metrics in result.metrics.items():
        print(f"{name:<12} {metrics_line(metrics)}")
