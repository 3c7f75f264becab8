"""Torch-TensorRT, for NVIDIA GPUs and Jetson. Optional: pip install "torch-tensorrt==<minor version of torch>.*".

An engine is built on the machine that runs it: it fits one GPU and one TensorRT version. Its precision is that of the
parameters (strong typing); it accumulates in float32 where the installed version offers that. The whole network is one
TensorRT engine, or the build fails. Written for Torch-TensorRT 2.8 (JetPack 6) to 2.14.

No version of Torch-TensorRT's runtime has uint8 tensors: images and labels enter the engine as float32, which holds
their values exactly, and are converted on the GPU.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import importlib.util
import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from depth_ros.engine import nvidia, store
from depth_ros.engine.fake_quantisation import QUANTISED
from depth_ros.engine.precision import without_uint8
from depth_ros.errors import DepthRosError

FILE = "engine.ep"
WORKSPACE_FRACTION = 1 / 8
"""Largest workspace of an engine as a fraction of the memory of a Jetson, which nodes and images share."""


def unavailable(device: str) -> str:
    if device != "cuda":
        return "it needs an NVIDIA GPU"
    command = f'pip install "torch-tensorrt=={_minor(torch.__version__)}.*"'
    if importlib.util.find_spec("torch_tensorrt") is None:
        return f"not installed: {command}"
    version = nvidia.torch_tensorrt_version()
    if version != nvidia.MISSING and _minor(version) != _minor(torch.__version__):
        return f"torch_tensorrt {version} does not fit torch {torch.__version__}: {command}"
    return ""


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def precisions(device: str) -> list[str]:
    """int8 last: nobody has compared its speed with float16 on a GPU yet."""
    return ["float16", "float32", "int8"]


def build(model: nn.Module, inputs: tuple, folder: Path) -> None:
    """Compile `model` for exactly these input shapes into folder/engine.ep.

    Raises DepthRosError with the operators that TensorRT does not have.
    """
    import torch_tensorrt

    device = inputs[0].device.type
    inputs = without_uint8(inputs)
    register_int8()
    with torch.no_grad():
        program = without_assignments(torch.export.export(model, inputs))
        with timing_cache(device) as file:
            compiled = _compile(program, inputs, options(device, file))
        torch_tensorrt.save(compiled, str(folder / FILE), arg_inputs=list(inputs))


def load(folder: Path, device: str) -> Callable:
    import torch_tensorrt

    torch_tensorrt.runtime.set_cudagraphs_mode(True)  # of this process: an engine is launched at once
    module = torch_tensorrt.load(str(folder / FILE)).module()

    def run(*inputs: Tensor) -> Any:
        return module(*without_uint8(inputs))

    return run


def without_assignments(program: ExportedProgram) -> ExportedProgram:
    """The program with assignments to slices as functions. Torch-TensorRT 2.8 fails on those to a whole dimension."""
    if all(node.target is not torch.ops.aten.copy_.default for node in program.graph.nodes):
        return program
    program = program.run_decompositions({})
    for node in list(program.graph.nodes):
        if (
            node.target is torch.ops.aten.slice_scatter.default and len(node.args) == 2
        ):  # the result is the source
            node.replace_all_uses_with(node.args[1])
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return program


def options(device: str, timing_cache_file: Path) -> dict[str, Any]:
    """The options of the compiler that the installed version has."""
    from torch_tensorrt.dynamo import CompilationSettings

    preferred = {
        "require_full_compilation": True,
        "use_explicit_typing": True,
        "use_fp32_acc": True,
        "min_block_size": 1,
        "timing_cache_path": str(timing_cache_file),  # the default lies in /tmp
        "workspace_size": int(nvidia.shared_memory(device) * WORKSPACE_FRACTION),  # 0 = all memory
    }
    known = {field.name for field in dataclasses.fields(CompilationSettings)}
    return {key: value for key, value in preferred.items() if key in known}


@functools.lru_cache(maxsize=1)
def register_int8() -> None:
    """Convert `depth_ros::quantised` to a quantise and a dequantise layer.

    Torch-TensorRT itself knows only the operator of NVIDIA's modelopt: torch's own it decomposes into arithmetic.
    """
    from torch_tensorrt.dynamo.conversion import dynamo_tensorrt_converter, impl

    @dynamo_tensorrt_converter(QUANTISED)
    def convert(context: Any, target: Any, arguments: tuple, options: dict, name: str) -> Any:
        x, steps = arguments
        largest = 127 * torch.tensor(steps)
        shape = (-1, *[1] * (len(x.shape) - 1)) if len(steps) > 1 else ()
        return impl.quantize.quantize(context, target, None, name, x, largest.reshape(shape), 8, 0)


def _compile(program: ExportedProgram, inputs: tuple[Tensor, ...], chosen: dict[str, Any]) -> fx.GraphModule:
    """The program as one engine. Raises DepthRosError with the operators that would run in PyTorch."""
    from torch_tensorrt.dynamo import compile as convert

    try:
        compiled = convert(program, arg_inputs=inputs, **chosen)
    except AssertionError as error:
        if "require_full_compilation" not in str(error):
            raise
        partial = {**chosen, "require_full_compilation": False, "dryrun": True}  # builds no engine
        left = "unknown"
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):  # it prints a report
            left = operators_in_torch(convert(program, arg_inputs=inputs, **partial)) or left
        raise DepthRosError(f"TensorRT does not compile the whole network; operators left: {left}") from error
    if left := operators_in_torch(compiled):  # without any supported operator it returns the program itself
        raise DepthRosError(f"TensorRT does not compile the whole network; operators left: {left}")
    return compiled


def operators_in_torch(compiled: fx.GraphModule) -> str:
    """Operators of a compiled module that PyTorch runs, with their numbers; empty if there are none.

    They are in the graph itself or in submodules named `_run_on_gpu...`; engines are named `_run_on_acc...`.
    """
    graphs = [compiled.graph]
    for name, module in compiled.named_children():
        if "_run_on_gpu" in name and isinstance(module, fx.GraphModule):
            graphs.append(module.graph)
    targets = (node.target for graph in graphs for node in graph.nodes if node.op == "call_function")
    found = Counter(str(target) for target in targets if isinstance(target, torch._ops.OpOverload))
    return ", ".join(f"{count} x {name}" for name, count in sorted(found.items()))


@contextlib.contextmanager
def timing_cache(device: str) -> Iterator[Path]:
    """A copy of the timing cache of this GPU and these versions; it replaces the cache if the build succeeds.

    A build holds the lock of the cache: another one at the same time would disturb what TensorRT measures.
    """
    file = timing_cache_file(device)
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_suffix(".lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        copy = file.with_suffix(".new")
        copy.unlink(missing_ok=True)
        if file.is_file():
            shutil.copy(file, copy)
        yield copy
        if copy.is_file():
            os.replace(copy, file)


def timing_cache_file(device: str) -> Path:
    """The file with measured times of TensorRT's kernels, for all models."""
    versions = (nvidia.torch_tensorrt_version(), nvidia.tensorrt_version(), store.device_name(device))
    name = re.sub(r"[^\w.+-]+", "_", "-".join(versions))
    return store.cache_root() / "tensorrt_timing" / f"{name}.bin"
