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
