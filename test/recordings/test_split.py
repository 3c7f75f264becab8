"""Split into training and held-out samples."""

from __future__ import annotations

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.split import continuous_parts, held_out, part_of, sequence_part, training

FRAME = Frame(1, "camera", np.zeros((3, 4, 3), np.uint8), Camera.pinhole(4, 3, 5.0, 5.0, 1.5, 1.0))


class NamedFrames:
    """A recording of frames with the given names and contents."""

    layout, rate, camera_source, damage = "named", 10.0, "made for tests", ()

    def __init__(self, names: list[str], contents: Contents, stamps: list[int] | None = None) -> None:
        self.names, self.contents = names, contents
        self.stamps = stamps or list(range(1, len(names) + 1))

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


def test_the_held_out_part_has_a_half_for_calibration_and_one_for_tests() -> None:
    recording = NamedFrames([str(number) for number in range(25)], Contents(depth=True))
    parts = [list(part_of(recording, part)) for part in ("held_out", "calibration", "test")]
    assert parts == [[20, 21, 22, 23, 24], [20, 21], [22, 23, 24]]
    assert [list(sequence_part(recording, part)) for part in ("calibration", "test")] == parts[1:]


def test_every_fifth_single_pair_is_held_out_by_its_number() -> None:
    names = ["000003", "000005", "000011", "000040", "000044"]
    recording = NamedFrames(names, Contents(depth=True, pairs=True, consecutive=False))
    assert [len(part) for part in continuous_parts(recording)] == [1] * 5
    assert held_out(recording) == [1, 3]
    assert training(recording) == [0, 2, 4]


def test_recording_without_measured_depth_is_held_out() -> None:
    for contents in (Contents(), Contents(predicted_depth=True)):
        recording = NamedFrames(["0", "1"], contents)
        assert (held_out(recording), training(recording)) == ([0, 1], [])
    assert held_out(NamedFrames([], Contents(depth=True))) == []


def test_parts_are_named() -> None:
    recording = NamedFrames([str(number) for number in range(10)], Contents(depth=True))
    assert (
        list(part_of(recording, "training")) == list(sequence_part(recording, "training")) == list(range(8))
    )
    assert list(part_of(recording, "held_out")) == list(sequence_part(recording, "held_out")) == [8, 9]
    assert list(part_of(recording, "all")) == list(sequence_part(recording, "all")) == list(range(10))
    without_depth = NamedFrames(recording.names, Contents())
    assert list(sequence_part(without_depth, "training")) == list(range(8))


def lengths(names: list[str], stamps: list[int] | None = None) -> list[int]:
    parts = continuous_parts(NamedFrames(names, Contents(), stamps))
    assert [index for part in parts for index in part] == list(range(len(names)))
    return [len(part) for part in parts]


def test_frames_are_continuous_up_to_a_gap_in_time() -> None:
    names = [f"frame_{number}" for number in range(8)]
    assert lengths(names, [100, 133, 166, 233, 266, 350, 383, 416]) == [5, 3]  # one frame lost, then two
    assert lengths(names, [100, 133, 166, 100, 133, 166, 200, 233]) == [3, 5]  # the clock was set back
    assert lengths(names, [100, 133, 133, 166, 200, 233, 266, 300]) == [2, 6]
    assert lengths([]) == [] and lengths(["0"]) == [1]


def test_a_gap_in_the_numbers_counts_where_stamps_were_generated() -> None:
    assert lengths(["000000", "000001", "000002", "000010", "000011"]) == [3, 2]
    assert lengths(["0", "2", "4", "6", "8"]) == [5]  # every second frame


def test_drives_are_parts_even_if_one_follows_the_other_in_time() -> None:
    assert lengths(["a_sync/0", "a_sync/1", "b_sync/2", "b_sync/3", "b_sync/4"]) == [2, 3]
