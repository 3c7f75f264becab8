"""Operators of ONNX that rearrange values, or work along their axes, as they are stored; see `view`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from depth_ros.networks.blocks.onnx.calls import Call, Tensors, aligned
from depth_ros.networks.blocks.onnx.node import Node
from depth_ros.networks.blocks.onnx.operators import OPERATORS
from depth_ros.networks.blocks.onnx.view import View


def reshape(tensors: Tensors, call: Call) -> list[View] | None:
    view = call.first.reshaped(call.shapes[0])
    return None if view is None else [view]


def transpose(tensors: Tensors, call: Call) -> list[View]:
    x = call.first
    return [x.permuted(call.node.get("perm") or tuple(reversed(range(len(x.groups)))))]


def tile(tensors: Tensors, call: Call) -> list[View]:
    x = call.first
    return [x.tiled([new // max(old, 1) for new, old in zip(call.shapes[0], x.sizes)])]


def expand(tensors: Tensors, call: Call) -> list[View]:
    x = call.first
    added = len(call.shapes[0]) - len(x.groups)
    return tile(tensors, replace(call, views=[replace(x, groups=((),) * added + x.groups)]))


def blocks(order: Sequence[int], inner: bool) -> Callable[[Tensors, Call], list[View] | None]:
    """SpaceToDepth (inner) or DepthToSpace. order: of the axes (B, size, size, C, h, w) or (B, C, h, size, w, size)."""

    def place(tensors: Tensors, call: Call) -> list[View] | None:
        x, size = call.first, call.node.get("blocksize")
        b, c, h, w = x.sizes
        if call.node.get("mode", "DCR") == "CRD":
            return None
        split = x.reshaped(
            (b, c, h // size, size, w // size, size) if inner else (b, size, size, c // size**2, h, w)
        )
        moved = None if split is None else split.permuted(order).reshaped(call.shapes[0])
        return None if moved is None else [moved]

    return place


def unchanged(tensors: Tensors, call: Call) -> list[View]:
    return [call.first]


def elementwise(tensors: Tensors, call: Call) -> list[View] | None:
    """Operators that compute each element alone: in the order of storage of the largest input."""
    common = aligned(tensors, [view for view in call.views if view], call.results[0], call.shapes[0])
    if common is None:
        return None
    names, result = common
    given = iter(names)
    tensors.call(call.function, [next(given) if view else "" for view in call.views], call.results[:1])
    return [result]


def along(mapped: Callable[[Call, list[int]], Node | None]) -> Callable[[Tensors, Call], list[View] | None]:
    """Operators that work along some axes, and keep the number of axes before the results are reshaped.

    mapped: their node for a tensor whose axes are those of the value in the given order; None if that cannot be.
    """

    def place(tensors: Tensors, call: Call) -> list[View] | None:
        x = call.first
        order = x.order
        node = mapped(call, order)
        if node is None:
            return None
        function = OPERATORS[node.op](node)
        stored = torch.empty(tuple(x.sizes[i] for i in order), device="meta")
        given = [constant for constant in node.constants[1:] if constant is not None]
        found = function(stored, *(c.to("meta") for c in given))
        shapes = [tuple(y.shape) for y in ([found] if isinstance(found, Tensor) else found)]
        name = tensors.arranged(x, [x.groups[i] for i in order])
        more = [tensors.constant(f"{call.results[0]}, {i}", c).name for i, c in enumerate(given)]
        tensors.call(function, [name, *more], call.results)
        views = []
        for result, shape, wanted in zip(call.results, shapes, call.shapes):
            sizes = [shape[order.index(i)] for i in range(len(order))]
            view = View.stored(result, sizes, order).reshaped(wanted)
            assert (
                view is not None
            )  # axes of length 1 are left out, or an axis is split as the index of Gather
            views.append(view)
        return views

    return place


def _with(node: Node, **attributes: object) -> Node:
    """The node with other attributes, which replace all inputs but the first."""
    return Node(node.op, {**node.attributes, **attributes}, [True], [None], node.outputs, node.opset)


def axis_of(call: Call, order: list[int]) -> Node:
    """The node of an operator with one axis, by default the first."""
    place = order.index(call.node.get("axis", 0) % len(order))
    more = {"split": call.node.values(1, "split")} if call.node.op == "Split" else {"keepdims": 1}
    return _with(call.node, axis=place, **more)


def _slice(call: Call, order: list[int]) -> Node:
    starts, ends = call.node.values(1, "starts"), call.node.values(2, "ends")
    axes = call.node.values(3, "axes", list(range(len(starts))))
    steps = call.node.values(4, "steps", [1] * len(starts))
    places = [order.index(axis % len(order)) for axis in axes]
    return _with(call.node, starts=starts, ends=ends, axes=places, steps=steps)


def slice_op(tensors: Tensors, call: Call) -> list[View] | None:
    steps = call.node.values(4, "steps", [1])
    if call.shapes[0] == call.first.sizes and min(steps) > 0:
        return unchanged(tensors, call)
    return along(_slice)(tensors, call)


def _pad(call: Call, order: list[int]) -> Node | None:
    pads, axes = call.node.values(1, "pads"), call.node.values(3)
    if call.node.get("mode", "constant") != "constant":
        return None
    axes = list(range(len(order))) if axes is None else [axis % len(order) for axis in axes]
    before, after = (dict(zip(axes, part)) for part in (pads[: len(axes)], pads[len(axes) :]))
    mapped = [part.get(axis, 0) for part in (before, after) for axis in order]
    return _with(call.node, pads=mapped, value=call.node.values(2, "value", 0.0))


def pad(tensors: Tensors, call: Call) -> list[View] | None:
    if not any(call.node.values(1, "pads")):
        return unchanged(tensors, call)
    return along(_pad)(tensors, call)


def reduced(call: Call, order: list[int]) -> Node | None:
    axes = call.node.axes()
    if not axes:
        return None
    return _with(call.node, axes=[order.index(axis % len(order)) for axis in axes], keepdims=1)


def concat(tensors: Tensors, call: Call) -> list[View]:
    """In the order of storage of the largest input; what is stacked becomes the outermost axis."""
    views = [view for view in call.views if view]
    order = max(views, key=lambda view: (not tensors.is_constant(view), math.prod(view.shape))).order
    axis = call.node.get("axis", 1) % len(order)
    if all(view.sizes[axis] == 1 for view in views):
        order = [axis, *(i for i in order if i != axis)]
    place = order.index(axis)
    names = [tensors.arranged(view, [view.groups[i] for i in order]) for view in views]
    tensors.call(lambda *x: torch.cat(x, place), names, call.results)
    return [View.stored(call.results[0], call.shapes[0], order)]
