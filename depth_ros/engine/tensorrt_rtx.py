"""TensorRT-RTX: check that TensorRT's builder accepts a network, on a machine without a GPU.

It stands in for TensorRT in `depth_ros compile --check-only` and runs nothing. Optional: pip install
tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs onnx onnxscript. The network is converted through ONNX.
"""

from __future__ import annotations

import importlib.util
import io
import logging
from types import ModuleType
from typing import Any

import torch
from torch.export import ExportedProgram

from depth_ros.errors import DepthRosError

MODULES = {
    "tensorrt_rtx_bindings": "tensorrt-rtx-cu13-bindings",
    "tensorrt_rtx_libs": "tensorrt-rtx-cu13-libs",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
}
"""Modules that have to be importable, and the packages that provide them."""
TARGET = "SM89"
"""Compute capability of the engine (Ada); TensorRT-RTX builds for SM75 to SM121, but not for a Jetson."""


def unavailable() -> str:
    """Why it cannot be used here; empty if it can."""
    missing = [package for name, package in MODULES.items() if importlib.util.find_spec(name) is None]
    return f"not installed: pip install {' '.join(missing)}" if missing else ""


def build(program: ExportedProgram) -> int:
    """Build an engine and return its size in bytes. Raises DepthRosError with what the parser or builder rejects."""
    import tensorrt_rtx_bindings as tensorrt

    logger = _logger(tensorrt)
    builder = tensorrt.Builder(logger)
    network = builder.create_network()
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(onnx_file(program)):
        raise DepthRosError("; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(tensorrt.ComputeCapability, TARGET), 0)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise DepthRosError("; ".join(logger.errors) or "the builder returned neither an engine nor a reason")
    return int(engine.nbytes)


def onnx_file(program: ExportedProgram) -> bytes:
    """The exported program as the content of an ONNX file."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns about operators of packages that are not installed
    try:
        converted = torch.onnx.export(program, dynamo=True, verbose=False)
    finally:
        log.setLevel(level)
    assert converted is not None
    file = io.BytesIO()
    converted.save(file)  # type: ignore[arg-type]
    return file.getvalue()


def _logger(tensorrt: ModuleType) -> Any:
    """A logger that keeps the builder's errors, except that there is no GPU."""

    class Logger(tensorrt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= tensorrt.ILogger.ERROR and "Cuda Runtime" not in message:
                self.errors.append(message)

    return Logger()
