"""`depth_ros doctor`: the installed backends, ROS, DDS transport and models; what is missing and what to type."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from dataclasses import dataclass

from depth_ros.card import cards, load_model
from depth_ros.cli.options import Commands, add_command
from depth_ros.engine import BACKENDS, backend, pick_device
from depth_ros.engine.store import MANIFEST, cache_root
from depth_ros.errors import DepthRosError

LARGE_DATA = "export FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA"


@dataclass(frozen=True)
class Finding:
    """One line of the report. needed: depth_ros does not work without it."""

    ok: bool
    text: str
    advice: str = ""
    needed: bool = False


def examine() -> list[Finding]:
    """All findings, from the machine to the models."""
    return [_machine(), *_backends(), _ros(), _transport(), _cache(), *_models()]


def _machine() -> Finding:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    text = f"Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} x {capability}, {gpu}"
    return Finding(sys.version_info >= (3, 10), text, needed=True)


def _backends() -> list[Finding]:
    device = pick_device("auto")
    findings = []
    for name in BACKENDS:
        module = backend(name)
        missing = module.unavailable(device)
        text = f"backend {name}: {missing or ', '.join(module.precisions(device))}"
        findings.append(Finding(not missing, text, needed=name == "eager"))
    return findings


def _ros() -> Finding:
    distribution = os.environ.get("ROS_DISTRO", "")
    if importlib.util.find_spec("rclpy") is None:
        advice = "source /opt/ros/<distribution>/setup.bash, or `make setup` for ROS 2 from PyPI"
        return Finding(
            False, "ROS 2: rclpy cannot be imported; replay, evaluate and train work without", advice
        )
    from rclpy.utilities import get_rmw_implementation_identifier

    version = "".join(
        importlib.metadata.version(name)
        for name in ("rclpy", "ros-rclpy", "ros-jazzy-rclpy")
        if _installed(name)
    )
    where = distribution or "wheels from PyPI"
    return Finding(True, f"ROS 2: {where}, rclpy {version}, {get_rmw_implementation_identifier()}")


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _transport() -> Finding:
    if importlib.util.find_spec("rclpy") is None:
        return Finding(False, "DDS: no ROS 2, no transport")
    from rclpy.utilities import get_rmw_implementation_identifier

    implementation = get_rmw_implementation_identifier()
    if implementation != "rmw_fastrtps_cpp":
        return Finding(True, f"DDS: {implementation} (the large-image check knows Fast DDS only)")
    chosen = os.environ.get("FASTDDS_BUILTIN_TRANSPORTS", "")
    if chosen.startswith("LARGE_DATA") or os.environ.get("FASTRTPS_DEFAULT_PROFILES_FILE"):
        return Finding(True, f"DDS: {chosen or 'own profile'} carries large images")
    text = "DDS: the default transports lose most images above 0.5 MB; depth.launch.xml sets a better one"
    return Finding(False, text, LARGE_DATA)


def _cache() -> Finding:
    root = cache_root()
    writable = os.access(next(p for p in (root, *root.parents) if p.exists()), os.W_OK)
    engines = len(list(root.glob(f"*/{MANIFEST}")))
    advice = "" if writable else "set DEPTH_ROS_CACHE to a folder you may write to"
    return Finding(writable, f"engines: {engines} in {root}", advice, needed=True)


def _models() -> list[Finding]:
    findings = []
    for card in cards():
        try:
            load_model(card)
            findings.append(Finding(True, f"model {card.name}: {card.scale} {card.task}, weights whole"))
        except DepthRosError as error:
            findings.append(Finding(False, f"model {card.name}: {error}", needed=True))
    return findings or [
        Finding(False, "models: none found", "set DEPTH_ROS_MODELS or reinstall", needed=True)
    ]


def add_commands(commands: Commands) -> None:
    """doctor."""
    add_command(commands, "doctor", run_doctor, "report what works here, what is missing and what to type")


def run_doctor(arguments: argparse.Namespace) -> int:
    findings = examine()
    for finding in findings:
        print(f"[{'ok' if finding.ok else '--'}] {finding.text}")
        if finding.advice:
            print(f"     {finding.advice}")
    return 0 if all(finding.ok or not finding.needed for finding in findings) else 1
