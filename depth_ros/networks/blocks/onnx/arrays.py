"""Operators of ONNX that rearrange, index and make tensors, in torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.onnx.node import DTYPES, Function, Node


def squeeze(node: Node) -> Function:
    axes = node.axes()
    return lambda x, *_: x.squeeze() if axes is None else x.squeeze(tuple(axes))


def unsqueeze(node: Node) -> Function:
    axes = node.axes() or []

    def function(x: Tensor, *_: Any) -> Tensor:
        rank = x.ndim + len(axes)
        for axis in sorted(a % rank for a in axes):
            x = x.unsqueeze(axis)
        return x

    return function


def reshape(node: Node) -> Function:
    shape, keep = node.values(1, "shape"), not node.get("allowzero", 0)
    return lambda x, *_: x.reshape([x.shape[i] if n == 0 and keep else n for i, n in enumerate(shape)])


def flatten(node: Node) -> Function:
    axis = node.get("axis", 1)
    return lambda x: x.reshape(math.prod(x.shape[: axis % (x.ndim + 1)]), -1)


def transpose(node: Node) -> Function:
    perm = node.get("perm")
    return lambda x: x.permute(perm or tuple(reversed(range(x.ndim))))


def concat(node: Node) -> Function:
    axis = node.get("axis", 1)
    return lambda *x: torch.cat(x, axis)


def split(node: Node) -> Function:
    axis, sizes, count = node.get("axis", 0), node.values(1, "split"), node.outputs

    def function(x: Tensor, *_: Any) -> Sequence[Tensor]:
        size = x.shape[axis]
        return x.split(sizes or -(-size // count), axis)

    return function


def slice_op(node: Node) -> Function:
    starts, ends = node.values(1, "starts"), node.values(2, "ends")
    axes = node.values(3, "axes", list(range(len(starts))))
    steps = node.values(4, "steps", [1] * len(starts))

    def function(x: Tensor, *_: Any) -> Tensor:
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            chosen = range(x.shape[axis])[slice(start, end, step)] if step > 0 else _backwards(
                x.shape[axis], start, end, step
            )  # fmt: skip
            if len(chosen) == x.shape[axis] and step == 1:
                continue
            if step > 0:
                index = [slice(None)] * x.ndim
                index[axis] = slice(chosen.start, chosen.stop, step)
                x = x[tuple(index)]
            elif step == -1:
                x = x.narrow(axis, chosen[-1], len(chosen)).flip(axis)
            else:
                x = x.index_select(axis, torch.tensor(list(chosen), device=x.device))
        return x

    return function


def _backwards(size: int, start: int, end: int, step: int) -> range:
    """Indices of a slice with a negative step: ONNX clamps both ends."""
    start = min(start + size if start < 0 else start, size - 1)
    end = max(end + size if end < 0 else end, -1)
    return range(start, end, step)


def gather(node: Node) -> Function:
    axis = node.get("axis", 0)
    constant = node.constants[1]
    if constant is not None and constant.ndim == 0:
        index = node.values(1)
        return lambda x, *_: x.select(axis, index)

    def function(x: Tensor, index: Tensor) -> Tensor:
        index = torch.where(index < 0, index + x.shape[axis], index).long()
        shape = (*x.shape[: axis % x.ndim], *index.shape, *x.shape[axis % x.ndim + 1 :])
        return x.index_select(axis, index.reshape(-1)).reshape(shape)

    return function


def gather_elements(node: Node) -> Function:
    axis = node.get("axis", 0)
    return lambda x, index: x.gather(axis, torch.where(index < 0, index + x.shape[axis], index).long())


def gather_nd(node: Node) -> Function:
    batch = node.get("batch_dims", 0)

    def function(x: Tensor, index: Tensor) -> Tensor:
        lead = x.shape[:batch]
        x = x.reshape(-1, *x.shape[batch:])
        index = index.reshape(len(x), *index.shape[batch:]).long()
        depth = index.shape[-1]
        first = torch.arange(len(x), device=x.device).reshape(-1, *[1] * (index.ndim - 2))
        found = x[(first, *(index[..., i] for i in range(depth)))]
        return found.reshape(*lead, *found.shape[1:])

    return function


def scatter_nd(node: Node) -> Function:
    accumulate = {"none": False, "add": True}[node.get("reduction", "none")]

    def function(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        index = index.long()
        return x.index_put(
            tuple(index[..., i] for i in range(index.shape[-1])), updates.to(x.dtype), accumulate
        )

    return function


def scatter_elements(node: Node) -> Function:
    axis, add = node.get("axis", 0), node.get("reduction", "none") == "add"

    def function(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        index = torch.where(index < 0, index + x.shape[axis], index).long()
        return x.scatter_add(axis, index, updates) if add else x.scatter(axis, index, updates)

    return function


def expand(node: Node) -> Function:
    shape = node.values(1)
    return lambda x, *_: x.expand(torch.broadcast_shapes(x.shape, shape))


def tile(node: Node) -> Function:
    repeats = node.values(1)
    return lambda x, *_: x.repeat(repeats)


def pad(node: Node) -> Function:
    pads, value = node.values(1, "pads"), node.values(2, "value", 0.0)
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        node.get("mode", "constant")
    ]
    axes = node.values(3)

    def function(x: Tensor, *_: Any) -> Tensor:
        chosen = [a % x.ndim for a in axes] if axes is not None else list(range(x.ndim))
        pairs = [(0, 0)] * x.ndim
        for i, axis in enumerate(chosen):
            pairs[axis] = (pads[i], pads[i + len(chosen)])
        while len(pairs) > 1 and pairs[0] == (0, 0):
            pairs = pairs[1:]
        if all(pair == (0, 0) for pair in pairs):
            return x
        flat = [side for pair in reversed(pairs) for side in pair]
        if mode == "constant":
            return F.pad(x, flat, value=value if isinstance(value, (int, float)) else 0.0)
        lead = x.shape[: x.ndim - len(pairs)]
        y = F.pad(x.reshape(1, -1, *x.shape[x.ndim - len(pairs) :]), flat, mode)
        return y.reshape(*lead, *y.shape[2:])

    return function


def constant_of_shape(node: Node) -> Function:
    shape, value = node.values(0), node.get("value", 0.0)
    dtype = DTYPES[node.get("dtype", "float")]
    return lambda *_: torch.full(shape, value, dtype=dtype)


def range_op(node: Node) -> Function:
    start, limit, step = (v[0] if isinstance(v, list) else v for v in (node.values(i) for i in range(3)))
    first = node.constants[0]
    dtype = first.dtype if first is not None else torch.int64
    return lambda *_: torch.arange(start, limit, step, dtype=dtype)


def depth_to_space(node: Node) -> Function:
    size, mode = node.get("blocksize"), node.get("mode", "DCR")
    if mode == "CRD":
        return lambda x: F.pixel_shuffle(x, size)

    def function(x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        x = x.reshape(b, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(b, c // size**2, h * size, w * size)

    return function


def space_to_depth(node: Node) -> Function:
    size = node.get("blocksize")

    def function(x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        x = x.reshape(b, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
        return x.reshape(b, c * size**2, h // size, w // size)

    return function


def trilu(node: Node) -> Function:
    diagonal, upper = node.values(1, default=0), node.get("upper", 1)
    return lambda x, *_: torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)


def one_hot(node: Node) -> Function:
    depth, (off, on), axis = node.values(1), node.values(2), node.get("axis", -1)
    depth = int(depth[0] if isinstance(depth, list) else depth)

    def function(index: Tensor, *_: Any) -> Tensor:
        ids = torch.arange(depth, device=index.device)
        hit = (index.unsqueeze(-1) % depth) == ids
        return torch.where(hit, float(on), float(off)).movedim(-1, axis)

    return function


def top_k(node: Node) -> Function:
    count, axis = node.values(1, "k"), node.get("axis", -1)
    count = count[0] if isinstance(count, list) else count
    largest, ordered = bool(node.get("largest", 1)), bool(node.get("sorted", 1))
    return lambda x, *_: tuple(torch.topk(x, count, axis, largest, ordered))


def shape(node: Node) -> Function:
    first, last = node.get("start", 0), node.get("end")
    return lambda x: torch.tensor(list(x.shape)[first:last], dtype=torch.int64)


def eye_like(node: Node) -> Function:
    dtype, offset = node.get("dtype"), node.get("k", 0)

    def function(x: Tensor) -> Tensor:
        ones = torch.ones(x.shape, device=x.device, dtype=DTYPES[dtype] if dtype else x.dtype)
        return ones.tril(offset).triu(offset)

    return function


def col2im(node: Node) -> Function:
    size, block = node.values(1), node.values(2)
    dilations, strides, pads = (
        node.get(n, [d] * c) for n, d, c in (("dilations", 1, 2), ("strides", 1, 2), ("pads", 0, 4))
    )
    if len(block) != 2 or pads[:2] != pads[2:]:
        raise DepthRosError("operator Col2Im is supported for images with symmetric pads only")
    return lambda x, *_: F.fold(x, size, block, dilations, pads[:2], strides)
