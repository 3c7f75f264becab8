"""Graphs of ONNX operators compute what ONNX Runtime computes, at any size, and can be exported."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from depth_ros.errors import DepthRosError

onnx = pytest.importorskip("onnx", reason="optional: pip install onnx onnxruntime")
onnxruntime = pytest.importorskip("onnxruntime", reason="optional: pip install onnx onnxruntime")

from onnx_graphs import graph  # noqa: E402

from depth_ros.checkpoint_import.onnx_file import read_onnx  # noqa: E402
from depth_ros.networks.blocks.onnx.graph import Graph  # noqa: E402

RNG = np.random.default_rng(0)
X = {"x": [1, 4, 6, 8]}
KERNEL = {"w": RNG.normal(size=(4, 4, 3, 3)).astype(np.float32)}


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def resized(mode: str, coordinates: str, scale: float = 2.0, **options) -> tuple:
    options = {"mode": mode, "coordinate_transformation_mode": coordinates, **options}
    return [("Resize", ["x", "", "s"], ["y"], options)], {"s": floats(1, 1, scale, scale)}


CASES = {
    "conv same upper, stride 2": ([("Conv", ["x", "w"], ["y"], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})], KERNEL),
    "conv asymmetric pads": ([("Conv", ["x", "w"], ["y"], {"pads": [0, 1, 2, 0]})], KERNEL),
    "transposed conv": (
        [("ConvTranspose", ["x", "w"], ["y"],
          {"strides": [2, 2], "pads": [0, 0, 1, 1], "output_padding": [1, 1]})], KERNEL),
    "transposed conv same": (
        [("ConvTranspose", ["x", "w"], ["y"], {"strides": [2, 2], "auto_pad": "SAME_UPPER"})], KERNEL),
    "max pool same lower": (
        [("MaxPool", ["x"], ["y"], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"})], {}),
    "mean pool, asymmetric": (
        [("AveragePool", ["x"], ["y"], {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]})], {}),
    "nearest of TensorFlow": resized("nearest", "asymmetric", nearest_mode="floor"),
    "nearest, odd": resized("nearest", "half_pixel", 1.7, nearest_mode="round_prefer_floor"),
    "linear of TensorFlow": resized("linear", "asymmetric"),
    "linear": resized("linear", "half_pixel", 0.5),
    "linear, aligned": resized("linear", "align_corners", 1.5),
    "cubic": resized("cubic", "pytorch_half_pixel", cubic_coeff_a=-0.75),
    "negative steps": (
        [("Slice", ["x", "a", "b", "c", "d"], ["y"], {})],
        {"a": ints(-1, 1), "b": ints(-100, 7), "c": ints(3, 2), "d": ints(-1, 2)}),
    "gather": ([("Gather", ["x", "i"], ["y"], {"axis": 2})], {"i": np.array([[0, -1], [2, 3]], np.int64)}),
    "GatherND": (
        [("GatherND", ["x", "i"], ["y"], {"batch_dims": 1})], {"i": np.array([[[0, 1], [3, -1]]], np.int64)}),
    "ScatterND": (
        [("ScatterND", ["x", "i", "u"], ["y"], {})], {"i": ints(0, 1, 2)[None], "u": np.ones((1, 8), np.float32)}),
    "reflected pad": ([("Pad", ["x", "p"], ["y"], {"mode": "reflect"})], {"p": ints(0, 0, 1, 2, 0, 0, 3, 0)}),
    "split": ([("Split", ["x"], ["a", "b", "c"], {"axis": 3, "num_outputs": 3}), ("Sub", ["a", "b"], ["y"], {})], {}),
    "depth to space": ([("DepthToSpace", ["x"], ["y"], {"blocksize": 2, "mode": "DCR"})], {}),
    "space to depth": ([("SpaceToDepth", ["x"], ["y"], {"blocksize": 2})], {}),
    "layer norm": (
        [("LayerNormalization", ["x", "s", "b"], ["y"], {"axis": -1})],
        {"s": RNG.normal(size=8).astype(np.float32), "b": RNG.normal(size=8).astype(np.float32)}),
    "integer division": (
        [("Shape", ["x"], ["s"], {}), ("Div", ["s", "three"], ["d"], {}), ("Cast", ["d"], ["f"], {"to": 1}),
         ("Add", ["f", "f"], ["y"], {})], {"three": ints(-3)}),
    "top k and argmin": (
        [("TopK", ["x", "k"], ["v", "i"], {"axis": 1}), ("ArgMin", ["v"], ["m"], {"axis": 3}),
         ("Cast", ["m"], ["y"], {"to": 1})], {"k": ints(2)}),
    "softmax over all": ([("Softmax", ["x"], ["y"], {"axis": 1})], {}),
    "reduce": ([("ReduceL2", ["x", "a"], ["y"], {"keepdims": 0})], {"a": ints(1, -1)}),
    "quantised": (
        [("QuantizeLinear", ["x", "s", "z"], ["q"], {}), ("DequantizeLinear", ["q", "s", "z"], ["y"], {})],
        {"s": np.array(0.05, np.float32), "z": np.array(3, np.int8)}),
    "cumulative sum, exclusive and backwards": (
        [("CumSum", ["x", "a"], ["y"], {"exclusive": 1, "reverse": 1})], {"a": np.array(3, np.int64)}),
    "hyperbolic": (
        [("Asinh", ["x"], ["a"], {}), ("Tanh", ["a"], ["t"], {}), ("Atanh", ["t"], ["b"], {}),
         ("Cosh", ["b"], ["c"], {}), ("Acosh", ["c"], ["y"], {})], {}),
    "bits": (
        [("Cast", ["x"], ["i"], {"to": 6}), ("BitwiseAnd", ["i", "m"], ["a"], {}), ("BitwiseNot", ["a"], ["n"], {}),
         ("BitwiseXor", ["n", "i"], ["o"], {}), ("BitwiseOr", ["o", "m"], ["p"], {}),
          ("Cast", ["p"], ["y"], {"to": 1})],
        {"m": np.array(5, np.int32)}),
    "thresholded": ([("ThresholdedRelu", ["x"], ["y"], {"alpha": 0.5})], {}),
    "logarithm of sums": ([("Exp", ["x"], ["e"], {}), ("ReduceLogSum", ["e", "a"], ["y"], {})], {"a": ints(1, 2)}),
    "mean and variance": ([("MeanVarianceNormalization", ["x"], ["y"], {"axes": [2, 3]})], {}),
    "identity matrix": (
        [("ReduceMean", ["x", "a"], ["m"], {"keepdims": 0}), ("EyeLike", ["m"], ["e"], {"k": 1}),
         ("Add", ["m", "e"], ["y"], {})], {"a": ints(0, 1)}),
    "columns to image": (
        [("Reshape", ["x", "s"], ["c"], {}), ("Col2Im", ["c", "size", "block"], ["y"], {"strides": [2, 2]})],
        {"s": ints(1, 16, 12), "size": ints(6, 8), "block": ints(2, 2)}),
    "affine grid": (
        [("Slice", ["x", "zero", "end", "axes"], ["part"], {}), ("Reshape", ["part", "shape"], ["theta"], {}),
         ("AffineGrid", ["theta", "size"], ["grid"], {}), ("GridSample", ["x", "grid"], ["y"], {})],
        {"zero": ints(0, 0, 0), "end": ints(1, 2, 3), "axes": ints(1, 2, 3), "shape": ints(1, 2, 3),
         "size": ints(1, 4, 5, 7)}),
    "einsum": ([("Einsum", ["x", "x"], ["y"], {"equation": "bchw,bdhw->bcd"})], {}),
    "grid sample": (
        [("GridSample", ["x", "g"], ["y"], {"align_corners": 0, "padding_mode": "border"})],
        {"g": RNG.uniform(-1.2, 1.2, (1, 5, 4, 2)).astype(np.float32)}),
}  # fmt: skip


def loaded(model, folder) -> Graph:
    onnx.save(model, folder / "graph.onnx")
    content = read_onnx(folder / "graph.onnx")
    network = Graph(json.dumps(content.graph)).eval()
    network.load_state_dict(content.weights)
    return network


def expected(model, **inputs) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, inputs
    )


@pytest.mark.parametrize("case", CASES)
def test_operators_compute_what_onnx_runtime_computes(case, tmp_path):
    nodes, weights = CASES[case]
    model = graph(nodes, X, ["y"], weights, opset={"softmax over all": 12, "affine grid": 20}.get(case, 18))
    x = np.random.default_rng(1).normal(size=X["x"]).astype(np.float32)
    with torch.no_grad():
        (found,) = loaded(model, tmp_path)(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), expected(model, x=x)[0], rtol=2e-5, atol=2e-5)


def test_what_depends_on_the_size_alone_is_computed_once_for_each_size(tmp_path):
    """Tokens and back, as transformers do, with all sizes computed from the shape of the image."""
    model = graph(
        [
            ("Shape", ["x"], ["shape"], {}),
            ("Gather", ["shape", "two"], ["h"], {}),
            ("Gather", ["shape", "three"], ["w"], {}),
            ("Mul", ["h", "w"], ["n"], {}),
            ("Concat", ["one", "channels", "n"], ["tokens"], {"axis": 0}),
            ("Reshape", ["x", "tokens"], ["flat"], {}),
            ("MatMul", ["mix", "flat"], ["mixed"], {}),
            ("Reshape", ["mixed", "shape"], ["y"], {}),
            ("Equal", ["h", "w"], ["square"], {}),
        ],
        {"x": [1, 4, None, None]}, ["y"],
        {"two": ints(2), "three": ints(3), "one": ints(1), "channels": ints(4),
         "mix": RNG.normal(size=(20, 4)).astype(np.float32)[:4]},
    )  # fmt: skip
    network = loaded(model, tmp_path)
    for size in ((6, 8), (4, 10)):
        x = np.random.default_rng(2).normal(size=(1, 4, *size)).astype(np.float32)
        with torch.no_grad():
            (found,) = network(torch.from_numpy(x))
        np.testing.assert_allclose(found.numpy(), expected(model, x=x)[0], rtol=1e-5, atol=1e-6)
        assert (
            len(network.program((1, 4, *size))[0]) == 3
        )  # Reshape, MatMul, Reshape: nothing about shapes is left
        program = torch.export.export(network, (torch.from_numpy(x),), strict=True)
        torch.testing.assert_close(program.module()(torch.from_numpy(x))[0], found)


def test_a_branch_is_chosen_where_its_condition_is_known(tmp_path):
    branches = {
        f"{name}_branch": onnx.helper.make_graph(
            [onnx.helper.make_node(op, ["x"], [name])],
            name,
            [],
            [onnx.helper.make_empty_tensor_value_info(name)],
        )
        for name, op in (("then", "Neg"), ("else", "Abs"))
    }
    model = graph([("If", ["c"], ["y"], branches)], X, ["y"], {"c": np.array(False)})
    x = torch.randn(X["x"])
    torch.testing.assert_close(loaded(model, tmp_path)(x)[0], x.abs())


def test_16_bits_compute_all_floating_tensors_in_that_precision(tmp_path):
    nodes = [
        ("Cast", ["x"], ["f"], {"to": 1}),
        ("Conv", ["f", "w"], ["c"], {}),
        ("Mul", ["c", "two"], ["y"], {}),
    ]
    network = loaded(graph(nodes, X, ["y"], {**KERNEL, "two": floats(2)}), tmp_path)
    x = torch.randn(X["x"])
    exact, (found,) = network(x)[0], network.to(torch.bfloat16)(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.05, atol=0.1)


@pytest.mark.parametrize(
    ("nodes", "weights", "message"),
    [
        ([("Unique", ["x"], ["y"], {})], {}, "operators that are not supported: Unique"),
        ([("Cast", ["x"], ["s"], {"to": 7}), ("Reshape", ["x", "s"], ["y"], {})], {},
         "operator Reshape: input 1 depends on the content of the image"),
        ([("Reshape", ["x", "s"], ["y"], {})], {"s": ints(5, 5)}, r"operator Reshape .* cannot be converted"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_named(nodes, weights, message, tmp_path):
    with pytest.raises(DepthRosError, match=message):
        loaded(graph(nodes, X, ["y"], weights), tmp_path)(torch.zeros(X["x"]))
