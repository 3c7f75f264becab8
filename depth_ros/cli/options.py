"""Options and output that several subcommands share."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from depth_ros.engine.backends import BACKENDS

if TYPE_CHECKING:
    from depth_ros.engine import EngineSettings
    from depth_ros.recordings import RecordingOptions

T = TypeVar("T")
Commands = Any
"""What `ArgumentParser.add_subparsers` returns; argparse does not export its type."""


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    """Add a subcommand that calls `run`. text: its help line, lower case, without a full stop."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + "."
    )
    command.set_defaults(run=run)
    command.error = functools.partial(_error, command)  # type: ignore[method-assign]
    return command


def _error(command: argparse.ArgumentParser, message: str) -> NoReturn:
    """Exit with a usage error that names the options which take a positional argument as one of their values.

    `evaluate --data a b depth` cannot tell the task from a third recording.
    """
    missing = message.removeprefix("the following arguments are required: ")
    lists = [
        each.option_strings[-1] for each in command._actions if each.option_strings and each.nargs == "+"
    ]
    if missing != message and "--" not in missing and lists:
        message += f"; put it before {' and '.join(lists)}, which take all words up to the next option"
    argparse.ArgumentParser.error(command, message)


def add_engine_options(command: argparse.ArgumentParser) -> None:
    """--backend, --precision, --device and --post-process."""
    command.add_argument(
        "--backend", choices=("auto", *BACKENDS), default="auto", help="compiler of the network"
    )
    command.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16", "float16", "int8"), default="auto",
        help="number format of the network",
    )  # fmt: skip
    command.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the network runs"
    )
    command.add_argument(
        "--post-process", action="store_true",
        help="monodepth: average with the depth of the mirrored image, as published",
    )  # fmt: skip


def engine_settings(arguments: argparse.Namespace) -> EngineSettings:
    """The settings of `add_engine_options`."""
    from depth_ros.engine import EngineSettings

    return EngineSettings(arguments.backend, arguments.precision, arguments.device, arguments.post_process)


def add_recording_options(command: argparse.ArgumentParser) -> None:
    """--camera, --fov, the topics of bags, and files with poses, masks and key points."""
    group = command.add_argument_group("recording")
    group.add_argument(
        "--camera", nargs="+", type=Path, default=[], metavar="FILE", dest="cameras",
        help="calibration: YAML of camera_info or OpenCV, Kalibr's camchain, EuRoC's sensor.yaml, settings of ORB-SLAM "
        "or VINS; two for a pair",
    )  # fmt: skip
    group.add_argument("--fov", type=float, default=0.0, metavar="DEGREES",
                       help="horizontal field of view of images without calibration")  # fmt: skip
    for name, text in (
        ("image", "images, for bags with more than one camera"),
        ("right", "right images"),
        ("camera-info", "calibration of the images"),
        ("depth", "measured depth, of the same camera or aligned to it"),
        ("imu", "IMU, if there are several,"),
    ):
        group.add_argument(f"--{name}-topic", default="", metavar="TOPIC", help=f"{text} of a bag")
    group.add_argument("--masks", default="", metavar="FOLDER",
                       help="instance masks of objects that may move, PNG; of a bag, also a topic")  # fmt: skip
    group.add_argument("--poses", type=Path, metavar="FILE",
                       help="camera trajectory, TUM format, e.g. of an odometry")  # fmt: skip
    group.add_argument("--keypoints", type=Path, metavar="FOLDER",
                       help="images with the numbers of the joints of people, 1 to 17, 0 = none")  # fmt: skip
    group.add_argument("--sync-tolerance", type=float, default=0.01, metavar="SECONDS",
                       help="largest difference of the stamps that belong together; default: %(default)s")  # fmt: skip


def recording_options(arguments: argparse.Namespace) -> RecordingOptions:
    """The options of `add_recording_options`."""
    from depth_ros.recordings import RecordingOptions

    return RecordingOptions(
        tuple(arguments.cameras), arguments.fov, arguments.image_topic, arguments.right_topic,
        arguments.camera_info_topic, arguments.depth_topic, arguments.sync_tolerance,
        masks=arguments.masks, poses=arguments.poses, keypoints=arguments.keypoints, imu_topic=arguments.imu_topic,
    )  # fmt: skip


def add_settings_options(command: argparse.ArgumentParser, settings: type[Any]) -> None:
    """An option for each field of a settings dataclass, with its default, description, unit and choices."""
    for field in dataclasses.fields(settings):
        unit = f", {field.metadata['unit']}" if field.metadata["unit"] else ""
        command.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default,
            choices=field.metadata["choices"] or None, metavar=None if field.metadata["choices"] else "VALUE",
            help=f"{field.metadata['text']}{unit}; default: %(default)s",
        )  # fmt: skip


def settings_of(arguments: argparse.Namespace, settings: type[T]) -> T:
    """The settings of `add_settings_options`. Raises DepthRosError for a value out of its range."""
    from depth_ros.config import settings_from

    names = [field.name for field in dataclasses.fields(settings)]  # type: ignore[arg-type]
    return settings_from(settings, {name: getattr(arguments, name) for name in names}, "render scene")


def add_json_option(command: argparse.ArgumentParser) -> None:
    """--json."""
    command.add_argument("--json", metavar="FILE", help="write the result as JSON; - for standard output")


def write_json(content: Any, target: str) -> None:
    """Write JSON to a file, or to standard output for `-`."""
    text = json.dumps(content, indent=1)
    if target == "-":
        print(text)
    else:
        Path(target).write_text(text + "\n")


def metrics_line(metrics: Mapping[str, float | None]) -> str:
    """Metrics in one line, those without a value left out."""
    known = (f"{name} {value:.3f}" for name, value in metrics.items() if value is not None)
    return "  ".join(known) or "no ground truth to compare with"


def command_line() -> str:
    """The command as the user typed it, for reports."""
    return " ".join(["depth_ros", *sys.argv[1:]])
