"""Pairs of depth images that wait for the labels and the odometry of their time, which come later than they."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from depth_ros.datatypes import Depth, Motion
from depth_ros.messages import stamp_ns

MAX_REORDERING = 0.5
"""s; an image older than its predecessor by up to this arrived late; by more, time was set back."""
KEPT = 15
"""Pairs that wait, and label images: 0.5 s at 30 Hz."""


@dataclass(frozen=True)
class Pair:
    """Two frames in a row. motion: None as long as it is not known. received: time.perf_counter() of the newer."""

    older: Depth
    newer: Depth
    motion: Motion | None
    received: float


class WaitingPairs:
    """The newest pair that is complete wins; those before it are forgotten.

    longest: s between two frames that make a pair. tolerance: s between a frame and its labels.
    labels: whether a pair needs them. odometry: as of OdomInput.motion.
    """

    def __init__(
        self, longest: float, tolerance: float, labels: bool,
        odometry: Callable[[str, int, int], Motion | None] | None,
    ) -> None:  # fmt: skip
        self._longest, self._tolerance = longest, round(tolerance * 1e9)
        self._needs_labels, self._odometry = labels, odometry
        self._last: Depth | None = None
        self._pairs: list[Pair] = []
        self._labels: list[Any] = []
        self.late = 0

    def add(self, depth: Depth, motion: Motion | None, received: float) -> None:
        """The next frame, and the motion since the one before if it is known by now."""
        last = self._last
        gap = 1e-9 * (depth.stamp - last.stamp) if last else 0.0
        if last and -MAX_REORDERING < gap <= 0:
            self.late += 1
            return
        self._last = depth
        if gap < 0:
            self._pairs.clear()
            self._labels.clear()
        known = self._odometry is not None or (motion is not None and last and motion.stamp_old == last.stamp)
        if last and known and 0 < gap <= self._longest and last.depth.shape == depth.depth.shape:
            self._pairs = [*self._pairs, Pair(last, depth, motion, received)][-KEPT:]

    def add_labels(self, message: Any) -> None:
        """A label image that came."""
        self._labels = [*self._labels, message][-KEPT:]

    def newest(self) -> tuple[Pair, Motion, Any] | None:
        """The newest pair of which all is known, with its motion and its labels (a message, or None)."""
        for index in reversed(range(len(self._pairs))):
            pair = self._pairs[index]
            labels = self._labels_of(pair.newer.stamp) if self._needs_labels else None
            if self._needs_labels and labels is None:
                continue
            motion = pair.motion
            if motion is None and self._odometry:
                motion = self._odometry(pair.newer.frame_id, pair.older.stamp, pair.newer.stamp)
            if motion is not None:
                del self._pairs[: index + 1]
                return pair, motion, labels
        return None

    def _labels_of(self, stamp: int) -> Any:
        def distance(message: Any) -> int:
            return abs(stamp_ns(message.header) - stamp)

        best = min(self._labels, key=distance, default=None)
        return best if best is not None and distance(best) <= self._tolerance else None
