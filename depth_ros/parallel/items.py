"""Work items and their outcomes, which cross processes and machines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from depth_ros.errors import DepthRosError

log = logging.getLogger("depth_ros.parallel")

ATTEMPTS = 2
"""How often an item is tried whose worker dies. An item that raises an error is tried once."""


@dataclass(frozen=True)
class WorkItem:
    """One call in another process. name: unique among the items that are run together.

    call: without arguments, picklable, e.g. a `functools.partial` of a function of a module. Returns what JSON can
    hold. It may be called again after its process was killed at any moment.
    """

    name: str
    call: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """The result of an item, or why it has none. problem: empty if it has one."""

    result: dict[str, Any] | None
    problem: str = ""


class Executor(Protocol):
    """Where items run."""

    def map(self, items: Sequence[WorkItem], done: Callable[[], None]) -> dict[str, Outcome]:
        """Run all items; `done` is called after each. Returns the outcome of every name, whatever others do."""
        ...


def attempt(item: WorkItem, level: int) -> Outcome:
    """Run one item in this process, which is a worker. level: of the log, whose lines get the name of the item."""
    name = item.name.replace("%", "%%")
    logging.basicConfig(level=logging.WARNING, format=f"depth_ros: {name}: %(message)s", force=True)
    logging.getLogger("depth_ros").setLevel(level)
    try:
        return Outcome(item.call())
    except DepthRosError as error:
        return Outcome(None, str(error))
    except Exception as error:  # one bad item never loses the rest
        log.exception("unexpected error")
        return Outcome(None, f"{type(error).__name__}: {error}")
