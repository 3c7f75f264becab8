"""Packaging: package.xml, setup.py, change log, entry points and installed files agree."""

from __future__ import annotations

import importlib
import json
import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest
import setuptools

import depth_ros
from depth_ros.cli.dependencies import OPTIONAL, REQUIRED

ROOT = Path(depth_ros.__file__).resolve().parent.parent
SCRIPTS = (
    "depth_ros", "depth_node", "stereo_depth_node", "object_motion_node", "odometry_node", "perception_node",
    "planes_node", "multi_camera_node",
)  # fmt: skip


@pytest.fixture(scope="module")
def package():
    return ElementTree.parse(ROOT / "package.xml").getroot()


@pytest.fixture(scope="module")
def setup_arguments():
    """The arguments of setuptools.setup() in setup.py, run from another folder as pip may do."""
    captured = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("/")
        patch.setattr(setuptools, "setup", lambda **arguments: captured.update(arguments))
        packages = setuptools.find_packages(ROOT, include=["depth_ros", "depth_ros.*"])
        patch.setattr(setuptools, "find_packages", lambda **_: packages)
        runpy.run_path(str(ROOT / "setup.py"))
    return captured


def entry_points(arguments):
    return dict(line.split(" = ") for line in arguments["entry_points"]["console_scripts"])


def test_name_version_and_licence_agree(package, setup_arguments):
    assert package.findtext("name") == setup_arguments["name"] == "depth_ros"
    assert package.findtext("version") == setup_arguments["version"] == depth_ros.__version__
    assert package.findtext("license") == setup_arguments["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / package.find("license").get("file")).read_text()


def test_change_log_has_an_entry_for_the_version():
    assert f"\n{depth_ros.__version__} (" in (ROOT / "CHANGELOG.rst").read_text()


def test_package_xml_is_an_ament_python_package_with_tests(package):
    assert package.get("format") == "3"
    assert package.findtext("export/build_type") == "ament_python"
    assert package.findall("test_depend")


def test_package_xml_declares_every_imported_ros_package(package):
    sources = [path.read_text() for path in (ROOT / "depth_ros").rglob("*.py")]
    declared = {entry.text for entry in package.findall("exec_depend")}
    imported = set()
    for line in "\n".join(sources).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in ("import", "from"):
            imported.add(words[1].split(".")[0])
    ros = {
        name for name in imported if name.endswith(("_msgs", "_interfaces")) or name in ("rclpy", "cv_bridge")
    }
    assert "rclpy" in ros
    assert ros <= declared


@pytest.mark.parametrize("name", SCRIPTS)
def test_entry_point_of_an_executable_is_callable(name, setup_arguments):
    module, function = entry_points(setup_arguments)[name].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_list_of_executables_is_complete(setup_arguments):
    assert set(entry_points(setup_arguments)) == set(SCRIPTS)


def test_every_package_folder_is_installed(setup_arguments):
    folders = {path.parent for path in (ROOT / "depth_ros").rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(
        setup_arguments["packages"]
    )


def test_shared_files_are_installed(setup_arguments):
    installed = {file: destination for destination, files in setup_arguments["data_files"] for file in files}
    assert installed["resource/depth_ros"] == "share/ament_index/resource_index/packages"
    assert installed["package.xml"] == "share/depth_ros"
    for folder in ("launch", "config", "models"):
        files = [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()]
        for file in files:
            assert installed[str(file)] == f"share/depth_ros/{file.parent}"
    assert "launch/depth.launch.xml" in installed
    for hook in json.loads((ROOT / "colcon.pkg").read_text())["hooks"]:  # `depth_ros` on PATH
        source = ROOT / "resource" / Path(hook).name
        assert f"{installed[str(source.relative_to(ROOT))]}/{source.name}" == hook


def test_extras_are_those_of_the_documentation_and_all_is_their_union(setup_arguments):
    extras = setup_arguments["extras_require"]
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/installation.md").read_text(), re.MULTILINE)
    assert set(rows) == set(extras) >= {"tensorrt", "openvino", "bags", "report", "all"}
    assert set(extras["all"]) == {p for name in extras if "tensorrt" not in name for p in extras[name]}


def test_required_packages_are_those_that_commands_ask_for(setup_arguments):
    """In `depth_ros doctor` and in the messages of executables."""
    required = {re.split(r"[<>=]", requirement)[0] for requirement in setup_arguments["install_requires"]}
    assert set(REQUIRED.values()) == required
    optional = setup_arguments["extras_require"]["all"]
    assert set(OPTIONAL.values()) == {re.split(r"[<>=]", requirement)[0] for requirement in optional}
