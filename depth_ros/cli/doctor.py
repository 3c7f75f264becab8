"""`depth_ros doctor`: Python packages, engines, ROS, DDS transport, cache and models; what is missing, what to type."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable

import depth_ros
from depth_ros.card import cards, checksum, load_model
from depth_ros.cli.dependencies import (
    DISTRIBUTIONS,
    OPTIONAL,
    REQUIRED,
    advice,
    explain,
    is_missing,
    missing,
    ros_advice,
    version,
)
from depth_ros.cli.doctor_engines import engine_findings
from depth_ros.cli.finding import Finding, imported, imported_in_child
from depth_ros.cli.options import Commands, add_command
from depth_ros.engine.nvidia import MISSING, installed_version
from depth_ros.engine.store import MANIFEST, cache_root
from depth_ros.errors import DepthRosError

MIN_DISK = 1e9
"""Bytes that should be free for engines."""
DISTRIBUTION_NAMES = {"cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
                      "rclpy": ("rclpy", "ros-rclpy", "ros-jazzy-rclpy")}  # fmt: skip


def examine() -> list[Finding]:
    """All findings, from Python to the models. None of them fails because of another one."""
    groups: tuple[Callable[[], list[Finding]], ...] = (
        _python, _packages, engine_findings, _ros, _transport, _cache, _models
    )  # fmt: skip
    found: list[Finding] = []
    for group in groups:
        try:
            found += group()
        except ImportError as error:
            found.append(Finding(False, explain(error), needed=True))
        except (DepthRosError, OSError, RuntimeError) as error:
            found.append(Finding(False, f"{group.__name__.strip('_')}: {error}", needed=True))
    return found


def _python() -> list[Finding]:
    text = f"depth_ros {depth_ros.__version__}, Python {platform.python_version()} ({sys.executable})"
    return [Finding(sys.version_info >= (3, 10), text, "Python 3.10 or newer is required", needed=True)]


def _packages() -> list[Finding]:
    absent = missing(REQUIRED)
    there = [
        f"{module} {_version_of(module, REQUIRED[module])}" for module in REQUIRED if module not in absent
    ]
    found = [Finding(True, f"packages: {', '.join(there)}")] if there else []
    if absent:
        found.append(Finding(False, f"not installed: {', '.join(absent)}", advice(*absent), needed=True))
    for module in ("numpy", "cv2", "scipy"):
        if module not in absent and (problem := imported(module)[1]):
            found.append(
                Finding(False, f"{module} cannot be imported: {problem}", "reinstall it", needed=True)
            )
    if names := [OPTIONAL[module] for module in missing(OPTIONAL)]:
        found.append(
            Finding(False, f"optional packages: no {', '.join(names)}", f"pip install {' '.join(names)}")
        )
    return found


def _version_of(module: str, package: str) -> str:
    number = installed_version(*DISTRIBUTION_NAMES.get(module, ()), package)
    return "" if number == MISSING else number


def _ros() -> list[Finding]:
    if is_missing("rclpy"):
        text = "ROS 2: rclpy is not installed; the command line works, nodes do not"
        return [Finding(False, text, ros_advice())]
    distribution = os.environ.get("ROS_DISTRO", "")
    needed = DISTRIBUTIONS.get(distribution, version())
    if needed != version():
        text = f"ROS 2: {distribution} is built for Python {needed}, this is {version()}"
        return [Finding(False, text, ros_advice(), needed=True)]
    if problem := imported("rclpy")[1]:
        return [Finding(False, f"ROS 2: rclpy cannot be imported: {problem}", ros_advice(), needed=True)]
    from rclpy.utilities import get_rmw_implementation_identifier

    middleware = get_rmw_implementation_identifier()
    where = distribution or "wheels from PyPI"
    return [
        Finding(True, f"ROS 2: {where}, rclpy {_version_of('rclpy', 'rclpy')}, {middleware}"),
        *_ros_packages(),
    ]


def _ros_packages() -> list[Finding]:
    found = []
    numpy_major = installed_version("numpy").partition(".")[0]
    if os.environ.get("ROS_DISTRO") and numpy_major == "2" and sys.version_info < (3, 13):
        text = (
            f"NumPy {installed_version('numpy')}: the packages of this ROS distribution are built for NumPy 1"
        )
        found.append(Finding(False, text, 'pip install "numpy<2"', needed=True))
    for module, purpose in (
        ("cv_bridge", "Bayer and YUV images"),
        ("tf2_ros", "transforms of moving joints"),
    ):
        if is_missing(module):
            package = f"ros-$ROS_DISTRO-{'cv-bridge' if module == 'cv_bridge' else 'tf2-ros-py'}"
            wheels = ", or with ROS 2 from PyPI: pip install cv-bridge" if module == "cv_bridge" else ""
            text = f"{module}: not installed; {purpose} need it"
            found.append(Finding(False, text, f"sudo apt install {package}{wheels}"))
        else:
            problem = imported_in_child(module)[1]  # built for another NumPy, it prints pages
            found.append(Finding(not problem, f"{module}: {problem or 'can be imported'}"))
    return found


def _transport() -> list[Finding]:
    if is_missing("rclpy"):
        return []
    from depth_ros.nodes.transport import transport_problem

    problem, _, remedy = transport_problem().rpartition(": ")
    return [Finding(not problem, f"DDS: {problem or 'the transport carries large images'}", remedy)]


def _cache() -> list[Finding]:
    root = cache_root()
    parent = next(path for path in (root, *root.parents) if path.exists())
    remedy = "set DEPTH_ROS_CACHE to a folder that you may write to"
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        return [Finding(False, f"engines: {root} is not writable ({error.strerror})", remedy, needed=True)]
    engines = len(list(root.glob(f"*/{MANIFEST}")))
    free = shutil.disk_usage(parent).free
    text = f"engines: {engines} in {root}, {free / 1e9:.1f} GB free"
    return [Finding(free > MIN_DISK, text, "" if free > MIN_DISK else remedy)]


def _models() -> list[Finding]:
    if is_missing("yaml"):  # reported among the packages
        return []
    found = []
    for card in cards():
        try:
            if is_missing("torch") or is_missing("safetensors"):
                if not card.weights.is_file() or checksum(card.weights) != card.sha256:
                    raise DepthRosError(f"{card.weights} is missing or damaged: reinstall the package")
            else:
                load_model(card)
            found.append(Finding(True, f"model {card.name}: {card.scale} {card.task}, weights whole"))
        except DepthRosError as error:
            found.append(Finding(False, f"model {card.name}: {error}", needed=True))
    return found or [Finding(False, "models: none found", "set DEPTH_ROS_MODELS or reinstall", needed=True)]


def add_commands(commands: Commands) -> None:
    """doctor."""
    add_command(commands, "doctor", run_doctor, "report what works here, what is missing and what to type")


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print the report. Returns 1 if something that depth_ros needs is missing."""
    findings = examine()
    for finding in findings:
        print(f"[{'ok' if finding.ok else '!!' if finding.needed else '--'}] {finding.text}")
        if finding.advice and not finding.ok:
            print(f"     {finding.advice}")
    broken = sum(finding.needed and not finding.ok for finding in findings)
    print("depth_ros works here" if not broken else f"depth_ros does not work here: see [!!], {broken} above")
    return 1 if broken else 0
