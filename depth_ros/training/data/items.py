"""Training items that are read when they are drawn, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from depth_ros.errors import DepthRosError
from depth_ros.recordings import DamagedFrame

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
Source = TypeVar("Source")


class UnusableItem(DepthRosError):
    """An item that nothing can be learned from, such as a clip of a stationary camera. Another one is taken instead."""


UNUSABLE = (UnusableItem, DamagedFrame)
"""What reading an item raises if another one should be taken instead."""


class Items(Protocol[Item_co]):
    """Items by number, read on access. Raises one of `UNUSABLE` where one cannot be used."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item_co: ...


class Joined(Generic[Item]):
    """The items of several parts, one part after the other."""

    def __init__(self, parts: list[Items[Item]]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int, /) -> Item:
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError("no such item")


class Converted(Generic[Source, Item]):
    """Items converted by a function, which may raise `UnusableItem`."""

    def __init__(self, items: Items[Source], convert: Callable[[Source], Item]) -> None:
        self.items, self.convert = items, convert

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int, /) -> Item:
        return self.convert(self.items[index])


class EvenSelection(Generic[Item]):
    """Up to `count` evenly spaced items, read whenever they are iterated over.

    Where one is unusable, the next usable one before the following one is taken.
    """

    def __init__(self, items: Items[Item], count: int) -> None:
        self.items, self.step = items, max(1, -(-len(items) // count))

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, len(self.items), self.step):
            item = first_usable(self.items, range(start, min(start + self.step, len(self.items))))
            if item is not None:
                yield item


def first_usable(items: Items[Item], indices: range) -> Item | None:
    """The first item that can be used; None if there is none."""
    for index in indices:
        try:
            return items[index]
        except UNUSABLE:
            continue
    return None
