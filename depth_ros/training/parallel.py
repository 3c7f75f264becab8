"""Map a function over many arguments in parallel processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_SERIAL_ITEMS = 16
"""Up to this many items, starting processes takes longer than it saves."""


def parallel_map(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return [function(item) for item in items], computed by one process per processor.

    function: has to be picklable: a function of a module, or a `functools.partial` of one.
    """
    processors = processor_count()
    if len(items) <= MAX_SERIAL_ITEMS or processors == 1:
        return [function(item) for item in items]
    with ProcessPoolExecutor(processors) as pool:
        return list(pool.map(function, items, chunksize=MAX_SERIAL_ITEMS // 2))


def processor_count() -> int:
    """Number of processors of this machine."""
    return os.cpu_count() or 1
