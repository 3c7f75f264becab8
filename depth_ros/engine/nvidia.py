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

    The packages are named after the major version of CUDA; that of torch's comes first.
    """
    import torch

    majors = sorted(("13", "12"), key=lambda major: major != str(torch.version.cuda).split(".")[0])
    packages = [f"tensorrt_cu{major}{part}" for part in ("_libs", "") for major in majors]
    found = installed_version(*packages, "tensorrt")
    if found == MISSING:  # Debian packages of JetPack may lack metadata
        with contextlib.suppress(Exception):  # a library that does not load raises anything
            return str(importlib.import_module("tensorrt").__version__)
    return found


def driver_version() -> str:
    """The version of the driver, or "none"."""
    for file in DRIVER_FILES:
        with contextlib.suppress(OSError):
            if number := re.search(r"\d+\.\d+(\.\d+)?|R\d+.*?REVISION: [\d.]+", file.read_text()):
                return number.group()
    return MISSING


def versions() -> dict[str, str]:
    """The versions that decide an engine of Torch-TensorRT."""
    import torch

    return {
        "torch_tensorrt": torch_tensorrt_version(),
        "tensorrt": tensorrt_version(),
        "cuda": str(torch.version.cuda),
        "driver": driver_version(),
    }


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
