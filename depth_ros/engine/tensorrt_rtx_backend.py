"""TensorRT-RTX, for desktops with an RTX GPU. Optional: pip install tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs
onnx onnxscript.

The network is converted through ONNX; the types of its tensors are those of the module (strong typing), without uint8.
The engine holds no kernels: they are compiled when it is loaded, and stored in a runtime cache beside it. The builder
also works without a GPU, for a given compute capability.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from depth_ros.engine import nvidia
from depth_ros.engine.precision import without_uint8
from depth_ros.errors import DepthRosError

FILE, KERNELS = "engine.trt", "kernels.bin"
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that TensorRT-RTX builds for: Turing, Ampere, Ada and Blackwell, but no Jetson and no H100."""
WORKSPACE = 2 << 30
"""bytes; largest scratch memory of an engine, a quarter of the memory of a small RTX card."""
TYPES = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
}
"""TensorRT's names of data types."""


def unavailable(device: str) -> str:
    capability = nvidia.compute_capability() if device == "cuda" else ""
    if not capability:
        return "it needs an NVIDIA GPU"
    if capability not in CAPABILITIES:
        supported = ", ".join(CAPABILITIES)
        return f"compute capability {capability} is not supported, only {supported}: use torch_tensorrt"
    return not_installed()


def not_installed() -> str:
    """What has to be installed, with the command; empty if nothing."""
    bindings, libs = (nvidia.tensorrt_rtx_package(part) for part in ("bindings", "libs"))
    modules = {
        "tensorrt_rtx_bindings": bindings,
        "tensorrt_rtx_libs": libs,
        "onnx": "onnx",
        "onnxscript": "onnxscript",
    }
    missing = [package for module, package in modules.items() if importlib.util.find_spec(module) is None]
    if missing:
        return f"not installed: pip install {' '.join(missing)}"
    versions = [nvidia.installed_version(package) for package in (bindings, libs)]
    if versions[0] != versions[1]:
        return f"{bindings} {versions[0]} does not fit {libs} {versions[1]}: pip install {bindings}=={versions[1]}"
    return ""


def precisions(device: str) -> list[str]:
    return ["float16", "float32"]


def build(model: nn.Module, inputs: tuple, folder: Path, capability: str = "") -> None:
    """Build folder/engine.trt for exactly these input shapes, and the current GPU or a compute capability, e.g. "8.9".

    The model is moved to the CPU. Raises DepthRosError with what the parser or the builder rejects.
    """
    inputs = tuple(tensor.cpu() for tensor in without_uint8(inputs))
    with torch.no_grad():
        program = torch.export.export(model.cpu(), inputs)
        (folder / FILE).write_bytes(serialized_engine(onnx_file(program), capability))


def onnx_file(program: ExportedProgram) -> bytes:
    """The program as the content of an ONNX file, with inputs `input_0`, ... and outputs `output_0`, ..."""
    signature = program.graph_signature
    inputs = [f"input_{i}" for i in range(len(signature.user_inputs))]
    outputs = [f"output_{i}" for i in range(len(signature.user_outputs))]
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns about operators of packages that are not installed
    try:
        converted = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=inputs, output_names=outputs
        )
    finally:
        log.setLevel(level)
    assert converted is not None
    file = io.BytesIO()
    converted.save(file)  # type: ignore[arg-type]
    return file.getvalue()


def serialized_engine(onnx: bytes, capability: str = "") -> bytes:
    """The engine of an ONNX file."""
    import tensorrt_rtx_bindings as tensorrt

    logger = _logger()
    logger.errors.clear()
    builder = tensorrt.Builder(logger)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        raise DepthRosError("; ".join(f"{each.node_operator()}: {each.desc()}" for each in errors))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, WORKSPACE)
    if capability:
        config.num_compute_capabilities = 1
        target = getattr(tensorrt.ComputeCapability, f"SM{capability.replace('.', '')}")
        config.set_compute_capability(target, 0)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise DepthRosError(logger.reason(without_gpu=bool(capability)))
    return bytes(engine)


def load(folder: Path, device: str) -> Callable:
    return LoadedEngine(folder, device)


class LoadedEngine:
    """An engine with its execution context, which one thread at a time can use."""

    def __init__(self, folder: Path, device: str) -> None:
        import tensorrt_rtx_bindings as tensorrt

        logger = _logger()
        logger.errors.clear()
        self._runtime = tensorrt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine((folder / FILE).read_bytes())
        if self._engine is None:
            raise DepthRosError(logger.reason())
        self._config = config = self._engine.create_runtime_config()
        self._cache = config.create_runtime_cache()
        self._kernels = folder / KERNELS
        if self._kernels.is_file():
            self._cache.deserialize(self._kernels.read_bytes())  # one that does not fit has no effect
        config.set_runtime_cache(self._cache)
        self._context = self._engine.create_execution_context(config)
        if self._context is None:
            raise DepthRosError(logger.reason())
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        self._inputs, self._outputs = (
            {int(name.removeprefix(kind)): name for name in names if name.startswith(kind)}
            for kind in ("input_", "output_")
        )
        self._device, self._lock = device, threading.Lock()

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Enqueue the engine on the current stream of the GPU. Raises DepthRosError if an input does not fit."""
        converted = [tensor.contiguous() for tensor in without_uint8(inputs)]
        results = [self._empty(name) for _, name in sorted(self._outputs.items())]
        with self._lock:
            for i, name in self._inputs.items():  # an input without effect is not part of the engine
                self._require_fit(name, converted[i])
                self._context.set_tensor_address(name, converted[i].data_ptr())
            for i, name in self._outputs.items():
                self._context.set_tensor_address(name, results[i].data_ptr())
            if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise DepthRosError(_logger().reason())
            if not self._kernels.exists():
                self._kernels.write_bytes(self._cache.serialize())
        return results[0] if len(results) == 1 else tuple(results)

    def _empty(self, name: str) -> Tensor:
        shape, data_type = self._description(name)
        return torch.empty(shape, dtype=data_type, device=self._device)

    def _description(self, name: str) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape and data type of an input or output."""
        data_type = TYPES[self._engine.get_tensor_dtype(name).name]
        return tuple(self._engine.get_tensor_shape(name)), data_type

    def _require_fit(self, name: str, tensor: Tensor) -> None:
        """The engine reads the memory of an input as it is: another shape or type would be read wrongly."""
        shape, data_type = self._description(name)
        found = (tuple(tensor.shape), tensor.dtype, tensor.device.type)
        if found != (shape, data_type, self._device):
            raise DepthRosError(f"{name} is {found}; the engine needs {(shape, data_type, self._device)}")


@functools.cache
def _logger() -> Any:
    """The logger of this process, which keeps errors; TensorRT ignores any other one after the first."""
    import tensorrt_rtx_bindings as tensorrt

    class Logger(tensorrt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= tensorrt.ILogger.ERROR:
                self.errors.append(message)

        def reason(self, without_gpu: bool = False) -> str:
            """The errors in one line. without_gpu: except that there is no GPU."""
            errors = [each for each in self.errors if not (without_gpu and "Cuda Runtime" in each)]
            return "; ".join(errors) or "TensorRT-RTX gives no reason"

    return Logger()
