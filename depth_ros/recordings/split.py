"""Split of a folder into training and held-out samples, for training, evaluation and model cards.

Single stereo pairs (KITTI 2015) are independent of each other: every fifth by its number is held out.
Consecutive frames of a recording are similar: its last fifth is held out in one piece.
A folder without depth cannot be trained on: all of it is held out.
"""

from __future__ import annotations

from depth_ros.recordings import Recording

HELD_OUT_DIVISOR = 5
"""One sample in 5 is held out."""


def held_out(folder: Recording) -> list[int]:
    """Indices of the held-out samples, in order."""
    count = len(folder)
    first = folder[0] if count else None
    if first is None or first.depth is None:
        return list(range(count))
    if first.right is not None:
        names = sample_names(folder)
        if _are_single_pairs(names):
            return [index for index, name in enumerate(names) if int(name) % HELD_OUT_DIVISOR == 0]
    return list(range(count - count // HELD_OUT_DIVISOR, count))


def training(folder: Recording) -> list[int]:
    """Indices of the training samples: all that are not held out."""
    excluded = set(held_out(folder))
    return [index for index in range(len(folder)) if index not in excluded]


def sample_names(folder: Recording) -> list[str]:
    """The names of all samples. No image is read if the folder lists its names."""
    listed = getattr(folder, "names", None)
    return list(listed) if listed else [folder[index].name for index in range(len(folder))]


def _are_single_pairs(names: list[str]) -> bool:
    """Whether the names are numbers with gaps: single pairs instead of consecutive frames."""
    return all(map(str.isdigit, names)) and int(names[-1]) - int(names[0]) >= len(names)
