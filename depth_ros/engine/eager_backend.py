"""PyTorch as it is: needs nothing, always right, slowest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def unavailable(device: str) -> str:
    return ""


def precisions(device: str) -> list[str]:
    """float32 first: eager is what others are compared with."""
    return ["float32", "float16" if device == "cuda" else "bfloat16"]


def runner(model: nn.Module) -> Callable:
    """The module itself, without gradients."""
    return torch.inference_mode()(model)
