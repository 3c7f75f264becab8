"""Operators of ONNX that compute each element alone, and reductions, in torch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from depth_ros.networks.blocks.onnx.node import DTYPES, Function, Node


def elementwise(function: Callable) -> Callable[[Node], Function]:
    return lambda node: function


def div(a: Tensor, b: Tensor) -> Tensor:
    if not (a.is_floating_point() or b.is_floating_point()):
        return torch.div(a, b, rounding_mode="trunc")
    return a / b


def variadic(function: Callable) -> Callable[[Node], Function]:
    return lambda node: lambda *x: functools.reduce(function, x)


def clip(node: Node) -> Function:
    low, high = node.values(1, "min"), node.values(2, "max")
    return lambda x, *_: x if low is None and high is None else x.clamp(low, high)


def cast(node: Node) -> Function:
    dtype = DTYPES[node.get("to")]
    return lambda x: x if dtype.is_floating_point and x.is_floating_point() else x.to(dtype)


def reduce(function: Callable) -> Callable[[Node], Function]:
    def make(node: Node) -> Function:
        axes, keep = node.axes(), bool(node.get("keepdims", 1))
        if not axes and node.get("noop_with_empty_axes", 0):
            return lambda x, *_: x
        return lambda x, *_: function(x, tuple(axes or range(x.ndim)), keepdim=keep)

    return make


def prod(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def arg(function: Callable) -> Callable[[Node], Function]:
    def make(node: Node) -> Function:
        axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
        return lambda x: function(x, axis, keep)

    return make


def cumsum(node: Node) -> Function:
    axis = node.values(1)
    axis = axis[0] if isinstance(axis, list) else axis
    exclusive, backwards = node.get("exclusive", 0), node.get("reverse", 0)

    def function(x: Tensor, *_: Any) -> Tensor:
        x = x.flip(axis) if backwards else x
        total = x.cumsum(axis) - x if exclusive else x.cumsum(axis)
        return total.flip(axis) if backwards else total

    return function


def mod(node: Node) -> Function:
    return torch.fmod if node.get("fmod", 0) else torch.remainder


def alpha(function: Callable, name: str, default: float) -> Callable[[Node], Function]:
    def make(node: Node) -> Function:
        value = node.get(name, default)
        return lambda x: function(x, value)

    return make


def gelu(node: Node) -> Function:
    approximate = node.get("approximate", "none")
    return lambda x: F.gelu(x, approximate=approximate)


def hard_sigmoid(node: Node) -> Function:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    return lambda x: (alpha * x + beta).clamp(0, 1)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x >= 0, x, slope * x)


def where(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(mask.bool(), a, b)


def identity(x: Tensor, *_: Any) -> Tensor:
    return x


def thresholded_relu(x: Tensor, threshold: float) -> Tensor:
    return torch.where(x > threshold, x, 0.0)


def log_sum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.sum(axes, keepdim=keepdim).log()


def sum_squares(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.square().sum(axes, keepdim=keepdim)


def l1(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.abs().sum(axes, keepdim=keepdim)


def l2(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.square().sum(axes, keepdim=keepdim).sqrt()
