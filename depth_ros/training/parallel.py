"""The same work on many things, by all processors of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")

FEW = 16
"""So many things are sooner done than processes started for them."""


def spread(work: Callable[[Thing], Result], things: Sequence[Thing]) -> list[Result]:
    """[work(thing) for thing in things], in as many processes as there are processors.

    work: a function of a module, or a `functools.partial` of one: a process that begins anew has to find it.
    """
    processors = available()
    if len(things) <= FEW or processors == 1:
        return [work(thing) for thing in things]
    with ProcessPoolExecutor(processors) as pool:
        return list(pool.map(work, things, chunksize=FEW // 2))


def available() -> int:
    """How many processors the machine has."""
    return os.cpu_count() or 1
