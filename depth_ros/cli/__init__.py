"""The `depth_ros` command: one file a group of subcommands, which parses, imports what it needs, and prints."""

from __future__ import annotations

import argparse
import logging
import sys

from depth_ros.errors import DepthRosError

EPILOG = "Every command has --help. Models, recipes and data: see docs/."


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand. Returns 0 on success, 1 on a DepthRosError, printed as one line, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="depth_ros: %(message)s")
    logging.getLogger("depth_ros").setLevel(logging.INFO if arguments.verbose else logging.WARNING)
    try:
        return arguments.run(arguments) or 0
    except DepthRosError as error:
        print(f"depth_ros: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("depth_ros: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The parser of all subcommands, without heavy imports."""
    from depth_ros.cli import doctor, effects, evaluate, models, playback, recordings, train

    top = argparse.ArgumentParser(
        prog="depth_ros", description="Metric depth, odometry and point clouds from a robot's cameras.", epilog=EPILOG
    )  # fmt: skip
    top.add_argument("-v", "--verbose", action="store_true", help="log what is being done")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for group in (playback, models, evaluate, train, recordings, effects, doctor):
        group.add_commands(commands)
    return top
