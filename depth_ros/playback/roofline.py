"""Roofline of a device (Williams et al., CACM 2009): the shortest time in which it could run a network.

Each convolution or matrix product takes as long as its operations at the measured peak, or as long as reading its
operands from memory and writing its result, whichever is longer; everything else counts as fused. The peak is that of
a large matrix product and of a large copy. Feature maps that stay in the cache make a network faster than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
MATRIX = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the matrices that are multiplied."""
COPIED = {"cpu": 1 << 26, "cuda": 1 << 28}
"""Bytes; more than the caches hold."""
REPEATED, BEST_OF = 3, 5


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product. operations: additions and multiplications. values: in operands and result."""

    operations: int
    values: int


@dataclass(frozen=True)
class Peak:
    """Measured limits of a device. operations: a second, by precision. bandwidth: bytes read and written a second."""

    operations: dict[str, float]
    bandwidth: float


@dataclass(frozen=True)
class Roofline:
    """A network on a device."""

    layers: list[Layer]
    peak: Peak

    def shortest(self, precision: str) -> float | None:
        """Seconds of the network in one precision; None if its peak is unknown."""
        if precision not in self.peak.operations:
            return None
        peak, size = self.peak.operations[precision], BYTES[precision]
        return sum(max(x.operations / peak, x.values * size / self.peak.bandwidth) for x in self.layers)

    def summary(self) -> dict[str, Any]:
        """For reports."""
        return {
            "gflop": sum(layer.operations for layer in self.layers) / 1e9,
            "million_values": sum(layer.values for layer in self.layers) / 1e6,
            "tflop_per_s": {name: value / 1e12 for name, value in self.peak.operations.items()},
            "gb_per_s": self.peak.bandwidth / 1e9,
        }


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.layers: list[Layer] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            operations = count(*args, **(kwargs or {}), out_val=result)
            values = sum(x.numel() for x in (*args, result) if isinstance(x, Tensor))
            self.layers.append(Layer(operations, values))
        return result


@torch.no_grad()
def layers_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Layer]:
    """The convolutions and matrix products of a network, in the order in which they run."""
    with _Recorder() as recorder:
        model(*inputs)
    return recorder.layers


@torch.no_grad()
def measure(device: str, precisions: set[str]) -> Peak:
    """Measure a device. A precision in which torch has no matrix product there is left out."""
    found = {}
    for precision in sorted(precisions):
        try:
            found[precision] = _operations(device, precision)
        except (RuntimeError, AttributeError):  # no such kernel
            continue
    if "int8" in found:
        found["int8"] = max(found.values())  # at worst it computes in more bits
    source = torch.ones(COPIED[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Peak(found, 2 * COPIED[device] / seconds(lambda: target.copy_(source), device))


def _operations(device: str, precision: str) -> float:
    n = MATRIX[device]
    dtype = getattr(torch, precision)
    a, b = (torch.ones(n, n, device=device).to(dtype) for _ in range(2))
    multiply = torch._int_mm if precision == "int8" else torch.mm
    before = torch.get_float32_matmul_precision()
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, which convolutions use by default
    try:
        return 2 * n**3 / seconds(lambda: multiply(a, b), device)
    finally:
        torch.set_float32_matmul_precision(before)


def seconds(work: Callable[[], object], device: str) -> float:
    """Seconds of one call, the best of several series."""
    taken = []
    for _ in range(BEST_OF):
        start = time.perf_counter()
        for _ in range(REPEATED):
            work()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append((time.perf_counter() - start) / REPEATED)
    return min(taken)
