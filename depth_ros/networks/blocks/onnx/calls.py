"""What an operator of ONNX gets and adds where values are stored with other axes than they have; see `view`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from depth_ros.networks.blocks.onnx.node import Function, Node
from depth_ros.networks.blocks.onnx.view import Axis, Group, View, size_of


@dataclass(frozen=True)
class Call:
    """An operator on views; None where an input is left out or was read. shapes: of the results."""

    node: Node
    function: Function
    views: list[View | None]
    results: list[str]
    shapes: list[tuple[int, ...]]

    @property
    def first(self) -> View:
        """The first input."""
        assert self.views[0] is not None
        return self.views[0]


class Tensors(Protocol):
    """What the steps compute with; see `folding.Folding`."""

    def arranged(self, view: View, groups: Sequence[Group] | None = None) -> str: ...
    def call(self, function: Function, arguments: Sequence[str], results: Sequence[str]) -> None: ...
    def constant(self, name: str, value: Tensor) -> View: ...
    def is_constant(self, view: View) -> bool: ...


def aligned(
    tensors: Tensors, views: Sequence[View], name: str, shape: tuple[int, ...]
) -> tuple[list[str], View] | None:
    """Tensors of these values whose axes agree, and the view of a result `name` of this shape; None if their axes
    cannot be split in the same way."""
    wide = [replace(view, groups=((),) * (len(shape) - len(view.groups)) + view.groups) for view in views]
    found = [_common_parts([view.groups[i] for view in wide]) for i in range(len(shape))]
    parts = [part for part in found if part]
    split = [_split(view, parts) for view in wide] if len(parts) == len(found) else [None]
    if None in split:
        return None
    whole = [view for view in split if view]
    sizes = [n for part in parts for n in part]
    stored = [
        i
        for i in range(len(sizes))
        if any(view.groups[i] and view.groups[i][0] in view.axes for view in whole)
    ]
    # of equal ones the first
    leading = max(whole, key=lambda view: (not tensors.is_constant(view), math.prod(view.shape)))
    order = leading.order
    names = []
    for view in whole:
        if view.shape == ():
            names.append(view.name)
            continue
        groups = [tuple(axis for axis in view.groups[i] if axis in view.axes) for i in order]
        names.append(tensors.arranged(view, groups))
    axes = [Axis(n) for n in sizes]
    pieces = iter(axes)
    groups = [tuple(axis for axis in [next(pieces) for _ in part] if axis.size != 1) for part in parts]
    long = tuple(axes[i] for i in order if i in stored and sizes[i] != 1)
    result = View(name, tuple(sizes[i] if i in stored else 1 for i in order), long, tuple(groups))
    return names, result.reshaped(shape) or result


def _common_parts(groups: Sequence[Group]) -> tuple[int, ...] | None:
    """The factors of the length of an axis into which it can be split in all of these; None if there are none."""
    cuts = {1}
    for group in groups:
        for i in range(len(group)):
            cuts.add(size_of(group[i:]))
    inner = sorted(cuts)
    parts = tuple(b // a for a, b in itertools.pairwise(inner))[::-1]
    if any(b % a for a, b in itertools.pairwise(inner)):
        return None
    return parts or (1,)


def _split(view: View, parts: Sequence[tuple[int, ...]]) -> View | None:
    """The view with one axis for each part; parts along which it is constant have the length 1."""
    shape = list[int]()
    for group, part in zip(view.groups, parts, strict=True):
        shape += part if group else [1] * len(part)
    return view.reshaped(shape)
