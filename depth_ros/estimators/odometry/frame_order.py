"""Order of frames in time: late frames, wrong stamps, clocks that are set, recordings that loop."""

from __future__ import annotations

import time
from enum import Enum

from depth_ros.errors import DepthRosError

MAX_REORDERING = 0.5
"""s; a frame up to this much older than its predecessor arrived late; beyond it, time went back."""
MAX_LIVE_AGE = 1.0
"""s; frames whose stamps differ by at most this from the system's clock are not from a recording."""


class TimeJump(Enum):
    """What happened before a frame."""

    NONE = "time went on"
    GAP = "no frame came for a while, or the clock was set forward"
    BACK = "the clock was set back"
    LOOP = "a recording started again"


class FrameOrder:
    """Decides from the stamps of the frames whether odometry can go on.

    A jump of time counts only if the next frame confirms it: one frame with a wrong stamp is rejected. max_gap: s
    between two frames that odometry can bridge.
    """

    def __init__(self, max_gap: float) -> None:
        self._max_gap = max_gap
        self._first = 0  # ns; the start of a recording that may loop
        self.restart()

    def restart(self) -> None:
        """Accept any next frame: odometry has been restarted."""
        self._last = self._unconfirmed = (0, 0.0)  # ns, time.monotonic() of its arrival

    def check(self, stamp: int) -> TimeJump:
        """What happened between the last accepted frame and that of `stamp`, ns. Raises DepthRosError if it is late, or
        if its stamp is implausible until the next frame confirms it."""
        now = time.monotonic()
        last, arrival = self._last
        if not last:
            return TimeJump.NONE
        gap = 1e-9 * (stamp - last)
        if 0 < gap <= self._max_gap:
            return TimeJump.NONE
        if self._can_follow(stamp, self._last, now):
            return TimeJump.GAP
        if -MAX_REORDERING < gap <= 0:
            raise DepthRosError(
                f"frame rejected: its stamp is {-1000 * gap:.0f} ms before that of the previous frame"
            )
        if not self._can_follow(stamp, self._unconfirmed, now):
            self._unconfirmed = (stamp, now)
            side = "after" if gap > 0 else "before"
            raise DepthRosError(
                f"frame rejected: its stamp is {abs(gap):.3f} s {side} that of the previous frame, which arrived "
                f"{now - arrival:.3f} s ago; the next frame shows whether the clock was set"
            )
        if gap > 0:
            return TimeJump.GAP
        is_live = abs(time.time_ns() - stamp) < 1e9 * MAX_LIVE_AGE
        return TimeJump.BACK if is_live or self._unconfirmed[0] > self._first else TimeJump.LOOP

    def _can_follow(self, stamp: int, earlier: tuple[int, float], now: float) -> bool:
        """Whether a frame of `stamp` can come after an earlier one: by as much as time has passed, or a little more."""
        earlier_stamp, arrival = earlier
        gap = 1e-9 * (stamp - earlier_stamp)
        return bool(earlier_stamp) and 0 < gap <= self._max_gap + now - arrival

    def accept(self, stamp: int) -> None:
        """Note that a frame was used."""
        self._first = min(self._first or stamp, stamp)
        self._last, self._unconfirmed = (stamp, time.monotonic()), (0, 0.0)
