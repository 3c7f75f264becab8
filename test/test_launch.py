"""Every launch and configuration file against the executables, parameters and topics that exist. No ROS."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from depth_ros.config import settings_from

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.xml"))
CONSUMERS = ("nav2_", "moveit_")
"""Configurations of other packages, see test_consumers.py."""
PARAMETER_FILES = sorted(f for f in (ROOT / "config").glob("*.yaml") if not f.name.startswith(CONSUMERS))
RVIZ_FILES = sorted((ROOT / "config").glob("*.rviz"))
OF_ROS = {"use_sim_time"}
SUBSCRIBED = r'create_subscription\(\s*\w+, "([\w/]+)"'


def executables() -> set[str]:
    return set(re.findall(r'"(\w+) = depth_ros\.', (ROOT / "setup.py").read_text()))


def settings_of(executable: str) -> dict[str, object]:
    """{parameter: default} of a node: the fields of the settings dataclasses that its file declares.

    Read from the source, because importing the node takes ROS.
    """
    if parts := parts_of(executable):
        return {name: value for part in parts for name, value in settings_of(part).items()}
    tree = ast.parse((ROOT / f"depth_ros/nodes/{executable}.py").read_text())
    call = next(n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "Parameters")
    found: dict[str, object] = {}
    for name in (ast.unparse(argument) for argument in call.args[1:]):
        found |= defaults(tree, name)
    return found


def parts_of(executable: str) -> list[str]:
    """The nodes that an executable runs in its process, where it is none itself."""
    source = (ROOT / f"depth_ros/nodes/{executable}.py").read_text()
    return re.findall(r"from depth_ros\.nodes\.(\w+_node) import", source)


def defaults(tree: ast.Module, name: str) -> dict[str, object]:
    """{field: default} of the settings dataclass `name`, which the module defines or imports."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            fields = (entry for entry in node.body if isinstance(entry, ast.AnnAssign))
            return {ast.unparse(f.target): value_of(tree, f.value.args[0]) for f in fields}
        if imports(node, name):
            return defaults(module_of(node), name)
    raise AssertionError(f"no settings dataclass {name}")


def value_of(tree: ast.Module, expression: ast.expr) -> object:
    """Of a literal, or of a constant that the module defines or imports."""
    if not isinstance(expression, ast.Name):
        return ast.literal_eval(expression)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == expression.id:
            return value_of(tree, node.value)
        if imports(node, expression.id):
            return value_of(module_of(node), expression)
    raise AssertionError(f"no constant {expression.id}")


def imports(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}


def module_of(node: ast.ImportFrom) -> ast.Module:
    folder = ROOT / node.module.replace(".", "/")
    return ast.parse((folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")).read_text())


def topics_of(executable: str) -> set[str]:
    """Relative topic names in the source of a node and of what it imports from the room."""
    if parts := parts_of(executable):
        return set().union(*map(topics_of, parts))
    files = [
        ROOT / f"depth_ros/nodes/{name}.py"
        for name in (executable, "camera_input", "rgbd_input", "imu_input", "odom_input")
    ]
    own, camera, rgbd, imu, odom = (file.read_text() for file in files)
    info = re.findall(r'resolve_topic_name\(below \+ "([\w/]+)"', camera)
    received = {*info, *re.findall(r'image: str = "(\w+)"', camera)}
    if "StereoInput" in own:
        received = {f"{eye}/{topic}" for eye in ("left", "right") for topic in received}
    if "RgbdInput" in own:
        ((below, image),) = re.findall(r'complain, "(\w+)", "(\w+)"', rgbd)
        received |= {f"{below}/{topic}" for topic in (image, *info)}
        received |= set(re.findall(r'resolve_topic_name\("(\w+)"', imu))
    if "BaseOdometry" in own:
        own += "".join(
            (ROOT / f"depth_ros/nodes/{name}.py").read_text() for name in ("scale_input", "set_pose")
        )
    received |= set(re.findall(SUBSCRIBED, own)) | set(re.findall(r'complain, "(\w+)"\)', own))
    if "self._work, complain)" in own:
        received |= set(re.findall(r'topic: str = "(\w+)"', odom))
    return received | set(re.findall(r'_advertise\(\w+, "([\w/]+)"', own))


def test_there_is_something_to_check():
    assert LAUNCH_FILES and PARAMETER_FILES and RVIZ_FILES
    assert {"model", "backend", "point_stride"} <= set(settings_of("depth_node"))
    assert topics_of("depth_node") == {
        "image",
        "camera_info",
        "depth/image_rect",
        "depth/camera_info",
        "points",
    }


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda f: f.name)
def test_launch_file(file: Path):
    root = ElementTree.parse(file).getroot()
    arguments = {argument.get("name"): argument for argument in root.iter("arg")}
    names = set(arguments) | {let.get("name") for let in root.iter("let")}
    assert set(re.findall(r"\$\(var (\w+)\)", file.read_text())) <= names
    assert all(argument.get("description") for argument in arguments.values())
    for path in re.findall(r"\$\(find-pkg-share depth_ros\)/([\w./]+)", file.read_text()):
        assert (ROOT / path).is_file(), path
    environment = {entry.get("name"): entry.get("value") for entry in root.iter("set_env")}
    assert environment["FASTDDS_BUILTIN_TRANSPORTS"] == "LARGE_DATA"
    ours = [node for node in root.iter("node") if node.get("pkg") == "depth_ros"]
    assert ours
    for node in ours:
        assert node.get("exec") in executables()
        check_node(node, arguments)


def check_node(node: ElementTree.Element, arguments: dict[str, ElementTree.Element]) -> None:
    """Parameters and remappings of a node exist; an argument that is passed on repeats the node's default."""
    settings, topics = settings_of(node.get("exec")), topics_of(node.get("exec"))
    for parameter in node.iter("param"):
        name = parameter.get("name")
        if name is None or name in OF_ROS:
            continue
        assert name in settings
        if parameter.get("value") == f"$(var {name})" and name in arguments:
            assert arguments[name].get("default") == str(settings[name])
    assert {remap.get("from") for remap in node.iter("remap")} <= topics


def test_topics_of_an_rgbd_node():
    wanted = {
        "image",
        "camera_info",
        "depth/image_rect",
        "depth/camera_info",
        "imu",
        "set_pose",
        "wheel_odom",
    }
    assert wanted | {"odom", "odom_up_to_scale", "path", "/tf"} <= topics_of("odometry_node")


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda f: f.name)
def test_launch_needs_one_argument(file: Path):
    root = ElementTree.parse(file).getroot()
    assert [a.get("name") for a in root.iter("arg") if a.get("default") is None] == ["camera"]


@pytest.mark.parametrize("file", PARAMETER_FILES, ids=lambda f: f.name)
def test_parameter_file_holds_allowed_values_that_are_no_defaults(file: Path):
    content = yaml.safe_load(file.read_text())
    assert list(content) == ["/**"]
    given = content["/**"]["ros__parameters"]
    known = settings_of(f"{file.stem}_node")
    for name, value in given.items():
        assert name in known, f"{file.name}: no parameter {name}"
        assert type(value) is type(known[name]) and value != known[name]


@pytest.mark.parametrize("file", PARAMETER_FILES, ids=lambda f: f.name)
def test_parameter_file_is_accepted_by_the_node(file: Path):
    pytest.importorskip("rclpy")
    module = importlib.import_module(f"depth_ros.nodes.{file.stem}_node")
    kind = getattr(module, "".join(map(str.title, file.stem.split("_"))) + "NodeSettings")
    given = yaml.safe_load(file.read_text())["/**"]["ros__parameters"]
    assert settings_from(kind, given, file.name) != kind()


@pytest.mark.parametrize("file", RVIZ_FILES, ids=lambda f: f.name)
def test_rviz_topics_are_those_of_the_camera_or_the_node(file: Path):
    """Every topic is remapped by the launch file that opens the configuration, so any namespace works."""
    topics = {
        d["Topic"]["Value"]
        for d in yaml.safe_load(file.read_text())["Visualization Manager"]["Displays"]
        if "Topic" in d
    }
    launch = ElementTree.parse(ROOT / f"launch/{file.stem}.launch.xml").getroot()
    (rviz,) = (node for node in launch.iter("node") if node.get("pkg") == "rviz2")
    assert {remap.get("from") for remap in rviz.iter("remap")} == topics
    (executable,) = (node.get("exec") for node in launch.iter("node") if node.get("pkg") == "depth_ros")
    ours = {f"/camera/{topic}" for topic in topics_of(executable)} | {"/camera/image_raw"}
    assert topics <= ours
