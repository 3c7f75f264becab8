"""The messages of one topic of a bag by number, without reading those before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from depth_ros.recordings.bags.parts import Bag, Message
from depth_ros.recordings.sample import DamagedFrame

MAX_SKIPPED = 8
"""Messages of a topic that are read and left out to reach one a little later, instead of searching for it."""

Deserialize = Callable[[bytes, str], Any]


@dataclass(frozen=True)
class Entry:
    """Where a message is. stamp: ns, of its header, or of its recording if that is 0."""

    stamp: int
    part: int
    place: int
    repeat: int
    """Number of earlier messages of the topic at the same place."""


class Frames(Protocol):
    """The images, or other messages, of a topic by number. stamps: ns of each."""

    @property
    def stamps(self) -> list[int]: ...

    def message(self, number: int) -> Any:
        """The deserialised message; raises DamagedFrame, or whatever damaged data causes."""
        ...


@dataclass
class Track:
    """The messages of one topic in recorded order."""

    topic: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def stamps(self) -> list[int]:
        return [entry.stamp for entry in self.entries]

    def add(self, part: int, message: Message, stamp: int) -> None:
        last = self.entries[-1] if self.entries else None
        same = last is not None and (last.part, last.place) == (part, message.place)
        self.entries.append(Entry(stamp, part, message.place, last.repeat + 1 if last and same else 0))


class Messages:
    """The messages of one track by number. Reading on is quick; other numbers are searched for."""

    def __init__(self, bag: Bag, track: Track, deserialize: Deserialize) -> None:
        self._bag, self._track, self._deserialize = bag, track, deserialize
        self._next = 0
        self._messages: Iterator[tuple[int, Message]] = iter(())

    @property
    def stamps(self) -> list[int]:
        return self._track.stamps

    def message(self, number: int) -> Any:
        message = self._read(number)
        return self._deserialize(message.data, message.kind)

    def _read(self, number: int) -> Message:
        if not self._next <= number <= self._next + MAX_SKIPPED or not self._next:
            entry = self._track.entries[number]
            self._messages = self._bag.messages([self._track.topic], entry.part, entry.place)
            self._next = number - entry.repeat
        skipped = number - self._next
        self._next = number + 1
        for _, message in itertools.islice(self._messages, skipped, None):
            return message
        self._next = 0
        raise DamagedFrame(f"{self._bag.path}: {self._track.topic} ends before message {number}")
