"""Values of a graph that are stored with other axes than they have.

Graphs spend much of their time on moving data: networks of TensorFlow have their channels last, but their convolutions
take them first. Transpose, Reshape, Tile and the like need not move anything. They change how the axes of a value are
composed of those of a stored tensor, as in the patterns of einops, and operators that can work on any order of the axes
do so. Only where an operator needs a certain order is a tensor rearranged, once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Axis:
    """An axis, or a part of one."""

    size: int


Group = tuple[Axis, ...]
"""The axes that one axis is composed of, outermost first; none if its length is 1."""


@dataclass(frozen=True)
class Arrangement:
    """Reshapes a tensor to `sizes`, permutes it to `order`, repeats it from `narrow` to `wide`, and reshapes it."""

    sizes: tuple[int, ...]
    order: tuple[int, ...]
    narrow: tuple[int, ...]
    wide: tuple[int, ...]
    shape: tuple[int, ...]

    def keeps(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape stays as it is."""
        return shape == self.shape and self.narrow == self.wide and self.order == tuple(sorted(self.order))

    def __call__(self, x: Tensor) -> Tensor:
        if self.order != tuple(sorted(self.order)):
            x = x.reshape(self.sizes).permute(self.order)
        if self.narrow != self.wide:
            x = x.reshape(self.narrow).expand(self.wide)
        return x if tuple(x.shape) == self.shape else x.reshape(self.shape)


@dataclass(frozen=True)
class View:
    """A value, stored as the tensor `name` of shape `shape`.

    axes: those of the stored tensor that are longer than 1, in its order. groups: for each axis of the value the axes
    that it is composed of; along those that are not stored it repeats itself.
    """

    name: str
    shape: tuple[int, ...]
    axes: Group
    groups: tuple[Group, ...]

    @staticmethod
    def stored(name: str, shape: Sequence[int], order: Sequence[int] | None = None) -> View:
        """A value of this shape whose axes are stored in this order."""
        axes = [Axis(n) for n in shape]
        order = range(len(axes)) if order is None else order
        long = tuple(axes[i] for i in order if axes[i].size != 1)
        groups = tuple((axis,) if axis.size != 1 else () for axis in axes)
        return View(name, tuple(shape[i] for i in order), long, groups)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of the value."""
        return tuple(size_of(group) for group in self.groups)

    @property
    def order(self) -> list[int]:
        """The axes of the value in the order in which they are stored; where that is none, after the one before."""
        places, place = [], -1
        for group in self.groups:
            found = [self.axes.index(axis) for axis in group if axis in self.axes]
            place = found[0] if found else place
            places.append(place)
        return sorted(range(len(places)), key=lambda i: (places[i], i))

    def permuted(self, order: Sequence[int]) -> View:
        """The value with its axes in this order."""
        return replace(self, groups=tuple(self.groups[i] for i in order))

    def reshaped(self, shape: Sequence[int]) -> View | None:
        """The value in this shape; None if its axes cannot be split so."""
        rest, axes, groups = [axis for group in self.groups for axis in group], list(self.axes), list[Group]()
        for size in shape:
            group, missing = list[Axis](), size
            while missing > 1 and rest:
                axis = rest.pop(0)
                outer = math.gcd(axis.size, missing)
                if outer not in (axis.size, missing):
                    return None
                if outer < axis.size:
                    parts = [Axis(outer), Axis(axis.size // outer)]
                    if axis in axes:
                        place = axes.index(axis)
                        axes[place : place + 1] = parts
                    rest.insert(0, parts[1])
                    axis = parts[0]
                group.append(axis)
                missing //= outer
            if missing != 1:
                return None
            groups.append(tuple(group))
        return None if rest else View(self.name, self.shape, tuple(axes), tuple(groups))._merged()

    def tiled(self, repeats: Sequence[int]) -> View:
        """The value, repeated that often along each axis."""
        added = [(Axis(n),) if n > 1 else () for n in repeats]
        return replace(self, groups=tuple(a + group for a, group in zip(added, self.groups, strict=True)))

    def _merged(self) -> View:
        """The same with neighbouring axes that are stored together as one."""
        axes, groups = list(self.axes), list[Group]()
        for group in self.groups:
            merged = list[Axis]()
            for axis in group:
                last = merged[-1] if merged else None
                if last in axes and axis in axes and axes.index(axis) == axes.index(last) + 1:
                    merged[-1] = Axis(last.size * axis.size)
                    axes[axes.index(last) : axes.index(axis) + 1] = [merged[-1]]
                else:
                    merged.append(axis)
            groups.append(tuple(merged))
        return View(self.name, self.shape, tuple(axes), tuple(groups))

    def arrangement(self, groups: Sequence[Group]) -> Arrangement:
        """What makes a tensor with these axes of the stored one."""
        flat = [axis for group in groups for axis in group]
        return Arrangement(
            tuple(axis.size for axis in self.axes),
            tuple(self.axes.index(axis) for axis in flat if axis in self.axes),
            tuple(axis.size if axis in self.axes else 1 for axis in flat),
            tuple(axis.size for axis in flat),
            tuple(size_of(group) for group in groups),
        )


def size_of(group: Group) -> int:
    """The length of an axis that is composed of these."""
    return math.prod(axis.size for axis in group)
