"""AOTInductor: a shared library made by PyTorch's own compiler, for CPUs (with a C++ compiler) and GPUs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

FILE = "engine.pt2"


def unavailable(device: str) -> str:
    if not hasattr(torch._inductor, "aoti_compile_and_package"):
        return f"torch {torch.__version__} has no AOTInductor packages; 2.6 or newer is needed"
    if not (shutil.which("g++") or shutil.which("clang++")):
        return "no C++ compiler: apt install g++"
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return f'no Triton: pip install "{_triton()}"'
    return ""


def _triton() -> str:
    """The requirement of torch for Triton; the CPU build of torch has none."""
    required = importlib.metadata.requires("torch") or ()
    return next((line.split(";")[0].strip() for line in required if line.startswith("triton")), "triton")


def precisions(device: str) -> list[str]:
    if device == "cuda":
        return ["float16", "float32"]
    return ["bfloat16", "float32"] if torch.cpu._is_avx512_bf16_supported() else ["float32"]


def build(model: nn.Module, inputs: tuple, folder: Path) -> None:
    """Compile `model` for exactly these input shapes into folder/engine.pt2."""
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        program = torch.export.export(model, inputs)
        remove_assertions(program)
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(folder / FILE), inductor_configs={"freezing": True}
        )


def remove_assertions(program: torch.export.ExportedProgram) -> None:
    """Remove assertions of data types: they keep unused results alive, and AOTInductor fails on their convolutions."""
    graph = program.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def load(folder: Path, device: str) -> Callable:
    return torch._inductor.aoti_load_package(str(folder / FILE))
