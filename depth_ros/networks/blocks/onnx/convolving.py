"""Convolutions of ONNX on values as they are stored; see `view`."""

from __future__ import annotations

import math
from dataclasses import replace

from depth_ros.networks.blocks.onnx.calls import Call, Tensors
from depth_ros.networks.blocks.onnx.operators import OPERATORS
from depth_ros.networks.blocks.onnx.view import View


def conv(tensors: Tensors, call: Call) -> list[View] | None:
    """Convolutions of the blocks of SpaceToDepth or SpaceToBatchND, stacked as a batch, are dilated convolutions."""
    x, node = call.first, call.node
    rank = len(x.groups) - 2
    blocks, spatial = x.groups[0][:rank], x.groups[2:]
    plain = not any(node.get("pads", [])) and node.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    if not plain or len(blocks) < rank or max(node.get("strides", [1])) > 1:
        return None
    places = [x.axes.index(axis) if axis in x.axes else -1 for axis in blocks]
    if any(len(group) != 1 or group[0] not in x.axes for group in spatial):
        return None
    if any(x.axes.index(group[0]) != place - 1 for group, place in zip(spatial, places)):
        return None
    whole = [(*group, block) for group, block in zip(spatial, blocks)]
    sizes = [block.size for block in blocks]
    dilations = [d * n for d, n in zip(node.get("dilations", [1] * rank), sizes)]
    changed = replace(node, attributes={**node.attributes, "dilations": dilations})
    image = tensors.arranged(x, [x.groups[0][rank:], x.groups[1], *whole])
    others = [tensors.arranged(view) for view in call.views[1:] if view]
    tensors.call(OPERATORS[node.op](changed), [image, *others], call.results)
    batch, channels, *inner = call.shapes[0]
    batch //= math.prod(sizes)
    shape = (batch, channels, *(n * size for n, size in zip(inner, sizes)))
    pairs = [n for pair in zip(inner, sizes) for n in pair]
    split = View.stored(call.results[0], shape).reshaped((batch, channels, *pairs))
    assert split is not None
    order = [3 + 2 * i for i in range(rank)] + [0, 1] + [2 + 2 * i for i in range(rank)]
    return [split.permuted(order).reshaped(call.shapes[0]) or split]


def conv_transpose(tensors: Tensors, call: Call) -> list[View] | None:
    """Transposed convolutions of volumes whose last axis has a kernel of 1 are those of images."""
    x, node = call.first, call.node
    weight = call.views[1]
    names = ("strides", "dilations", "output_padding")
    last = [node.get(name, [0 if name == "output_padding" else 1] * 3)[-1] for name in names]
    pads = node.get("pads", [0] * 6)
    simple = "output_shape" not in node.attributes and node.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    if weight is None or len(x.groups) != 5 or weight.sizes[-1] != 1 or last != [1, 1, 0] or not simple:
        return None
    if pads[2] or pads[5]:
        return None
    attributes = {
        name: value[:-1] for name, value in node.attributes.items() if name in (*names, "kernel_shape")
    }
    changed = replace(
        node,
        attributes={"group": node.get("group", 1), "pads": [*pads[:2], *pads[3:5]], **attributes},
    )
    image = tensors.arranged(x, [x.groups[4] + x.groups[0], *x.groups[1:4]])
    others = [
        tensors.arranged(weight, weight.groups[:-1]),
        *(tensors.arranged(view) for view in call.views[2:] if view),
    ]
    tensors.call(OPERATORS[node.op](changed), [image, *others], call.results)
    b, c, h, w, n = call.shapes[0]
    stored = View.stored(call.results[0], (n * b, c, h, w)).reshaped((n, b, c, h, w))
    assert stored is not None
    return [stored.permuted((1, 2, 3, 4, 0))]
