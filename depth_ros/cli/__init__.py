"""The `depth_ros` command: one file a group of subcommands, which parses, imports what it needs, and prints."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import warnings

import depth_ros
from depth_ros.cli.dependencies import explain
from depth_ros.errors import DepthRosError

EPILOG = "Every command has --help. Models, recipes and data: see docs/. Is it installed: depth_ros doctor."


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Returns 0 on success; 1 on a DepthRosError or a missing package, printed as one line; 130 when interrupted; 141
    when the reader of its output has ended, e.g. `| head`.
    """
    try:
        try:
            return _run(parser().parse_args(argv))
        finally:
            sys.stdout.flush()
    except DepthRosError as error:
        print(f"depth_ros: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"depth_ros: {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("depth_ros: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # Python flushes it once more when it ends
        return 128 + signal.SIGPIPE


def _run(arguments: argparse.Namespace) -> int:
    warnings.filterwarnings(
        "ignore", message="Failed to initialize NumPy"
    )  # of torch; its absence is reported
    logging.basicConfig(level=logging.WARNING, format="depth_ros: %(message)s")
    logging.getLogger("depth_ros").setLevel(logging.INFO if arguments.verbose else logging.WARNING)
    return arguments.run(arguments) or 0


def parser() -> argparse.ArgumentParser:
    """The parser of all subcommands, without imports from outside the standard library."""
    from depth_ros.cli import doctor, effects, evaluate, models, playback, predict, recordings, train

    top = argparse.ArgumentParser(
        prog="depth_ros", description="Metric depth, odometry and point clouds from a robot's cameras.", epilog=EPILOG
    )  # fmt: skip
    top.add_argument("-v", "--verbose", action="store_true", help="log what is being done")
    top.add_argument("--version", action="version", version=f"depth_ros {depth_ros.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for group in (predict, playback, models, evaluate, train, recordings, effects, doctor):
        group.add_commands(commands)
    return top
