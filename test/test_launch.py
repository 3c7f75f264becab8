"""Launch files, parameter files and RViz configurations against the tables of topics and parameters of the nodes."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from node_tables import NODES, PROCESSES, ROOT, ROS_PARAMETERS, console_scripts, table_of

LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.xml"))
OTHER_PACKAGES = ("nav2_", "moveit_")
"""Prefixes of configurations for other packages, see test_consumers.py."""
PARAMETER_FILES = sorted(
    file for file in (ROOT / "config").glob("*.yaml") if not file.name.startswith(OTHER_PACKAGES)
)
RVIZ_FILES = sorted((ROOT / "config").glob("*.rviz"))
DISPLAY_TYPES = {"PointCloud2", "Image", "Odometry", "Path"}
"""RViz displays named after the message type that they show."""

launch_files = pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)


class LaunchFile:
    """A parsed launch file. arguments: {name: default or None}."""

    def __init__(self, file: Path) -> None:
        self.root = ElementTree.parse(file).getroot()
        self.arguments = {each.get("name"): each.get("default") for each in self.root.iter("arg")}
        self.variables = self.arguments | {
            each.get("name"): each.get("value") for each in self.root.iter("let")
        }
        self.nodes = [node for node in self.root.iter("node") if node.get("pkg") == "depth_ros"]

    def attributes(self) -> list[str]:
        """The values of all attributes in the file."""
        return [value for element in self.root.iter() for value in element.attrib.values()]

    def default_of(self, text: str) -> object:
        """The value of a parameter if no argument is given, parsed as launch does."""
        return yaml.safe_load(re.sub(r"\$\(var (\w+)\)", lambda match: self.variables[match[1]] or "", text))


def test_every_executable_has_a_launch_file():
    launched = {node.get("exec") for file in LAUNCH_FILES for node in LaunchFile(file).nodes}
    assert launched == {*NODES, *PROCESSES} == set(console_scripts()) - {"depth_ros"}


@pytest.mark.parametrize("node", NODES)
def test_node_has_topics_in_both_directions_each_listed_once_and_described(node: str):
    topics = table_of(node).topics
    assert {topic.direction for topic in topics} == {"in", "out"}
    assert len({(topic.name, topic.direction) for topic in topics}) == len(topics)
    assert all(topic.description.endswith(".") for topic in topics)


@launch_files
def test_launch_file_starts_executables_that_exist(file: Path):
    nodes = LaunchFile(file).nodes
    assert nodes
    for node in nodes:
        module, function = console_scripts()[node.get("exec")].split(":")
        assert callable(getattr(importlib.import_module(module), function))


@launch_files
def test_launch_file_remaps_topics_that_its_node_has(file: Path):
    launch = LaunchFile(file)
    for node in launch.nodes:
        sources = {remap.get("from") for remap in node.iter("remap")}
        assert sources and sources <= {topic.name for topic in table_of(node.get("exec")).topics}


@launch_files
def test_launch_file_sets_parameters_that_its_node_has_to_valid_values(file: Path):
    """A parameter that is passed on from an argument of the same name has the node's default."""
    launch = LaunchFile(file)
    for node in launch.nodes:
        table = table_of(node.get("exec"))
        parameters = {p.get("name"): p.get("value") for p in node.iter("param") if p.get("name")}
        assert parameters
        for name in set(parameters) - ROS_PARAMETERS:
            value = launch.default_of(parameters[name])
            assert table.problem(name, value) == ""
            if parameters[name] == f"$(var {name})":
                assert value in table.defaults(name)


@launch_files
def test_launch_file_refers_to_variables_and_files_that_exist(file: Path):
    launch = LaunchFile(file)
    attributes = " ".join(launch.attributes())
    assert set(re.findall(r"\$\(var (\w+)\)", attributes)) <= set(launch.variables)
    for path in re.findall(r"\$\(find-pkg-share depth_ros\)/([\w./]+)", attributes):
        assert (ROOT / path).is_file(), path


@launch_files
def test_launch_file_uses_all_its_arguments_describes_them_and_requires_only_the_camera(file: Path):
    launch = LaunchFile(file)
    attributes = " ".join(launch.attributes())
    assert all(f"$(var {name})" in attributes for name in launch.arguments)
    assert all(each.get("description") for each in launch.root.iter("arg"))
    assert [name for name, default in launch.arguments.items() if default is None] == ["camera"]


@launch_files
def test_launch_file_sets_a_transport_that_carries_large_images(file: Path):
    environment = {each.get("name"): each.get("value") for each in LaunchFile(file).root.iter("set_env")}
    assert environment["FASTDDS_BUILTIN_TRANSPORTS"] == "LARGE_DATA"


@pytest.mark.parametrize("file", PARAMETER_FILES, ids=lambda file: file.name)
def test_parameter_file_sets_valid_values_other_than_the_defaults(file: Path):
    content = yaml.safe_load(file.read_text())
    assert list(content) == ["/**"]
    table = table_of(f"{file.stem}_node")
    parameters = content["/**"]["ros__parameters"]
    assert parameters
    for name, value in parameters.items():
        assert table.problem(name, value) == ""
        assert value not in table.defaults(name), f"{name} is {value} by default"


@pytest.mark.parametrize("file", RVIZ_FILES, ids=lambda file: file.name)
def test_rviz_configuration_shows_topics_of_the_node_with_their_type(file: Path):
    """The launch file that opens the configuration remaps every topic, so any namespace works."""
    displays = yaml.safe_load(file.read_text())["Visualization Manager"]["Displays"]
    types = {each["Topic"]["Value"]: each["Class"].split("/")[1] for each in displays if "Topic" in each}
    launch = LaunchFile(ROOT / f"launch/{file.stem}.launch.xml")
    (rviz,) = (node for node in launch.root.iter("node") if node.get("pkg") == "rviz2")
    assert {remap.get("from") for remap in rviz.iter("remap")} == set(types)
    (node,) = launch.nodes
    table = table_of(node.get("exec"))
    for topic, display_type in types.items():
        assert display_type in DISPLAY_TYPES
        if topic != "/camera/image_raw":  # of the camera driver
            assert table.published(topic.removeprefix("/camera/")).type.__name__ == display_type
