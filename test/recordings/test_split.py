"""Split into training and held-out samples."""

from __future__ import annotations

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.recordings import Sample
from depth_ros.recordings.split import held_out, training

CAMERA = Camera.pinhole(4, 3, 5.0, 5.0, 1.5, 1.0)
FRAME = Frame(1, "camera", np.zeros((3, 4, 3), np.uint8), CAMERA)
DEPTH = np.ones((3, 4), np.float32)


class FakeFolder:
    layout, rate = "fake", 10.0

    def __init__(
        self, names: list[str], depth: np.ndarray | None = DEPTH, right: Frame | None = None
    ) -> None:
        self._samples = [Sample(name, FRAME, right, depth) for name in names]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def test_last_fifth_of_a_recording_is_held_out() -> None:
    for right in (None, FRAME):
        folder = FakeFolder([str(number) for number in range(100, 112)], right=right)
        assert held_out(folder) == [10, 11]
        assert training(folder) == list(range(10))


def test_every_fifth_single_pair_is_held_out_by_its_number() -> None:
    folder = FakeFolder(["000003", "000005", "000011", "000040", "000044"], right=FRAME)
    assert held_out(folder) == [1, 3]
    assert training(folder) == [0, 2, 4]


def test_folder_without_depth_is_held_out() -> None:
    folder = FakeFolder(["0", "1"], depth=None)
    assert (held_out(folder), training(folder)) == ([0, 1], [])
    assert held_out(FakeFolder([])) == []
