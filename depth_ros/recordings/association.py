"""Images of two sensors that belong together."""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def associate(stamps: Sequence[int], others: Sequence[int], max_difference: int) -> list[int | None]:
    """For each stamp the index of the nearest one of the others, each used once, the closest pairs first.

    All in ns, sorted; None where none is within max_difference.
    """
    candidates = []
    for number, stamp in enumerate(stamps):
        after = bisect.bisect_left(others, stamp)
        near = (i for i in (after - 1, after) if 0 <= i < len(others))
        candidates += [
            (abs(others[i] - stamp), number, i) for i in near if abs(others[i] - stamp) <= max_difference
        ]
    found: list[int | None] = [None] * len(stamps)
    used: set[int] = set()
    for _, number, i in sorted(candidates):
        if found[number] is None and i not in used:
            found[number] = i
            used.add(i)
    return found
