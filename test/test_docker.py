"""The Dockerfiles, as far as they can be checked without Docker: files, packages, and the syntax of their commands."""

from __future__ import annotations

import re
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import setuptools

import depth_ros

ROOT = Path(depth_ros.__file__).resolve().parent.parent
FILES = sorted((ROOT / "docker").glob("Dockerfile*"))
INSTRUCTIONS = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "ENV", "ENTRYPOINT", "CMD"}
DISTRIBUTIONS = {"humble", "jazzy", "kilted", "lyrical"}
SYSTEM = {"g++", "python3-dev", "python3-pip", "python3-venv"}
"""Packages of Ubuntu that are not in package.xml: compilers of engines, and how torch is installed."""
UNRESOLVED = {"rviz2"}
"""Keys of package.xml that a container does without."""


def instructions(file: Path) -> Iterator[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, arguments = line.partition(" ")
        yield name, arguments


def of(file: Path, kind: str) -> list[str]:
    return [arguments for name, arguments in instructions(file) if name == kind]


def commands(file: Path) -> list[list[str]]:
    """The commands of all RUN instructions, as words."""
    return [part.split() for run in of(file, "RUN") for part in re.split(r"&&", run)]


def test_there_is_one_for_cpus_and_one_for_nvidia_gpus():
    assert [file.name for file in FILES] == ["Dockerfile", "Dockerfile.cuda"]
    assert "torch-tensorrt" in FILES[1].read_text() and "whl/cpu" in FILES[0].read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_instructions_are_known_and_the_base_is_an_image_of_ros(file):
    assert {name for name, _ in instructions(file)} <= INSTRUCTIONS
    assert of(file, "ARG")[0].partition("=")[2] in DISTRIBUTIONS
    assert of(file, "FROM") == ["ros:${ROS_DISTRO}-ros-base"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_copied_files_exist_and_are_not_ignored(file):
    ignored = (ROOT / ".dockerignore").read_text().split()
    for arguments in of(file, "COPY"):
        *sources, _ = arguments.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] not in ignored
    for profile in re.findall(r"share/depth_ros/(\S+)", " ".join(of(file, "ENV"))):
        assert (ROOT / profile).is_file()
    for name in ("depth_ros", "launch", "config", "models", "package.xml", "setup.py", "docker", "resource"):
        assert name not in ignored


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_commands_have_the_syntax_of_the_shell(file):
    for run in of(file, "RUN"):
        subprocess.run(["sh", "-n", "-c", run], check=True)
    entry = re.search(r'\["/ws/src/depth_ros/(.*)"\]', of(file, "ENTRYPOINT")[0])
    assert entry and (ROOT / entry.group(1)).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / entry.group(1))], check=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_packages_are_those_of_package_xml_and_setup_py(file):
    arguments = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(setuptools, "setup", lambda **given: arguments.update(given))
        runpy.run_path(str(ROOT / "setup.py"))
    requirements = [
        *arguments["install_requires"],
        *(name for extra in arguments["extras_require"].values() for name in extra),
    ]
    declared = {re.split(r"[<>=; ]", requirement)[0] for requirement in requirements}
    keys = {entry.text for entry in ElementTree.parse(ROOT / "package.xml").getroot().findall("exec_depend")}
    for command in commands(file):
        if "install" not in command or command[0] not in ("apt-get", ".venv/bin/pip", "rosdep"):
            continue
        if command[0] == "rosdep":
            assert set(command[command.index("--skip-keys") + 1 :]) <= UNRESOLVED & keys
            continue
        options = {"-c": 1, "--index-url": 1, "--extra-index-url": 1}
        words = iter(command[command.index("install") + 1 :])
        packages = []
        for word in words:
            if word in options:
                next(words)
            elif not word.startswith("-"):
                packages.append(word)
        assert packages and set(packages) <= (SYSTEM if command[0] == "apt-get" else declared), command
