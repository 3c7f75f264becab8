"""Split into training and held-out samples."""

from __future__ import annotations

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.split import held_out, training

FRAME = Frame(1, "camera", np.zeros((3, 4, 3), np.uint8), Camera.pinhole(4, 3, 5.0, 5.0, 1.5, 1.0))


class NamedFrames:
    """A recording of frames with the given names and contents."""

    layout, rate, camera_source, damage = "named", 10.0, "made for tests", ()

    def __init__(self, names: list[str], contents: Contents) -> None:
        self.names, self.contents = names, contents
        self.stamps = list(range(1, len(names) + 1))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.names[index], FRAME)


def test_last_fifth_of_a_recording_is_held_out() -> None:
    for pairs in (False, True):
        names = [str(number) for number in range(100, 112)]
        recording = NamedFrames(names, Contents(depth=True, pairs=pairs))
        assert held_out(recording) == [10, 11]
        assert training(recording) == list(range(10))


def test_every_fifth_single_pair_is_held_out_by_its_number() -> None:
    names = ["000003", "000005", "000011", "000040", "000044"]
    recording = NamedFrames(names, Contents(depth=True, pairs=True, consecutive=False))
    assert held_out(recording) == [1, 3]
    assert training(recording) == [0, 2, 4]


def test_recording_without_measured_depth_is_held_out() -> None:
    for contents in (Contents(), Contents(predicted_depth=True)):
        recording = NamedFrames(["0", "1"], contents)
        assert (held_out(recording), training(recording)) == ([0, 1], [])
    assert held_out(NamedFrames([], Contents(depth=True))) == []
