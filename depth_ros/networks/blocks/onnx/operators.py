"""Operators of ONNX in torch: `OPERATORS[name](node)` returns the function of a node, from tensors to tensors.

Semantics: https://onnx.ai/onnx/operators, opsets 7 to 24. What decides the shape of a result (sizes, axes, pads,
scales) is read while the function is made, from attributes or constant inputs, so that all shapes are static.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import torch
from torch.nn import functional as F

from depth_ros.networks.blocks.onnx import arrays, elementwise, layers
from depth_ros.networks.blocks.onnx.node import Function, Node
from depth_ros.networks.blocks.onnx.resize import resize

UNARY: dict[str, Callable] = {
    "Neg": torch.neg, "Abs": torch.abs, "Sqrt": torch.sqrt, "Exp": torch.exp, "Log": torch.log, "Erf": torch.erf,
    "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Relu": F.relu, "Floor": torch.floor, "Ceil": torch.ceil,
    "Round": torch.round, "Sign": torch.sign, "Reciprocal": torch.reciprocal, "Sin": torch.sin, "Cos": torch.cos,
    "Tan": torch.tan, "Asin": torch.asin, "Acos": torch.acos, "Atan": torch.atan, "Sinh": torch.sinh,
    "Cosh": torch.cosh, "Asinh": torch.asinh, "Acosh": torch.acosh, "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not, "Softplus": F.softplus, "Softsign": F.softsign, "Mish": F.mish,
    "HardSwish": F.hardswish, "Not": torch.logical_not, "IsNaN": torch.isnan, "IsInf": torch.isinf,
    "Identity": elementwise.identity, "Dropout": elementwise.identity, "Swish": F.silu,
}  # fmt: skip
BINARY: dict[str, Callable] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": elementwise.div, "Pow": torch.pow,
    "Equal": torch.eq, "Greater": torch.gt, "Less": torch.lt, "GreaterOrEqual": torch.ge, "LessOrEqual": torch.le,
    "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor,
    "BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor,
    "MatMul": torch.matmul,
    "PRelu": elementwise.prelu, "Where": elementwise.where, "CastLike": lambda x, like: x.to(like.dtype),
}  # fmt: skip
REDUCTIONS: dict[str, Callable] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceProd": elementwise.prod,
    "ReduceL1": elementwise.l1,
    "ReduceL2": elementwise.l2,
    "ReduceSumSquare": elementwise.sum_squares,
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceLogSum": elementwise.log_sum,
}
OPERATORS: dict[str, Callable[[Node], Function]] = {
    **{name: elementwise.elementwise(function) for name, function in {**UNARY, **BINARY}.items()},
    **{name: elementwise.reduce(function) for name, function in REDUCTIONS.items()},
    "Sum": elementwise.variadic(operator.add),
    "Max": elementwise.variadic(torch.maximum),
    "Min": elementwise.variadic(torch.minimum),
    "Mean": lambda node: lambda *x: functools.reduce(operator.add, x) / len(x),
    "Clip": elementwise.clip,
    "Squeeze": arrays.squeeze,
    "Unsqueeze": arrays.unsqueeze,
    "Reshape": arrays.reshape,
    "Flatten": arrays.flatten,
    "Transpose": arrays.transpose,
    "Concat": arrays.concat,
    "Split": arrays.split,
    "Slice": arrays.slice_op,
    "Gather": arrays.gather,
    "GatherElements": arrays.gather_elements,
    "GatherND": arrays.gather_nd,
    "ScatterND": arrays.scatter_nd,
    "ScatterElements": arrays.scatter_elements,
    "Expand": arrays.expand,
    "Tile": arrays.tile,
    "Pad": arrays.pad,
    "ConstantOfShape": arrays.constant_of_shape,
    "Cast": elementwise.cast,
    "Gemm": layers.gemm,
    "Conv": layers.conv,
    "ConvTranspose": layers.conv_transpose,
    "MaxPool": layers.pool("max"),
    "AveragePool": layers.pool("mean"),
    "GlobalAveragePool": layers.global_pool(torch.mean),
    "GlobalMaxPool": layers.global_pool(torch.amax),
    "BatchNormalization": layers.batch_norm,
    "InstanceNormalization": layers.instance_norm,
    "LayerNormalization": layers.layer_norm,
    "GroupNormalization": layers.group_norm,
    "RMSNormalization": layers.rms_norm,
    "LpNormalization": layers.lp_norm,
    "MeanVarianceNormalization": layers.mean_variance_norm,
    "LRN": layers.lrn,
    "ArgMax": elementwise.arg(torch.argmax),
    "ArgMin": elementwise.arg(torch.argmin),
    "Softmax": layers.softmax(torch.softmax),
    "LogSoftmax": layers.softmax(torch.log_softmax),
    "TopK": arrays.top_k,
    "OneHot": arrays.one_hot,
    "EyeLike": arrays.eye_like,
    "Col2Im": arrays.col2im,
    "Range": arrays.range_op,
    "DepthToSpace": arrays.depth_to_space,
    "SpaceToDepth": arrays.space_to_depth,
    "GridSample": layers.grid_sample,
    "AffineGrid": layers.affine_grid,
    "Trilu": arrays.trilu,
    "CumSum": elementwise.cumsum,
    "DequantizeLinear": layers.dequantize,
    "QuantizeLinear": layers.quantize,
    "Einsum": layers.einsum,
    "Mod": elementwise.mod,
    "LeakyRelu": elementwise.alpha(F.leaky_relu, "alpha", 0.01),
    "ThresholdedRelu": elementwise.alpha(elementwise.thresholded_relu, "alpha", 1.0),
    "Elu": elementwise.alpha(F.elu, "alpha", 1.0),
    "Celu": elementwise.alpha(F.celu, "alpha", 1.0),
    "Selu": lambda node: F.selu,
    "Gelu": elementwise.gelu,
    "HardSigmoid": elementwise.hard_sigmoid,
    "Shape": arrays.shape,
    "Size": lambda node: lambda x: torch.tensor(x.numel()),
    "NonZero": lambda node: lambda x: x.nonzero().T,
    "Resize": resize,
    "Upsample": resize,
}
"""The operators that can be converted. If is resolved by `graph`, where its condition is constant."""

ELEMENTWISE = {
    *UNARY, *(set(BINARY) - {"MatMul", "CastLike"}), "Sum", "Max", "Min", "Mean", "Clip", "Cast", "Mod", "LeakyRelu",
    "ThresholdedRelu",
    "Elu", "Celu", "Selu", "Gelu", "HardSigmoid",
}  # fmt: skip
"""The operators whose results at a position depend on their inputs at that position only."""
