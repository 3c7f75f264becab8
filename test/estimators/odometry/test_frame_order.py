"""Jumps of time in the stamps of frames."""

from __future__ import annotations

import pytest

from depth_ros.errors import DepthRosError
from depth_ros.estimators.odometry import frame_order
from depth_ros.estimators.odometry.frame_order import FrameOrder, TimeJump

START, PERIOD, SECOND = 1_700_000_000 * 10**9, 10**8, 10**9
MAX_GAP = 2.0


class Frames:
    """Frames at 10 Hz, as seen by FrameOrder; the monotonic clock is that of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 50.0
        monkeypatch.setattr(frame_order.time, "monotonic", lambda: self.now)
        self.order = FrameOrder(MAX_GAP)

    def send(self, *stamps: int, after: float = 0.1) -> list[TimeJump | None]:
        """What happened before each of these frames, `after` s apart; None for a rejected one."""
        found: list[TimeJump | None] = []
        for stamp in stamps:
            self.now += after
            try:
                found.append(self.order.check(stamp))
                self.order.accept(stamp)
            except DepthRosError:
                found.append(None)
        return found


@pytest.fixture()
def frames(monkeypatch: pytest.MonkeyPatch) -> Frames:
    frames = Frames(monkeypatch)
    assert frames.send(*(START + i * PERIOD for i in range(11))) == [TimeJump.NONE] * 11
    return frames


NOW = START + 11 * PERIOD
"""The next stamp after those of the fixture."""


@pytest.mark.parametrize("shift", [-0.7, -1.0, 3.0, 86400.0])
def test_a_clock_that_is_set_is_noticed_with_the_second_frame(frames: Frames, shift: float):
    stamp = NOW + round(shift * SECOND)
    jump = TimeJump.BACK if shift < 0 else TimeJump.GAP
    assert frames.send(stamp, stamp + PERIOD, stamp + 2 * PERIOD) == [None, jump, TimeJump.NONE]


@pytest.mark.parametrize("first", [START, START - 1, START - 3600 * SECOND], ids=["first", "before", "hour"])
def test_a_recording_loops_if_the_stamp_is_at_or_before_the_first_seen(frames: Frames, first: int):
    for _ in range(2):  # the start of the loop is then the first
        assert frames.send(first, first + PERIOD) == [None, TimeJump.LOOP]
        assert frames.send(*(first + i * PERIOD for i in range(2, 20))) == [TimeJump.NONE] * 18


def test_live_frames_are_not_a_recording_even_if_the_clock_is_set_back_beyond_the_first(
    frames: Frames, monkeypatch: pytest.MonkeyPatch
):
    live = START - 3600 * SECOND
    monkeypatch.setattr(frame_order.time, "time_ns", lambda: live + PERIOD)
    assert frames.send(live, live + PERIOD, live + 2 * PERIOD) == [None, TimeJump.BACK, TimeJump.NONE]


@pytest.mark.parametrize("wrong", [1234 * SECOND, NOW - SECOND, NOW + 3 * SECOND, NOW + 86400 * SECOND])
def test_single_frames_with_a_wrong_stamp_are_rejected_and_odometry_goes_on(frames: Frames, wrong: int):
    assert frames.send(wrong, NOW, wrong, NOW + PERIOD) == [None, TimeJump.NONE, None, TimeJump.NONE]


def test_late_frames_are_rejected(frames: Frames):
    assert frames.send(NOW - PERIOD, NOW - 2 * PERIOD, NOW) == [None, None, TimeJump.NONE]


def test_a_real_pause_is_a_gap_at_once_however_slow_the_camera_is(frames: Frames):
    assert frames.send(NOW + 10 * SECOND, after=10) == [TimeJump.GAP]
    assert frames.send(NOW + 13 * SECOND, NOW + 16 * SECOND, after=3) == [TimeJump.GAP] * 2
    back = NOW + 5 * SECOND
    assert frames.send(back, back + 3 * SECOND, after=3) == [None, TimeJump.BACK]


def test_after_a_restart_any_stamp_is_accepted(frames: Frames):
    frames.order.restart()
    assert frames.send(NOW - 5 * SECOND) == [TimeJump.NONE]


def test_the_reason_of_a_rejection_is_stated(frames: Frames):
    with pytest.raises(DepthRosError, match=r"its stamp is 99\.900 s after .* which arrived 0\.\d+ s ago"):
        frames.order.check(NOW + 998 * PERIOD)
    with pytest.raises(DepthRosError, match="its stamp is 100 ms before that of the previous frame"):
        frames.order.check(NOW - 2 * PERIOD)
