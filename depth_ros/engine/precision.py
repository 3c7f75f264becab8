"""A copy of a model in another number format."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def lowered(model: nn.Module, precision: str, inputs: tuple[Tensor, ...]) -> nn.Module:
    """`model` computing in `precision`; parts with `keep_float32` stay as they are. A copy, if not float32.

    int8: a program for inputs of these shapes, rounded in float32 to what integers can hold, for a compiler to see.
    """
    if precision == "float32":
        return model
    if precision == "int8":
        from depth_ros.engine.int8 import quantised

        return quantised(model, inputs)
    model = copy.deepcopy(model).to(getattr(torch, precision))
    for part in model.modules():
        if getattr(part, "keep_float32", False):
            part.float()
    return model
