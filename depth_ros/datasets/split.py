"""Which samples of a folder training may see: defined once, for training, cards and figures alike.

Independent pairs (KITTI 2015) differ from one to the next, so every fifth by its number is kept out.
Frames of a hand-held recording resemble their neighbours, so its last fifth is kept out in one piece.
Every other folder is for testing only.
"""

from __future__ import annotations

from depth_ros.datasets import Folder

INDEPENDENT = ("kitti_stereo",)
"""Layouts of independent pairs, where their frames have no rate; their names are numbers."""
RECORDINGS = ("hololens", "tum")
"""Layouts of ordered frames with measured depth."""
PART = 5
"""One sample in so many is kept out of training."""


def held_out(folder: Folder) -> list[int]:
    """Indices of the samples that training never sees, in order."""
    names = sample_names(folder)
    if folder.layout in RECORDINGS:
        return list(range(len(names) - len(names) // PART, len(names)))
    if folder.layout in INDEPENDENT and has_gaps(names):
        return [index for index, name in enumerate(names) if int(name) % PART == 0]
    return list(range(len(names)))


def training(folder: Folder) -> list[int]:
    """Indices of the samples that training may see: all that are not held out."""
    kept_out = set(held_out(folder))
    return [index for index in range(len(folder)) if index not in kept_out]


def sample_names(folder: Folder) -> list[str]:
    """The names of all samples; without reading images where the folder knows them."""
    return list(getattr(folder, "names", None) or [folder[index].name for index in range(len(folder))])


def has_gaps(names: list[str]) -> bool:
    """Whether numbered samples are not consecutive: single pairs, not a clip."""
    numbers = [int(name) for name in names if name.isdigit()]
    return len(numbers) == len(names) > 1 and numbers[-1] - numbers[0] >= len(numbers)
