"""Eager PyTorch: needs no compiler; the reference for all other backends, and the slowest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def unavailable(device: str) -> str:
    return ""


def precisions(device: str) -> list[str]:
    """float32 first: it is the reference for the other engines."""
    return ["float32", "float16" if device == "cuda" else "bfloat16"]


def runner(model: nn.Module) -> Callable:
    """The module in inference mode."""
    return torch.inference_mode()(model)
