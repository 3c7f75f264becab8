"""Small ONNX graphs for tests."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def value(name: str, shape, dtype=TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def graph(nodes, inputs, outputs, weights=None, opset=18, dtype=TensorProto.FLOAT) -> onnx.ModelProto:
    """A model. nodes: (op, inputs, outputs, attributes). inputs: {name: shape}, weights: {name: array}."""
    made = [helper.make_node(op, given, results, **options) for op, given, results, options in nodes]
    content = helper.make_graph(
        made,
        "made_up",
        [value(name, shape, dtype) for name, shape in inputs.items()],
        [value(name, None, dtype) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def one_output(kind: str, image: str, channels: int, name: str) -> tuple[list, dict]:
    """Nodes and weights of an output. kind: "map", of `channels` channels: a convolution of the image, all positive;
    "number": the mean of the image."""
    rng = np.random.default_rng(len(name))
    if kind == "number":
        return [("ReduceMean", [image], [name], {"keepdims": 0})], {}
    kernel = rng.uniform(0.01, 0.05, (channels, 3, 3, 3)).astype(np.float32)
    weights = {f"{name}_kernel": kernel, f"{name}_offset": np.array(0.5, np.float32)}
    return [
        ("Conv", [image, f"{name}_kernel"], [f"{name}_conv"], {"pads": [1, 1, 1, 1]}),
        ("Abs", [f"{name}_conv"], [f"{name}_abs"], {}),
        ("Add", [f"{name}_abs", f"{name}_offset"], [name], {}),
    ], weights


def transformer() -> onnx.ModelProto:
    """A transformer with the inputs and outputs of Depth Anything 3: an image of any size, depth and sky. Patches of
    14 px, one self-attention, and a linear resize to the size of the image, all shapes computed in the graph."""
    rng = np.random.default_rng(0)
    weights = {
        "patches": rng.normal(size=(16, 3, 14, 14)).astype(np.float32) / 40,
        "head": rng.normal(size=(2, 16, 1, 1)).astype(np.float32) / 4,
        "scale": np.array(0.25, np.float32), "offset": np.array(3, np.float32),
        "one": np.array([1], np.int64), "channels": np.array([16], np.int64), "rest": np.array([-1], np.int64),
        "two": np.array([2], np.int64), "four": np.array([4], np.int64), "halves": np.array([1, 1], np.int64),
    }  # fmt: skip
    nodes = [
        ("Conv", ["image", "patches"], ["grid"], {"strides": [14, 14]}),
        ("Shape", ["grid"], ["shape"], {}),
        ("Concat", ["one", "channels", "rest"], ["flat"], {"axis": 0}),
        ("Reshape", ["grid", "flat"], ["columns"], {}),
        ("Transpose", ["columns"], ["tokens"], {"perm": [0, 2, 1]}),
        ("MatMul", ["tokens", "columns"], ["products"], {}),
        ("Mul", ["products", "scale"], ["scores"], {}),
        ("Softmax", ["scores"], ["attention"], {"axis": -1}),
        ("MatMul", ["attention", "tokens"], ["mixed"], {}),
        ("Add", ["tokens", "mixed"], ["sum"], {}),
        ("Transpose", ["sum"], ["back"], {"perm": [0, 2, 1]}),
        ("Reshape", ["back", "shape"], ["map"], {}),
        ("Conv", ["map", "head"], ["two_maps"], {}),
        ("Shape", ["image"], ["image_shape"], {}),
        ("Slice", ["image_shape", "two", "four"], ["size"], {}),
        ("Concat", ["one", "two", "size"], ["sizes"], {"axis": 0}),
        ("Resize", ["two_maps", "", "", "sizes"], ["full"], {"mode": "linear"}),
        ("Split", ["full", "halves"], ["log_depth", "logit"], {"axis": 1}),
        ("Exp", ["log_depth"], ["depth"], {}),
        ("Sub", ["logit", "offset"], ["low"], {}),
        ("Sigmoid", ["low"], ["sky"], {}),
    ]
    return graph(nodes, {"image": [1, 3, None, None]}, ["depth", "sky"], weights)
