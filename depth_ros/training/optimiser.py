"""The optimiser of a training run, and the memory allocation that suits it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from contextlib import suppress

import torch
from torch import Tensor, nn


class AdamW(torch.optim.AdamW):
    """Fused AdamW (Loshchilov and Hutter 2019) that works on weights in their memory order.

    The fused implementation copies channels_last weights and gradients to contiguous ones and back, which for a
    network of 30 M parameters takes longer than the update itself (measured: 70 ms against 25 ms). This class gives
    it contiguous views with channels last.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        self.trained = [p for p in parameters if p.requires_grad]
        views = [nn.Parameter(in_memory_order(p.detach())) for p in self.trained]
        super().__init__(views, lr=lr, weight_decay=weight_decay, fused=True)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        for parameter, view in zip(self.trained, self.param_groups[0]["params"], strict=True):
            view.grad = None if parameter.grad is None else in_memory_order(parameter.grad)
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.trained:
            parameter.grad = None
        super().zero_grad()


def in_memory_order(tensor: Tensor) -> Tensor:
    """A view of convolution weights (out, in, h, w) as (out, h, w, in); other tensors unchanged."""
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def keep_freed_memory() -> None:
    """Make glibc keep freed memory in this process instead of returning it to the system.

    Otherwise every large tensor is returned and allocated again, page by page, in each step: up to a fifth of the time.
    Does nothing with another C library.
    """
    trim_threshold, mmap_threshold, unlimited = -1, -3, 2**31 - 1
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(trim_threshold, unlimited)
        libc.mallopt(mmap_threshold, unlimited)
