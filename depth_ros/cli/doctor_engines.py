"""What `depth_ros doctor` reports of torch, the GPU, and the compilers of engines."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from depth_ros.cli.dependencies import GUIDE, is_missing
from depth_ros.cli.finding import Finding, imported, imported_in_child
from depth_ros.engine import nvidia
from depth_ros.engine.backends import BACKENDS, backend, pick_device

MIN_TORCH = (2, 6)
JETSON = Path("/etc/nv_tegra_release")


def engine_findings() -> list[Finding]:
    """torch, NVIDIA's libraries, compilers and backends. Empty without torch, which is reported elsewhere."""
    if is_missing("torch"):
        return []
    version, problem = imported("torch")
    if problem:
        remedy = f"a Jetson takes NVIDIA's build of torch ({GUIDE})" if JETSON.exists() else "reinstall torch"
        return [Finding(False, f"torch cannot be imported: {problem}", remedy, needed=True)]
    device = pick_device("auto")
    return [_torch(version), *_tensorrt(device), *_compilers(device), *_backends(device)]


def _torch(version: str) -> Finding:
    import torch

    build = f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build"
    text = f"torch {version}, {build}, {os.cpu_count()} x {torch.backends.cpu.get_cpu_capability()}"
    driver = nvidia.driver_version()
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_TORCH:
        wanted = ".".join(map(str, MIN_TORCH))
        return Finding(
            False, f"{text}: {wanted} or newer is required", f'pip install "torch>={wanted}"', True
        )
    if torch.cuda.is_available():
        return Finding(True, f"{text}, {nvidia.gpu_name()}, driver {driver}")
    if driver == nvidia.MISSING:
        return Finding(True, f"{text}, no NVIDIA driver")
    if not torch.version.cuda:
        remedy = f"install a CUDA build of torch ({GUIDE})"
        return Finding(False, f"{text}, but there is an NVIDIA driver ({driver})", remedy)
    remedy = (
        f"a driver for CUDA {torch.version.cuda}, or a build of torch for the driver; container: --gpus all"
    )
    return Finding(False, f"{text}, which finds no GPU with driver {driver}", remedy)


def _tensorrt(device: str) -> list[Finding]:
    """TensorRT in its three forms, each where it is installed; Torch-TensorRT also where it should be."""
    found = []
    if not is_missing("torch_tensorrt"):
        version, problem = imported_in_child("torch_tensorrt")
        version = version or nvidia.torch_tensorrt_version()
        mismatch = backend("torch_tensorrt").unavailable("cuda")
        text = f"torch_tensorrt {version}, TensorRT {nvidia.tensorrt_version()}"
        if mismatch or problem:
            text += f": {mismatch.partition(': ')[0] or f'its import fails: {problem}'}"
        found.append(Finding(not (problem or mismatch), text, mismatch.partition(": ")[2] or _remedy()))
    elif device == "cuda":
        _, _, command = backend("torch_tensorrt").unavailable("cuda").partition(": ")
        remedy = _remedy() if JETSON.exists() else command
        found.append(Finding(False, "torch_tensorrt: not installed; TensorRT needs it", remedy))
    for module in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        if not is_missing(module):
            version, problem = imported_in_child(module)
            found.append(
                Finding(not problem, f"{module} {version}{problem and f': its import fails: {problem}'}")
            )
    return found


def _remedy() -> str:
    return f"torch, torch-tensorrt and TensorRT have to fit each other: {GUIDE}"


def _compilers(device: str) -> list[Finding]:
    compiler = shutil.which("g++") or shutil.which("clang++")
    found = [Finding(bool(compiler), f"C++ compiler: {compiler or 'none'}", "sudo apt install g++")]
    if device == "cuda":
        version, problem = imported("triton")
        found.append(
            Finding(not problem, f"Triton: {version or problem}", backend("inductor").unavailable("cuda"))
        )
    if not is_missing("openvino"):
        version, problem = imported("openvino")
        found.append(
            Finding(not problem, f"openvino {version}{problem and f': its import fails: {problem}'}")
        )
    return found


def _backends(device: str) -> list[Finding]:
    found = []
    for name in BACKENDS:
        module = backend(name)
        missing = module.unavailable(device)
        text = f"backend {name}: {missing or ', '.join(module.precisions(device))}"
        found.append(Finding(not missing, text, needed=name == "eager"))
    return found
