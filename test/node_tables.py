"""Topics, parameters and executables of the nodes, for the tests of launch and configuration files."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from depth_ros.config import value_problem
from depth_ros.nodes.topics import Topic

ROOT = Path(__file__).resolve().parent.parent
NODES = ("depth_node", "stereo_depth_node", "planes_node", "odometry_node", "object_motion_node")
PROCESSES = {
    "perception_node": ("depth_node", "stereo_depth_node", "odometry_node", "object_motion_node"),
    "multi_camera_node": ("multi_camera_node", "depth_node"),
}
"""Executables that run several nodes."""
ROS_PARAMETERS = {"use_sim_time"}
"""Parameters of every ROS node."""


@dataclass(frozen=True)
class NodeTable:
    """Topics and parameters of a node, or of the nodes of one process.

    topics: a node has a name at most once in each direction. fields: of the settings dataclasses, by parameter; nodes
    of one process may share a parameter and have different defaults.
    """

    topics: tuple[Topic, ...]
    fields: dict[str, list[dataclasses.Field]]

    def published(self, name: str) -> Topic:
        """The published topic of this name; fails if there is none."""
        published = {topic.name: topic for topic in self.topics if topic.direction == "out"}
        assert name in published, f"no published topic '{name}'; there are {', '.join(published)}"
        return published[name]

    def problem(self, name: str, value: object) -> str:
        """Reason why a parameter cannot have this value; empty if it can."""
        if name not in self.fields:
            return f"no parameter '{name}'; there are {', '.join(self.fields)}"
        return next(filter(None, (value_problem(field, value) for field in self.fields[name])), "")

    def defaults(self, name: str) -> list[object]:
        """Default values of a parameter, one for each settings dataclass that has it."""
        return [field.default for field in self.fields[name]]


def table_of(executable: str) -> NodeTable:
    """The table of a node, or of all nodes of a process."""
    topics: list[Topic] = []
    fields: dict[str, list[dataclasses.Field]] = {}
    for node in PROCESSES.get(executable, (executable,)):
        module = importlib.import_module(f"depth_ros.nodes.{node}")
        topics += module.TOPICS
        for settings in module.SETTINGS:
            for field in dataclasses.fields(settings):
                fields.setdefault(field.name, []).append(field)
    return NodeTable(tuple(topics), fields)


def console_scripts() -> dict[str, str]:
    """{executable: module:function} of setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (entry_points,) = (
        keyword.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "entry_points"
    )
    lines = ast.literal_eval(entry_points)["console_scripts"]
    return dict(line.replace(" ", "").split("=") for line in lines)
