"""Items that are read when they are drawn: joined, converted, selected."""

from depth_ros.recordings import DamagedFrame
from depth_ros.training.data.items import Converted, EvenSelection, Joined, UnusableItem


class Numbers:
    """Items 0, 1, ... of which some cannot be used."""

    def __init__(self, count: int, unusable: tuple[int, ...] = (), damaged: tuple[int, ...] = ()) -> None:
        self.count, self.unusable, self.damaged = count, unusable, damaged

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        if index in self.unusable:
            raise UnusableItem("of no use")
        if index in self.damaged:
            raise DamagedFrame("damaged")
        return index


def test_parts_follow_each_other():
    joined = Joined([Numbers(2), Numbers(0), Numbers(3)])
    assert len(joined) == 5 and [joined[i] for i in range(5)] == [0, 1, 0, 1, 2]


def test_items_are_converted_when_read():
    assert [Converted(Numbers(3), str)[i] for i in range(3)] == ["0", "1", "2"]


def test_a_selection_is_evenly_spaced_and_takes_the_next_usable_item():
    assert list(EvenSelection(Numbers(10), 20)) == list(range(10))
    assert list(EvenSelection(Numbers(10), 4)) == [0, 3, 6, 9]
    selection = EvenSelection(Numbers(10, unusable=(3, 9), damaged=(4,)), 4)
    assert list(selection) == [0, 5, 6] == list(selection)
    assert list(EvenSelection(Numbers(0), 4)) == []
