"""Pairs of depth images that wait for their label image and odometry, which arrive later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from depth_ros.datatypes import Depth, Motion
from depth_ros.estimators.odometry.frame_order import MAX_REORDERING

Labels = TypeVar("Labels")

MAX_PENDING = 15
"""Number of pairs, and of label images, that wait: 0.5 s at 30 Hz."""


@dataclass(frozen=True)
class Pair:
    """Two successive frames. motion: None until it is known. received: time.perf_counter() of the newer frame."""

    older: Depth
    newer: Depth
    motion: Motion | None
    received: float


class PendingPairs(Generic[Labels]):
    """Buffer that returns the newest complete pair and drops those before it.

    max_gap: s between the frames of a pair. label_tolerance: s between a frame and its label image; None if pairs need
    no labels. odometry: motion of a frame_id between two stamps (ns), for frames added without motion.
    late: number of frames dropped because they arrived out of order.
    """

    def __init__(
        self, max_gap: float, label_tolerance: float | None,
        odometry: Callable[[str, int, int], Motion | None] | None,
    ) -> None:  # fmt: skip
        self._max_gap = max_gap
        self._label_tolerance = None if label_tolerance is None else round(label_tolerance * 1e9)
        self._odometry = odometry
        self._last: Depth | None = None
        self._pairs: list[Pair] = []
        self._labels: list[tuple[int, Labels]] = []
        self.late = 0

    def add(self, depth: Depth, motion: Motion | None, received: float) -> None:
        """Add the next frame, with the motion since the previous one if it is already known."""
        last = self._last
        gap = 1e-9 * (depth.stamp - last.stamp) if last else 0.0
        if last and -MAX_REORDERING < gap <= 0:
            self.late += 1
            return
        self._last = depth
        if gap < 0:
            self._pairs.clear()
            self._labels.clear()
        has_motion = self._odometry is not None or (
            motion is not None and last and motion.stamp_old == last.stamp
        )
        if last and has_motion and 0 < gap <= self._max_gap and last.depth.shape == depth.depth.shape:
            self._pairs = [*self._pairs, Pair(last, depth, motion, received)][-MAX_PENDING:]

    def add_labels(self, stamp: int, labels: Labels) -> None:
        """Add a label image of `stamp` ns, in whatever form `newest` is to return it."""
        self._labels = [*self._labels, (stamp, labels)][-MAX_PENDING:]

    def newest(self) -> tuple[Pair, Motion, Labels | None] | None:
        """The newest complete pair with its motion and labels (None if pairs need no labels); None if there is none."""
        for index in reversed(range(len(self._pairs))):
            pair = self._pairs[index]
            labels = self._labels_at(pair.newer.stamp)
            if self._label_tolerance is not None and labels is None:
                continue
            motion = pair.motion
            if motion is None and self._odometry:
                motion = self._odometry(pair.newer.frame_id, pair.older.stamp, pair.newer.stamp)
            if motion is not None:
                del self._pairs[: index + 1]
                return pair, motion, labels
        return None

    def _labels_at(self, stamp: int) -> Labels | None:
        """The label image nearest to `stamp` ns; None if none is within the tolerance or none is needed."""
        if self._label_tolerance is None or not self._labels:
            return None
        labels_stamp, labels = min(self._labels, key=lambda entry: abs(entry[0] - stamp))
        return labels if abs(labels_stamp - stamp) <= self._label_tolerance else None
