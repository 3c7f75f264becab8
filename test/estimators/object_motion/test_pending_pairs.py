"""Pairs of frames that wait for their labels: which frame came late, and when time itself went back."""

from __future__ import annotations

import numpy as np

from depth_ros.datatypes import Camera, Depth, Motion
from depth_ros.estimators.object_motion.pending_pairs import WaitingPairs

CAMERA = Camera.pinhole(4, 3, 4.0, 4.0, 1.5, 1.0)


def frame(seconds: float) -> Depth:
    pixels = np.zeros((3, 4, 3), np.uint8)
    return Depth(round(1e9 * seconds), "camera", np.ones((3, 4), np.float32), CAMERA, pixels)


def add(pairs: WaitingPairs, older: float, newer: float) -> None:
    pairs.add(frame(newer), Motion(round(1e9 * older), round(1e9 * newer), np.eye(4)), 0.0)


def stamps(pairs: WaitingPairs) -> tuple[float, float] | None:
    found = pairs.newest()
    return found and (found[0].older.stamp / 1e9, found[0].newer.stamp / 1e9)


def test_the_newest_pair_wins_once_and_long_gaps_make_none():
    pairs = WaitingPairs(0.35, 0.02, False, None)
    pairs.add(frame(1.0), None, 0.0)
    add(pairs, 1.0, 1.1)
    add(pairs, 1.1, 1.2)
    assert stamps(pairs) == (1.1, 1.2) and stamps(pairs) is None
    add(pairs, 1.2, 1.6)
    assert stamps(pairs) is None


def test_a_frame_that_came_late_is_left_out():
    pairs = WaitingPairs(0.35, 0.02, False, None)
    pairs.add(frame(1.0), None, 0.0)
    add(pairs, 1.0, 0.9)
    assert pairs.late == 1
    add(pairs, 1.0, 1.1)
    assert stamps(pairs) == (1.0, 1.1)


def test_a_bag_that_loops_starts_anew():
    pairs = WaitingPairs(0.35, 0.02, False, None)
    pairs.add(frame(60.0), None, 0.0)
    add(pairs, 60.0, 60.1)
    pairs.add(frame(1.0), None, 0.0)
    assert pairs.late == 0 and stamps(pairs) is None
    add(pairs, 1.0, 1.1)
    assert stamps(pairs) == (1.0, 1.1)
