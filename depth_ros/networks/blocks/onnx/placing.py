"""How operators of ONNX work on values that are stored with other axes than they have; see `view`.

`PLACING[name](tensors, call)` adds the steps of an operator and returns the views of its results, or None if it has to
get its inputs in the order that the graph has.
"""

from __future__ import annotations

from collections.abc import Callable

from depth_ros.networks.blocks.onnx import convolving, indexing, rearranging
from depth_ros.networks.blocks.onnx.calls import Call, Tensors
from depth_ros.networks.blocks.onnx.operators import ELEMENTWISE, REDUCTIONS
from depth_ros.networks.blocks.onnx.rearranging import along, axis_of, blocks
from depth_ros.networks.blocks.onnx.view import View

PLACING: dict[str, Callable[[Tensors, Call], list[View] | None]] = {
    **dict.fromkeys(ELEMENTWISE, rearranging.elementwise),
    **dict.fromkeys(REDUCTIONS, along(rearranging.reduced)),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), rearranging.reshape),
    "Identity": rearranging.unchanged,
    "Transpose": rearranging.transpose,
    "Tile": rearranging.tile,
    "Expand": rearranging.expand,
    "SpaceToDepth": blocks((0, 3, 5, 1, 2, 4), inner=True),
    "DepthToSpace": blocks((0, 3, 4, 1, 5, 2), inner=False),
    "Slice": rearranging.slice_op,
    "Pad": rearranging.pad,
    "Split": along(axis_of),
    "ArgMax": along(axis_of),
    "ArgMin": along(axis_of),
    "Concat": rearranging.concat,
    "Gather": indexing.gather,
    "GatherND": indexing.gather,
    "Conv": convolving.conv,
    "ConvTranspose": convolving.conv_transpose,
}
"""The operators that work on any order of the axes, or need not do anything."""
