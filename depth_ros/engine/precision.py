"""Conversion of a model and its inputs to another precision."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def lowered(model: nn.Module, precision: str, inputs: tuple[Tensor, ...], backend: str = "") -> nn.Module:
    """A copy of `model` that computes in `precision`, except parts with `keep_float32`; the model itself for float32.

    int8: a program for inputs of these shapes with fake quantisation, for the compiler `backend` to convert. OpenVINO
    takes a float32 program and chooses the precision of what is not quantised; others take it in float16.
    """
    if precision == "float32":
        return model
    if precision == "int8":
        from depth_ros.engine.fake_quantisation import SIGNED, UNSIGNED
        from depth_ros.engine.int8 import quantised

        if backend == "openvino":
            return quantised(model, inputs, UNSIGNED)
        return quantised(lowered(model, "float16", inputs), inputs, SIGNED)
    model = copy.deepcopy(model).to(getattr(torch, precision))
    for part in model.modules():
        if getattr(part, "keep_float32", False):
            part.float()
    return model


def without_uint8(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The inputs, on their device, with uint8 tensors converted to float32, which holds their values exactly."""
    return tuple(tensor.float() if tensor.dtype == torch.uint8 else tensor for tensor in inputs)
