"""Operators on values that are stored with other axes compute what ONNX Runtime computes, and move little."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx", reason="optional: pip install onnx onnxruntime")
onnxruntime = pytest.importorskip("onnxruntime", reason="optional: pip install onnx onnxruntime")

from onnx_graphs import graph  # noqa: E402

from depth_ros.checkpoint_import.onnx_file import read_onnx  # noqa: E402
from depth_ros.networks.blocks.onnx.graph import Graph  # noqa: E402
from depth_ros.networks.blocks.onnx.view import Arrangement  # noqa: E402

RNG = np.random.default_rng(0)
SHAPE = [1, 4, 6, 8]
KERNEL = RNG.normal(size=(4, 4, 3, 3)).astype(np.float32)
FIRST, LAST = {"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def shifts(count: int) -> np.ndarray:
    """(6, 8 * count): for each column the columns `count` to its left, none beyond the image."""
    index = np.clip(np.arange(8)[:, None] - np.arange(count), 0, None)
    return np.tile(index.reshape(-1), (6, 1))


CASES = {
    "channels last": ([
        ("Transpose", ["x"], ["n"], LAST), ("Split", ["n"], ["a", "b"], {"axis": 3, "num_outputs": 2}),
        ("Sub", ["a", "b"], ["d"], {}), ("Mul", ["d", "gains"], ["m"], {}), ("Concat", ["m", "a"], ["c"], {"axis": 3}),
        ("Pad", ["c", "pads"], ["p"], {}), ("Slice", ["p", "one", "seven", "one"], ["s"], {}),
        ("Transpose", ["s"], ["y"], FIRST),
    ], {"gains": RNG.normal(size=(6, 1, 2)), "pads": ints(0, 1, 0, 0, 0, 1, 2, 0), "one": ints(1),
        "seven": ints(7)}, 0),
    "reduced": ([
        ("Transpose", ["x"], ["n"], LAST), ("ReduceSum", ["n", "last"], ["s"], {"keepdims": 0}),
        ("ReduceMax", ["n"], ["m"], {"axes": [1, 3]}), ("ArgMin", ["n"], ["i"], {"axis": 3, "keepdims": 0}),
        ("Cast", ["i"], ["f"], {"to": 1}), ("Add", ["s", "f"], ["t"], {}), ("Unsqueeze", ["t", "last"], ["u"], {}),
        ("Mul", ["u", "m"], ["y"], {}),
    ], {"last": ints(-1)}, 0),
    "cost volume": ([
        ("Transpose", ["x"], ["n"], LAST), ("Tile", ["x", "repeats"], ["tiled"], {}),
        ("Transpose", ["tiled"], ["t"], LAST), ("Reshape", ["t", "wide"], ["left"], {}),
        ("GatherND", ["n", "index"], ["right"], {"batch_dims": 2}), ("Sub", ["left", "right"], ["d"], {}),
        ("Abs", ["d"], ["a"], {}), ("ReduceSum", ["a", "last"], ["s"], {"keepdims": 0}),
        ("Reshape", ["s", "costs"], ["y"], {}),
    ], {"repeats": ints(1, 3, 1, 1), "wide": ints(1, 6, 24, 4), "index": shifts(3)[None, :, :, None],
        "last": ints(-1), "costs": ints(1, 6, 8, 3)}, 0),
    "warp": ([
        ("Transpose", ["x"], ["n"], LAST), ("ReduceMean", ["n"], ["m"], {"axes": [3]}),
        ("Mul", ["m", "nine"], ["scaled"], {}), ("Concat", ["scaled", "m"], ["c"], {"axis": 3}),
        ("Floor", ["c"], ["f"], {}), ("Cast", ["f"], ["i"], {"to": 7}), ("Max", ["i", "low"], ["l"], {}),
        ("Min", ["l", "high"], ["h"], {}), ("Unsqueeze", ["h", "last"], ["index"], {}),
        ("GatherND", ["n", "index"], ["g"], {"batch_dims": 2}), ("ReduceSum", ["g", "last"], ["y"], {}),
    ], {"nine": np.float32(9), "low": np.int64(-8), "high": np.int64(7), "last": ints(-1)}, 1),
    "choice": ([
        ("Transpose", ["x"], ["n"], LAST), ("Neg", ["n"], ["minus"], {}), ("Unsqueeze", ["n", "axis"], ["a"], {}),
        ("Unsqueeze", ["minus", "axis"], ["b"], {}), ("Concat", ["a", "b"], ["both"], {"axis": 3}),
        ("ReduceSum", ["both", "last"], ["s"], {"keepdims": 0}), ("ArgMin", ["s"], ["i"], {"axis": 3}),
        ("Unsqueeze", ["i", "last"], ["index"], {}), ("GatherND", ["both", "index"], ["c"], {"batch_dims": 3}),
        ("Squeeze", ["c", "axis"], ["d"], {}), ("Transpose", ["d"], ["y"], FIRST),
    ], {"axis": ints(3), "last": ints(-1)}, 0),
    "dilated": ([
        ("Pad", ["x", "pads"], ["p"], {}), ("Transpose", ["p"], ["t"], {"perm": [1, 0, 2, 3]}),
        ("SpaceToDepth", ["t"], ["s"], {"blocksize": 2}), ("Transpose", ["s"], ["b"], {"perm": [1, 0, 2, 3]}),
        ("Conv", ["b", "kernel"], ["c"], {}), ("Transpose", ["c"], ["u"], {"perm": [1, 0, 2, 3]}),
        ("DepthToSpace", ["u"], ["w"], {"blocksize": 2}), ("Transpose", ["w"], ["y"], {"perm": [1, 0, 2, 3]}),
    ], {"pads": ints(0, 0, 2, 2, 0, 0, 2, 2), "kernel": KERNEL}, 0),
    "volume of images": ([
        ("Transpose", ["x"], ["n"], {"perm": [0, 2, 3, 1]}), ("Unsqueeze", ["n", "one"], ["v"], {}),
        ("ConvTranspose", ["v", "kernel"], ["w"], {"strides": [2, 2, 1]}), ("Neg", ["w"], ["y"], {}),
    ], {"one": ints(1), "kernel": RNG.normal(size=(1, 2, 2, 2, 1)).astype(np.float32)}, 1),
    "elements that move": ([
        ("Transpose", ["x"], ["n"], LAST), ("Reshape", ["n", "shape"], ["r"], {}), ("Add", ["r", "r"], ["a"], {}),
        ("Tile", ["a", "repeats"], ["t"], {}), ("Reshape", ["t", "odd"], ["y"], {}),
    ], {"shape": ints(1, 16, 3, 4), "repeats": ints(1, 1, 2, 1), "odd": ints(1, 16, 3, 8)}, 1),
    "lengths that are split differently": ([
        ("Transpose", ["x"], ["n"], {"perm": [0, 1, 3, 2]}), ("Reshape", ["n", "flat"], ["a"], {}),
        ("Transpose", ["x"], ["m"], LAST), ("Reshape", ["m", "flat"], ["b"], {}), ("Add", ["a", "b"], ["y"], {}),
    ], {"flat": ints(1, 192)}, 2),
}  # fmt: skip
"""Name: nodes, weights, and how often the elements of a value are put in another order, e.g. for the output."""


@pytest.mark.parametrize("case", CASES)
def test_stored_orders_change_nothing_but_the_moves(case, tmp_path):
    nodes, weights, moves = CASES[case]
    weights = {
        name: np.asarray(w, np.float32 if np.asarray(w).dtype == np.float64 else None)
        for name, w in weights.items()
    }
    model = graph(nodes, {"x": SHAPE}, ["y"], weights, opset=17 if "axes" in str(nodes) else 18)
    onnx.save(model, tmp_path / "graph.onnx")
    content = read_onnx(tmp_path / "graph.onnx")
    network = Graph(json.dumps(content.graph)).eval()
    network.load_state_dict(content.weights)
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        (found,) = network(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), session.run(None, {"x": x})[0], rtol=2e-5, atol=2e-5)
    functions = [step.function for step in network.program(tuple(SHAPE))[0]]
    moved = [f for f in functions if isinstance(f, Arrangement) and list(f.order) != sorted(f.order)]
    assert len(moved) == moves, moved
