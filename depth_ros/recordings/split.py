"""Split of a recording into training and held-out samples, for training, evaluation and model cards.

Single stereo pairs (KITTI 2015) are independent of each other: every fifth by its number is held out.
Consecutive frames of a recording are similar: its last fifth is held out in one piece.
A published test split, where the recording has one, is what is held out.
The first half of what is held out is for calibration, the second for metrics that calibration changes.
A recording without depth cannot be trained on with depth: all of it is held out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from depth_ros.recordings import Recording

HELD_OUT_DIVISOR = 5
"""One sample in 5 is held out."""
MAX_GAP = 2.5
"""Largest interval between consecutive frames, in median intervals."""

Part = Literal["training", "held_out", "calibration", "test", "all"]
"""held_out: calibration, its first half, and test, its second."""


def held_out(recording: Recording) -> list[int]:
    """Indices of the held-out samples, in order."""
    count = len(recording)
    if not recording.contents.depth:
        return list(range(count))
    if recording.contents.test_split:
        return list(recording.contents.test_split)
    if _is_single_pairs(recording):
        return [index for index, name in enumerate(recording.names) if int(name) % HELD_OUT_DIVISOR == 0]
    return list(sequence_part(recording, "held_out"))


def _is_single_pairs(recording: Recording) -> bool:
    """Whether frames are pairs of different scenes, named by numbers."""
    contents = recording.contents
    return contents.pairs and not contents.consecutive and all(map(str.isdigit, recording.names))


def training(recording: Recording) -> list[int]:
    """Indices of the training samples: all that are not held out."""
    excluded = set(held_out(recording))
    return [index for index in range(len(recording)) if index not in excluded]


def part_of(recording: Recording, part: Part) -> Sequence[int]:
    """Indices of the samples of a part, in order."""
    if part == "all":
        return range(len(recording))
    if part == "training":
        return training(recording)
    indices = held_out(recording)
    half = len(indices) // 2
    return {"held_out": indices, "calibration": indices[:half], "test": indices[half:]}[part]


def sequence_part(recording: Recording, part: Part) -> range:
    """Frames of a part of a video, whether or not it has depth: the last fifth is held out."""
    count = len(recording)
    first_held_out = count - count // HELD_OUT_DIVISOR
    first_test = first_held_out + (count - first_held_out) // 2
    parts = {
        "training": range(first_held_out),
        "held_out": range(first_held_out, count),
        "calibration": range(first_held_out, first_test),
        "test": range(first_test, count),
        "all": range(count),
    }
    return parts[part]


def continuous_parts(recording: Recording) -> list[range]:
    """Frames without a gap between them: of one folder (the drives of raw KITTI), and at most `MAX_GAP` apart.

    Names that are numbers count as well as stamps, which may have been generated without regard to missing frames.
    """
    count = len(recording)
    if not count or _is_single_pairs(recording):
        return [range(index, index + 1) for index in range(count)]
    folders = np.array([name.rpartition("/")[0] for name in recording.names])
    breaks = (folders[1:] != folders[:-1]) | _gaps(np.asarray(recording.stamps, np.int64))
    if all(map(str.isdecimal, recording.names)):
        breaks |= _gaps(np.array([int(name) for name in recording.names], np.float64))
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), count]
    return [range(start, stop) for start, stop in itertools.pairwise(edges)]


def _gaps(times: np.ndarray) -> np.ndarray:
    """Whether there is a gap after each but the last of these times, or they go back."""
    steps = np.diff(times)
    forward = steps[steps > 0]
    longest = MAX_GAP * float(np.median(forward)) if len(forward) else 0.0
    return (steps <= 0) | (steps > longest)
