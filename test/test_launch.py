"""Launch files, parameter files and RViz configurations against the tables of topics and parameters of the nodes.

test_launch_arguments.py has the values of their arguments.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml
from launch_files import LAUNCH_FILES, LaunchFile, arguments
from node_tables import NODES, PROCESSES, ROOT, ROS_PARAMETERS, console_scripts, table_of

OTHERS = ("nav2_", "moveit_", "drivers.yaml")
"""Beginnings of the names of files that are no parameter files of our nodes."""
PARAMETER_FILES = sorted(
    file for file in (ROOT / "config").glob("*.yaml") if not file.name.startswith(OTHERS)
)
DISPLAY_TYPES = {"PointCloud2", "Image", "Odometry", "Path", "MarkerArray"}
"""RViz displays named after the message type that they show."""
OUTPUTS = "/camera/depth_ros/"
"""Namespace of the node in RViz configurations."""
COMPLETED = {"launch_file", "arguments", "has_bag"}
"""Launch configurations of arguments.py that are no arguments."""
ARGUMENTS = {
    "driver",
    "camera",
    "namespace",
    "image_transport",
    "rectified",
    "config",
    "bag",
    "use_sim_time",
    "rviz",
}
"""Arguments of every launch file."""

launch_files = pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)


def test_every_executable_has_a_launch_file():
    launched = {LaunchFile(file).node.get("exec") for file in LAUNCH_FILES}
    assert launched == {*NODES, *PROCESSES} == set(console_scripts()) - {"depth_ros"}


@pytest.mark.parametrize("node", NODES)
def test_node_has_topics_in_both_directions_each_listed_once_and_described(node: str):
    topics = table_of(node).topics
    assert {topic.direction for topic in topics} == {"in", "out"}
    assert len({(topic.name, topic.direction) for topic in topics}) == len(topics)
    assert all(topic.description.endswith(".") for topic in topics)


@launch_files
def test_launch_file_starts_an_executable_that_exists(file: Path):
    module, function = console_scripts()[LaunchFile(file).node.get("exec")].split(":")
    assert callable(getattr(importlib.import_module(module), function))


@launch_files
def test_launch_file_remaps_topics_that_its_node_has(file: Path):
    node = LaunchFile(file).node
    sources = {remap.get("from") for remap in node.iter("remap")}
    assert sources and sources <= {topic.name for topic in table_of(node.get("exec")).topics}


@launch_files
def test_launch_file_remaps_every_image_with_its_camera_info(file: Path):
    remaps = {remap.get("from"): remap.get("to") for remap in LaunchFile(file).node.iter("remap")}
    infos = {f"$(var {image})": f"$(var {info})" for image, info in arguments.CAMERA_INFOS.items()}
    for source, target in remaps.items():
        if target in infos:
            folder = source.rpartition("/")[0]
            assert remaps[f"{folder}/camera_info" if folder else "camera_info"] == infos[target]


@launch_files
def test_arguments_that_are_parameters_are_those_of_the_node_and_have_its_defaults(file: Path):
    launch = LaunchFile(file)
    table = table_of(launch.node.get("exec"))
    assert [param.get("from") for param in launch.node.iter("param")] == ["$(var config)", "$(var arguments)"]
    for name in launch.parameters - ROS_PARAMETERS:
        default = launch.arguments[name]
        value = yaml.safe_load(default) if default else ""
        assert table.problem(name, value) == ""
        assert value in table.defaults(name), name


@launch_files
def test_launch_file_refers_to_variables_and_files_that_exist(file: Path):
    launch = LaunchFile(file)
    attributes = " ".join(launch.attributes())
    assert set(re.findall(r"\$\(var (\w+)\)", attributes)) <= {*launch.arguments, *COMPLETED}
    for path in re.findall(r"\$\(find-pkg-share depth_ros\)/([\w./]+)", attributes):
        assert (ROOT / path).is_file(), path
    for path in re.findall(r"\$\(dirname\)/([\w./]+)", attributes):
        assert (ROOT / "launch" / path).is_file(), path


@launch_files
def test_launch_file_uses_all_its_arguments_and_describes_them(file: Path):
    launch = LaunchFile(file)
    attributes = " ".join(launch.attributes())
    used_by_all = launch.parameters | {"driver", "camera"}
    assert all(f"$(var {name})" in attributes for name in set(launch.arguments) - used_by_all)
    assert all(each.get("description") for each in launch.root.iter("arg"))
    assert None not in launch.arguments.values()
    assert set(launch.arguments) > ARGUMENTS


@launch_files
def test_launch_file_completes_its_arguments_before_it_uses_them(file: Path):
    (group,) = (element for element in LaunchFile(file).root if element.tag != "arg")
    assert (group.tag, [element.tag for element in group][:2]) == ("group", ["let", "include"])
    assert group[0].attrib == {"name": "launch_file", "value": "$(filename)"}
    assert group[1].get("file") == "$(dirname)/arguments.py"


@launch_files
def test_configuration_file_is_the_one_that_is_described(file: Path):
    (argument,) = LaunchFile(file).root.iterfind("arg[@name='config']")
    default = ROOT / "config" / file.name.replace(".launch.xml", ".yaml")
    named = re.findall(r"config/\w+\.yaml", argument.get("description"))
    assert named == ([f"config/{default.name}"] if default.is_file() else [])


def test_readme_and_documentation_name_arguments_that_exist():
    """Words such as `image_transport:=compressed`; those of other packages' commands are left out."""
    existing = {name for file in LAUNCH_FILES for name in LaunchFile(file).arguments}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for line in page.read_text().splitlines():
            if re.search(r"--ros-args|ros2 (run|bag)|ros2 launch (?!depth_ros)", line):
                continue
            named = set(re.findall(r"(?<![-\w.~/])([a-z]\w+):=", line)) - {"qos_overrides"}
            assert named <= existing, f"{page.name}: {line}"


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


@launch_files
def test_rviz_configuration_shows_topics_of_the_node_with_their_type(file: Path):
    """The launch file remaps every topic of its RViz configuration, so any namespace works."""
    launch = LaunchFile(file)
    (config,) = re.findall(r"config/\w+\.rviz", launch.rviz.get("args"))
    displays = yaml.safe_load((ROOT / config).read_text())["Visualization Manager"]["Displays"]
    types = {each["Topic"]["Value"]: each["Class"].split("/")[1] for each in displays if "Topic" in each}
    remaps = {remap.get("from"): remap.get("to") for remap in launch.rviz.iter("remap")}
    assert set(remaps) == set(types)
    topics = {topic.name: topic for topic in table_of(launch.node.get("exec")).topics}
    inputs = {remap.get("to"): remap.get("from") for remap in launch.node.iter("remap")}
    for topic, display_type in types.items():
        assert display_type in DISPLAY_TYPES
        target = inputs.get(remaps[topic], remaps[topic])
        assert topics[target].type.__name__ == display_type
        if topic.startswith(OUTPUTS):
            assert topic.removeprefix(OUTPUTS) == target
