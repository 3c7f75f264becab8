"""A copy of a model in another number format."""

from __future__ import annotations

import copy

import torch
from torch import nn


def lowered(model: nn.Module, precision: str) -> nn.Module:
    """`model` computing in `precision`; parts with `keep_float32` stay as they are. A copy, if not float32."""
    if precision == "float32":
        return model
    model = copy.deepcopy(model).to(getattr(torch, precision))
    for part in model.modules():
        if getattr(part, "keep_float32", False):
            part.float()
    return model
