"""Torch-TensorRT, for NVIDIA GPUs and Jetson. Optional: pip install torch-tensorrt.

An engine is built on the machine that runs it: it fits one GPU and one TensorRT version. Its precision is that of the
parameters (strong typing); it accumulates in float32 where the installed version offers that.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

FILE = "engine.ep"


def unavailable(device: str) -> str:
    if device != "cuda":
        return "it needs an NVIDIA GPU"
    if importlib.util.find_spec("torch_tensorrt") is None:
        return "not installed: pip install torch-tensorrt"
    return ""


def precisions(device: str) -> list[str]:
    return ["float16", "float32"]


def build(model: nn.Module, inputs: tuple, folder: Path) -> None:
    """Compile `model` for exactly these input shapes into folder/engine.ep."""
    import torch_tensorrt
    from torch_tensorrt.dynamo import CompilationSettings

    preferred = {
        "use_explicit_typing": True,
        "use_fp32_acc": True,
        "min_block_size": 1,
        "timing_cache_path": str(folder.parent / "timing_cache.bin"),  # the default lies in /tmp
    }
    known = {field.name for field in dataclasses.fields(CompilationSettings)}  # differ between versions
    options = {key: value for key, value in preferred.items() if key in known}
    with torch.no_grad():
        program = torch.export.export(model, inputs)
        compiled = torch_tensorrt.dynamo.compile(program, arg_inputs=inputs, **options)
        torch_tensorrt.save(compiled, str(folder / FILE), arg_inputs=list(inputs))


def load(folder: Path, device: str) -> Callable:
    import torch_tensorrt

    return torch_tensorrt.load(str(folder / FILE)).module()
