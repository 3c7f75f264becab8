"""The executables of the nodes: help without ROS 2, and one line instead of a traceback if a package is missing."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import depth_ros
from depth_ros.cli.dependencies import REQUIRED, explain, require
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from depth_ros.nodes.topics import Topic

HELP, VERSION = ("-h", "--help"), "--version"


def run_node(name: str) -> int:
    """Run the node `depth_ros.nodes.<name>` with the arguments of this process, or print its help or version."""
    own = sys.argv[1 : sys.argv.index("--ros-args")] if "--ros-args" in sys.argv else sys.argv[1:]
    try:
        if VERSION in own:
            print(f"depth_ros {depth_ros.__version__}")
            return 0
        if any(option in own for option in HELP):
            print(help_text(name))
            return 0
        require(("rclpy", *REQUIRED))
        return _node_module(name).main()
    except DepthRosError as error:
        print(f"{name}: {error}", file=sys.stderr)
    except ImportError as error:
        print(f"{name}: {explain(error)}", file=sys.stderr)
    return 1


depth_node = partial(run_node, "depth_node")
stereo_depth_node = partial(run_node, "stereo_depth_node")
object_motion_node = partial(run_node, "object_motion_node")
odometry_node = partial(run_node, "odometry_node")
multi_camera_node = partial(run_node, "multi_camera_node")
perception_node = partial(run_node, "perception_node")
planes_node = partial(run_node, "planes_node")


def _node_module(name: str) -> ModuleType:
    return importlib.import_module(f"depth_ros.nodes.{name}")


def help_text(name: str) -> str:
    """Usage, description, topics and parameters of a node; without ROS 2 only usage and description."""
    source = Path(depth_ros.__file__).parent / f"nodes/{name}.py"
    lines = [
        f"usage: ros2 run depth_ros {name} [--ros-args [-p PARAMETER:=VALUE] [-r TOPIC:=NEW_TOPIC] "
        "[-r __ns:=NAMESPACE] [--params-file FILE]]",
        "",
        ast.get_docstring(ast.parse(source.read_text())) or "",
    ]
    try:
        module = _node_module(name)
    except ImportError as error:
        return "\n".join([*lines, "", f"Its topics and parameters cannot be listed: {explain(error)}"])
    if topics := getattr(module, "TOPICS", ()):
        lines += ["", "topics:", *map(_topic_line, topics)]
    if settings := getattr(module, "SETTINGS", ()):
        lines += ["", "parameters:", *(line for kind in settings for line in _parameter_lines(kind))]
    return "\n".join(lines)


def _topic_line(topic: Topic) -> str:
    condition = f" Only with {topic.condition}." if topic.condition else ""
    return f"  {topic.direction:<3} {topic.name} ({topic.type.__name__}): {topic.description}{condition}"


def _parameter_lines(kind: type) -> list[str]:
    lines = []
    for field in dataclasses.fields(kind):
        unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
        default = "''" if field.default == "" else f"{field.default}{unit}"
        lines.append(f"  {field.name} (default {default}): {field.metadata['text']}")
    return lines
