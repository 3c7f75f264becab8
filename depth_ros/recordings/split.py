"""Split of a folder into training and held-out samples, for training, evaluation and model cards.

Single stereo pairs (KITTI 2015) are independent of each other: every fifth by its number is held out.
Consecutive frames of a recording are similar: its last fifth is held out in one piece.
A folder without depth cannot be trained on: all of it is held out.
"""

from __future__ import annotations

from depth_ros.recordings import Recording

HELD_OUT_DIVISOR = 5
"""One sample in 5 is held out."""


def held_out(recording: Recording) -> list[int]:
    """Indices of the held-out samples, in order."""
    count, contents = len(recording), recording.contents
    if not contents.depth:
        return list(range(count))
    if contents.pairs and not contents.consecutive and all(map(str.isdigit, recording.names)):
        return [index for index, name in enumerate(recording.names) if int(name) % HELD_OUT_DIVISOR == 0]
    return list(range(count - count // HELD_OUT_DIVISOR, count))


def training(recording: Recording) -> list[int]:
    """Indices of the training samples: all that are not held out."""
    excluded = set(held_out(recording))
    return [index for index in range(len(recording)) if index not in excluded]
