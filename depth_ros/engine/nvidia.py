"""NVIDIA's libraries and GPUs: the versions that decide a TensorRT engine, without importing TensorRT if possible."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import platform
import re
from pathlib import Path

MISSING = "none"
DRIVER_FILES = (Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release"))
"""The driver's version on a desktop, and the release of Jetson Linux, which contains the driver."""


def installed_version(*distributions: str) -> str:
    """The version of the first of these distributions that is installed, or "none"."""
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return MISSING


def torch_tensorrt_version() -> str:
    return installed_version("torch_tensorrt", "torch_tensorrt_rtx")


def tensorrt_version() -> str:
    """The version of the TensorRT library: of the package that contains it, else of the module `tensorrt`.

    The packages are named after the major version of CUDA.
    """
    packages = [f"tensorrt_cu{major}{part}" for part in ("_libs", "") for major in _cuda_majors()]
    found = installed_version(*packages, "tensorrt")
    if found == MISSING:  # Debian packages of JetPack may lack metadata
        with contextlib.suppress(Exception):  # a library that does not load raises anything
            return str(importlib.import_module("tensorrt").__version__)
    return found


def tensorrt_rtx_package(part: str) -> str:
    """The installed distribution of TensorRT-RTX, or the one that fits torch. part: `bindings` or `libs`."""
    packages = [f"tensorrt-rtx-cu{major}-{part}" for major in _cuda_majors()]
    return next((each for each in packages if installed_version(each) != MISSING), packages[0])


def _cuda_majors() -> list[str]:
    """Major versions of CUDA in names of packages, that of torch first."""
    import torch

    return sorted(("13", "12"), key=lambda major: major != str(torch.version.cuda).split(".")[0])


def driver_version() -> str:
    """The version of the driver, or "none"."""
    for file in DRIVER_FILES:
        with contextlib.suppress(OSError):
            if number := re.search(r"\d+\.\d+(\.\d+)?|R\d+.*?REVISION: [\d.]+", file.read_text()):
                return number.group()
    return MISSING


def versions(backend: str) -> dict[str, str]:
    """The versions that decide an engine of a backend; none for backends without TensorRT."""
    import torch

    if backend == "torch_tensorrt":
        found = {"torch_tensorrt": torch_tensorrt_version(), "tensorrt": tensorrt_version()}
    elif backend == "tensorrt_rtx":
        packages = (tensorrt_rtx_package("bindings"), tensorrt_rtx_package("libs"), "onnx", "onnxscript")
        found = {package: installed_version(package) for package in packages}
    else:
        return {}
    return {**found, "cuda": str(torch.version.cuda), "driver": driver_version()}


def compute_capability() -> str:
    """The compute capability of the current GPU, e.g. "8.9"; empty if torch finds none."""
    import torch

    return ".".join(map(str, torch.cuda.get_device_capability())) if torch.cuda.is_available() else ""


def gpu_name() -> str:
    """Name, index, compute capability and CUDA version of the current GPU."""
    import torch

    index = torch.cuda.current_device()
    properties = torch.cuda.get_device_properties(index)
    capability = f"sm_{properties.major}{properties.minor}"
    return f"{properties.name} gpu {index} {capability} cuda {torch.version.cuda}"


def shared_memory(device: str) -> int:
    """Bytes of the memory that CPU and GPU of a Jetson share; 0 elsewhere."""
    import torch

    if device != "cuda" or platform.machine() != "aarch64":
        return 0
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return int(properties.total_memory) if getattr(properties, "is_integrated", False) else 0
