"""The optimiser of a training run, and the memory that it works in."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn


class AdamW(torch.optim.AdamW):
    """Fused AdamW (Loshchilov and Hutter 2019) that takes weights in the order in which they lie in memory.

    The fused one copies channels_last weights and gradients back and forth, which for a network of 30 M parameters
    takes longer than the update itself (measured: 70 against 25 ms). It therefore works on views with channels last.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        self.learned = [p for p in parameters if p.requires_grad]
        views = [nn.Parameter(in_memory_order(p.detach())) for p in self.learned]
        super().__init__(views, lr=lr, weight_decay=weight_decay, fused=True)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for parameter, view in zip(self.learned, self.param_groups[0]["params"], strict=True):
            view.grad = None if parameter.grad is None else in_memory_order(parameter.grad)
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.learned:
            parameter.grad = None
        super().zero_grad()


def in_memory_order(tensor: Tensor) -> Tensor:
    """Kernels (out, in, h, w) as (out, h, w, in), without copying; others as they are."""
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def keep_memory() -> None:
    """Let freed memory stay with this process, where the C library is glibc.

    It would give every large tensor back and fetch it anew, page by page, in each step: up to a fifth of the time.
    """
    trim_threshold, mmap_threshold, most = -1, -3, 2**31 - 1
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(trim_threshold, most)
        libc.mallopt(mmap_threshold, most)
