"""TensorRT-RTX: whether TensorRT's builder accepts a network, on a machine without any GPU.

It stands for TensorRT in `depth_ros compile --check-only` and runs nothing. Optional: pip install
tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs onnx onnxscript. The network goes through ONNX, and the engine is
for a GPU that need not be here.
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
"""What has to be importable, and the packages that bring it."""
TARGET = "SM89"
"""Compute capability of the engine: Ada; of those that TensorRT-RTX builds for (75 to 121), not of a Jetson."""


def unavailable() -> str:
    """Why it cannot be asked here; empty if it can."""
    missing = [package for name, package in MODULES.items() if importlib.util.find_spec(name) is None]
    return f"not installed: pip install {' '.join(missing)}" if missing else ""


def build(program: ExportedProgram) -> int:
    """Bytes of the engine. DepthRosError says what the parser or the builder does not take."""
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
        raise DepthRosError("; ".join(logger.errors) or "the builder gave neither engine nor reason")
    return int(engine.nbytes)


def onnx_file(program: ExportedProgram) -> bytes:
    """The exported program as the content of an ONNX file."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of operators of packages that are not here
    try:
        converted = torch.onnx.export(program, dynamo=True, verbose=False)
    finally:
        log.setLevel(level)
    assert converted is not None
    file = io.BytesIO()
    converted.save(file)  # type: ignore[arg-type]
    return file.getvalue()


def _logger(tensorrt: ModuleType) -> Any:
    """Keeps what the builder complains of; that there is no GPU is no news."""

    class Logger(tensorrt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= tensorrt.ILogger.ERROR and "Cuda Runtime" not in message:
                self.errors.append(message)

    return Logger()
