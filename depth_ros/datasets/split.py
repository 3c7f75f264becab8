"""Which samples of a folder training may learn depth from: defined once, for training, cards and figures.

Single stereo pairs (KITTI 2015) differ from one to the next, so every fifth by its number is kept out.
Frames of a recording resemble their neighbours, so its last fifth is kept out in one piece.
A folder without depth has nothing to learn from: all of it is for testing.
"""

from __future__ import annotations

from depth_ros.datasets import Folder

PART = 5
"""One sample in so many is kept out of training."""


def held_out(folder: Folder) -> list[int]:
    """Indices of the samples whose depth training never sees, in order."""
    count = len(folder)
    first = folder[0] if count else None
    if first is None or first.depth is None:
        return list(range(count))
    if first.right is not None:
        names = sample_names(folder)
        if _are_single_pairs(names):
            return [index for index, name in enumerate(names) if int(name) % PART == 0]
    return list(range(count - count // PART, count))


def training(folder: Folder) -> list[int]:
    """Indices of the samples that training may learn depth from: all that are not held out."""
    kept_out = set(held_out(folder))
    return [index for index in range(len(folder)) if index not in kept_out]


def sample_names(folder: Folder) -> list[str]:
    """The names of all samples; without reading images where the folder lists them."""
    listed = getattr(folder, "names", None)
    return list(listed) if listed else [folder[index].name for index in range(len(folder))]


def _are_single_pairs(names: list[str]) -> bool:
    """Whether the names are numbers with gaps: pairs picked one by one, not the frames of a clip."""
    return all(map(str.isdigit, names)) and int(names[-1]) - int(names[0]) >= len(names)
