"""Conversion of a model and its inputs to another precision."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def lowered(model: nn.Module, precision: str, inputs: tuple[Tensor, ...]) -> nn.Module:
    """A copy of `model` that computes in `precision`, except parts with `keep_float32`; the model itself for float32.

    int8: a float32 program for inputs of these shapes with fake quantisation, for a compiler to convert.
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


def without_uint8(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The inputs, on their device, with uint8 tensors converted to float32, which holds their values exactly."""
    return tuple(tensor.float() if tensor.dtype == torch.uint8 else tensor for tensor in inputs)
