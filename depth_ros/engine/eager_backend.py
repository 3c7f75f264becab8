"""Eager PyTorch: needs no compiler; the reference for all other backends, and the slowest.

On a GPU its kernels are captured in a CUDA graph, which is launched once per frame instead of once per kernel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from depth_ros.engine.builder import first_line
from depth_ros.engine.image_path import as_sequence

IN_PROCESS = "runs the module as it is"
WARM_UP = 3
"""Runs before the capture, in which libraries choose their kernels and allocate memory."""


def unavailable(device: str) -> str:
    return ""


def precisions(device: str) -> list[str]:
    """float32 first: it is the reference for the other engines."""
    return ["float32", "float16" if device == "cuda" else "bfloat16"]


def runner(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Callable, str]:
    """The module in inference mode, on a GPU as a CUDA graph for inputs of these shapes; and how it runs, in words."""
    module = torch.inference_mode()(model)
    if inputs[0].device.type != "cuda":
        return module, IN_PROCESS
    try:
        return CudaGraph(module, inputs), f"{IN_PROCESS}, in a CUDA graph"
    except Exception as error:  # a capture fails with errors of CUDA, torch or a library
        return module, f"{IN_PROCESS}; no CUDA graph: {first_line(error)}"


class CudaGraph:
    """The kernels of one run of a module, captured; see https://docs.pytorch.org/docs/stable/notes/cuda.html.

    Results are overwritten by the next call, in the order of the stream. Raises RuntimeError if the module cannot be
    captured, e.g. since it reads a value back to the CPU.
    """

    @torch.inference_mode()
    def __init__(self, module: Callable, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(each.clone() for each in inputs)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                module(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # other threads go on using the GPU: eager PyTorch serves images meanwhile
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._results = tuple(as_sequence(module(*self._inputs)))

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for captured, given in zip(self._inputs, inputs, strict=True):
            captured.copy_(given)
        self._graph.replay()
        return self._results
