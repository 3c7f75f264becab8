"""Operators of ONNX that are layers of networks, in torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from depth_ros.networks.blocks.onnx.node import Function, Node


def gemm(node: Node) -> Function:
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    left, right = node.get("transA", 0), node.get("transB", 0)

    def function(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        y = (a.T if left else a) @ (b.T if right else b)
        y = y if alpha == 1.0 else alpha * y
        return y if c is None else y + (c if beta == 1.0 else beta * c)

    return function


def _spatial_pads(node: Node, x: Tensor, kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Pads before and after each spatial axis."""
    rank = x.ndim - 2
    stride, dilation = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
    mode = node.get("auto_pad", "NOTSET")
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        pads = [0] * (2 * rank) if mode == "VALID" else node.get("pads", [0] * (2 * rank))
        return pads[:rank], pads[rank:]
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    sizes = zip(x.shape[2:], stride, extents, strict=True)
    totals = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in sizes]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _padded(x: Tensor, before: list[int], after: list[int], value: float = 0.0) -> tuple[Tensor, list[int]]:
    """The input, padded explicitly where the pads are not symmetric, and the symmetric pads that remain."""
    if before == after:
        return x, before
    flat = [side for pair in reversed(list(zip(before, after, strict=True))) for side in pair]
    return F.pad(x, flat, value=value), [0] * len(before)


def conv(node: Node) -> Function:
    def function(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        rank = x.ndim - 2
        convolution = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
        x, padding = _padded(x, *_spatial_pads(node, x, weight.shape[2:]))
        stride, dilation = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
        return convolution(x, weight, bias, stride, padding, dilation, node.get("group", 1))

    return function


def conv_transpose(node: Node) -> Function:
    def function(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        rank = x.ndim - 2
        convolution = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
        stride, dilation = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
        extra, group = node.get("output_padding", [0] * rank), node.get("group", 1)
        full = [
            s * (n - 1) + o + d * (k - 1) + 1
            for n, s, o, d, k in zip(x.shape[2:], stride, extra, dilation, weight.shape[2:], strict=True)
        ]
        before, after = _transposed_pads(node, x, full, stride)
        if before == after:
            return convolution(x, weight, bias, stride, before, extra, group, dilation)
        y = convolution(x, weight, bias, stride, 0, extra, group, dilation)
        for axis, (first, last) in enumerate(zip(before, after, strict=True)):
            y = y.narrow(axis + 2, first, full[axis] - first - last)
        return y

    return function


def _transposed_pads(
    node: Node, x: Tensor, full: list[int], stride: list[int]
) -> tuple[list[int], list[int]]:
    rank = x.ndim - 2
    mode = node.get("auto_pad", "NOTSET")
    shape = node.get("output_shape")
    if shape is None and mode not in ("SAME_UPPER", "SAME_LOWER"):
        pads = node.get("pads", [0] * (2 * rank))
        return pads[:rank], pads[rank:]
    shape = shape or [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    totals = [f - n for f, n in zip(full, shape[-rank:], strict=True)]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (small, large) if mode != "SAME_LOWER" else (large, small)


def pool(kind: str) -> Callable[[Node], Function]:
    def make(node: Node) -> Function:
        kernel = node.get("kernel_shape")

        def function(x: Tensor) -> Tensor:
            rank = len(kernel)
            stride, dilation = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
            before, after = _spatial_pads(node, x, kernel)
            ceil = bool(node.get("ceil_mode", 0))
            if kind == "max":
                pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
                x, padding = _padded(x, before, after, -math.inf)
                return pool(x, kernel, stride, padding, dilation, ceil)
            mean = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
            counted = bool(node.get("count_include_pad", 0))
            if before == after:
                return mean(x, kernel, stride, before, ceil, counted)
            ones = torch.ones_like(x)
            y = mean(_padded(x, before, after)[0], kernel, stride, 0, ceil)
            return y if counted else y / mean(_padded(ones, before, after)[0], kernel, stride, 0, ceil)

        return function

    return make


def global_pool(function: Callable) -> Callable[[Node], Function]:
    return lambda node: lambda x: function(x, tuple(range(2, x.ndim)), keepdim=True)


def batch_norm(node: Node) -> Function:
    epsilon = node.get("epsilon", 1e-5)
    return lambda x, scale, bias, mean, var: F.batch_norm(x, mean, var, scale, bias, eps=epsilon)


def layer_norm(node: Node) -> Function:
    axis, epsilon = node.get("axis", -1), node.get("epsilon", 1e-5)

    def function(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        shape = x.shape[axis % x.ndim :]
        bias = None if bias is None else bias.expand(shape)
        return F.layer_norm(x, shape, scale.expand(shape), bias, epsilon)

    return function


def group_norm(node: Node) -> Function:
    groups, epsilon, old = node.get("num_groups"), node.get("epsilon", 1e-5), node.opset < 21

    def function(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        if old:  # one value a group
            scale, bias = (v.repeat_interleave(x.shape[1] // groups) for v in (scale, bias))
        return F.group_norm(x, groups, scale, bias, epsilon)

    return function


def rms_norm(node: Node) -> Function:
    axis, epsilon = node.get("axis", -1), node.get("epsilon", 1e-5)
    return lambda x, scale: scale * F.rms_norm(x, x.shape[axis % x.ndim :], eps=epsilon)


def softmax(function: Callable) -> Callable[[Node], Function]:
    def make(node: Node) -> Function:
        if node.opset >= 13:
            axis = node.get("axis", -1)
            return lambda x: function(x, axis)
        first = node.get("axis", 1)

        def flattened(x: Tensor) -> Tensor:
            lead = math.prod(x.shape[: first % x.ndim])
            return function(x.reshape(lead, -1), -1).reshape(x.shape)

        return flattened

    return make


def grid_sample(node: Node) -> Function:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(
        node.get("mode", "linear"), node.get("mode", "linear")
    )
    padding, aligned = node.get("padding_mode", "zeros"), bool(node.get("align_corners", 0))
    return lambda x, grid: F.grid_sample(x, grid, mode, padding, aligned)


def affine_grid(node: Node) -> Function:
    size, aligned = node.values(1), bool(node.get("align_corners", 0))
    return lambda theta, *_: F.affine_grid(theta, size, aligned)


def mean_variance_norm(node: Node) -> Function:
    axes = node.get("axes", [0, 2, 3])

    def function(x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return (x - mean) / (var.sqrt() + 1e-9)

    return function


def instance_norm(node: Node) -> Function:
    epsilon = node.get("epsilon", 1e-5)
    return lambda x, scale, bias: F.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def lrn(node: Node) -> Function:
    size, alpha, beta, bias = (
        node.get("size"),
        node.get("alpha", 1e-4),
        node.get("beta", 0.75),
        node.get("bias", 1.0),
    )
    return lambda x: F.local_response_norm(x, size, alpha, beta, bias)


def lp_norm(node: Node) -> Function:
    axis, p = node.get("axis", -1), node.get("p", 2)
    return lambda x: x / x.norm(p, axis, keepdim=True).clamp(min=1e-12)


def einsum(node: Node) -> Function:
    equation = node.get("equation")
    return lambda *x: torch.einsum(equation, *x)


def dequantize(node: Node) -> Function:
    axis = node.get("axis", 1)

    def function(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)] if scale.numel() > 1 else []
        x = x.float() if zero is None else x.float() - zero.float().reshape(shape)
        return x * scale.reshape(shape)

    return function


def quantize(node: Node) -> Function:
    axis, zero = node.get("axis", 1), node.constants[2] if node.has(2) else None
    low, high = (-128, 127) if zero is not None and zero.dtype == torch.int8 else (0, 255)

    def function(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)] if scale.numel() > 1 else []
        y = torch.round(x / scale.reshape(shape)) + (0.0 if zero is None else zero.float().reshape(shape))
        return y.clamp(low, high)

    return function
