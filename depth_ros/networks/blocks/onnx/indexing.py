"""Gather and GatherND of ONNX on values as they are stored; see `view`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from depth_ros.networks.blocks.onnx.calls import Call, Tensors, aligned
from depth_ros.networks.blocks.onnx.node import Node
from depth_ros.networks.blocks.onnx.rearranging import along
from depth_ros.networks.blocks.onnx.view import Axis, View

MAX_CHOICES = 4
"""Longest axis whose elements are chosen from one by one."""
MAX_SIDE = 1 << 15
"""Longest side, px, of images whose pixels are found by coordinates of 32 bits."""


def gather(tensors: Tensors, call: Call) -> list[View] | None:
    """Gather with a constant index; that of GatherND is one if it is the same for all batches."""
    node, index = call.node, call.node.constants[1]
    axis = node.get("axis", 0)
    if node.op == "GatherND":
        axis = node.get("batch_dims", 0)
        if index is None:
            if index_depth(call) != 1:
                return None
            return choose(tensors, call) if call.first.sizes[axis] <= MAX_CHOICES else sample(tensors, call)
        first = index[(0,) * axis]
        if index.shape[-1] != 1 or not (index == first).all():
            return None
        index = first
    if index is None:
        return None
    flat = index.reshape(-1)

    def mapped(call: Call, order: list[int]) -> Node:
        place = order.index(axis % len(order))
        return Node("Gather", {"axis": place}, [True, True], [None, flat], 1, node.opset)

    return along(mapped)(tensors, call)


def index_depth(call: Call) -> int:
    """The number of axes that an index of GatherND names."""
    index = call.views[1]
    return 0 if index is None else index.sizes[-1]


def choose(tensors: Tensors, call: Call) -> list[View] | None:
    """GatherND along a short axis by an index of the inputs: each element is that of one of a few tensors."""
    x, index, axis = call.first, call.views[1], call.node.get("batch_dims", 0)
    if index is None:
        return None
    chosen, rest = len(index.groups) - 1 - axis, x.groups[axis + 1 :]
    parts = list[View]()
    for i in range(x.sizes[axis]):
        node = Node("Gather", {"axis": axis}, [True, True], [None, torch.tensor([i])], 1, call.node.opset)
        shape = (*x.sizes[:axis], *[1] * chosen, *x.sizes[axis + 1 :])
        parts += (
            gather(tensors, Call(node, call.function, [x], [f"{call.results[0]}, part {i}"], [shape])) or []
        )
    index = replace(index, groups=(*index.groups[:-1], *[()] * len(rest)))
    given = aligned(tensors, [index, *parts], call.results[0], call.shapes[0])
    if given is None:
        return None
    tensors.call(_chosen, given[0], call.results)
    return [given[1]]


def _chosen(index: Tensor, *parts: Tensor) -> Tensor:
    found = parts[0]
    for i, part in enumerate(parts[1:], 1):
        found = torch.where((index == i) | (index == i - len(parts)), part, found)
    return found


def sample(tensors: Tensors, call: Call) -> list[View] | None:
    """GatherND along an axis by an index of the inputs, as in warping: the nearest pixels of an image whose rows are
    the axes before, and whose channels are those after it. None if the channels are stored behind that axis."""
    x, index, batch = call.first, call.views[1], call.node.get("batch_dims", 0)
    rows, width = math.prod(x.sizes[:batch]), x.sizes[batch]
    if index is None or x.order[-1] != batch or len(x.groups) == batch + 1 or max(rows, width) > MAX_SIDE:
        return None
    groups = [(), sum(x.groups[batch + 1 :], ()), sum(x.groups[:batch], ()), x.groups[batch]]
    image = tensors.arranged(x, groups)
    index = replace(index, groups=index.groups[:-1])
    row = torch.arange(rows, dtype=torch.float32) * (2 / max(rows - 1, 1)) - 1
    row = row.reshape(*x.sizes[:batch], *[1] * (len(index.groups) - batch))
    given = aligned(
        tensors, [index, tensors.constant(f"{call.results[0]}, rows", row)], call.results[0], index.sizes
    )
    if given is None:
        return None
    names, place = given
    channels = [Axis(n) for n in x.sizes[batch + 1 :]]
    tensors.call(Sample(width, place.shape), [image, *names], call.results)
    kept = [axis for axis in channels if axis.size != 1]
    after = [(axis,) if axis.size != 1 else () for axis in channels]
    shape = (math.prod(x.sizes[batch + 1 :]), *place.shape)
    return [View(call.results[0], shape, (*kept, *place.axes), (*place.groups, *after))]


@dataclass(frozen=True)
class Sample:
    """Pixels of images (1, C, rows, width) as (C, *shape): columns `index` of rows in -1..1, both of this shape."""

    width: int
    shape: tuple[int, ...]

    def __call__(self, image: Tensor, index: Tensor, row: Tensor) -> Tensor:
        column = torch.where(index < 0, index + self.width, index).float() * (2 / max(self.width - 1, 1)) - 1
        grid = torch.stack([column, row.float().expand(self.shape)], -1).reshape(1, -1, self.shape[-1], 2)
        found = F.grid_sample(image.float(), grid, "nearest", "border", align_corners=True)
        return found.reshape(-1, *self.shape)
