"""Pairs of frames waiting for labels and odometry: late frames, gaps, a clock that jumps back, matching of labels."""

from __future__ import annotations

import numpy as np

from depth_ros.datatypes import Camera, Depth, Motion
from depth_ros.estimators.object_motion.pending_pairs import PendingPairs

CAMERA = Camera.pinhole(4, 3, 4.0, 4.0, 1.5, 1.0)


def ns(seconds: float) -> int:
    return round(1e9 * seconds)


def frame(seconds: float) -> Depth:
    pixels = np.zeros((3, 4, 3), np.uint8)
    return Depth(ns(seconds), "camera", np.ones((3, 4), np.float32), CAMERA, pixels)


def add(pairs: PendingPairs, older: float, newer: float) -> None:
    pairs.add(frame(newer), Motion(ns(older), ns(newer), np.eye(4)), 0.0)


def stamps(pairs: PendingPairs) -> tuple[float, float] | None:
    found = pairs.newest()
    return found and (found[0].older.stamp / 1e9, found[0].newer.stamp / 1e9)


def test_newest_pair_is_returned_once_and_long_gaps_form_no_pair():
    pairs = PendingPairs(0.35, None, None)
    pairs.add(frame(1.0), None, 0.0)
    add(pairs, 1.0, 1.1)
    add(pairs, 1.1, 1.2)
    assert stamps(pairs) == (1.1, 1.2) and stamps(pairs) is None
    add(pairs, 1.2, 1.6)
    assert stamps(pairs) is None


def test_late_frame_is_counted_and_dropped():
    pairs = PendingPairs(0.35, None, None)
    pairs.add(frame(1.0), None, 0.0)
    add(pairs, 1.0, 0.9)
    assert pairs.late == 1
    add(pairs, 1.0, 1.1)
    assert stamps(pairs) == (1.0, 1.1)


def test_looping_bag_restarts_the_pairs():
    pairs = PendingPairs(0.35, None, None)
    pairs.add(frame(60.0), None, 0.0)
    add(pairs, 60.0, 60.1)
    pairs.add(frame(1.0), None, 0.0)
    assert pairs.late == 0 and stamps(pairs) is None
    add(pairs, 1.0, 1.1)
    assert stamps(pairs) == (1.0, 1.1)


def test_pair_waits_for_the_nearest_labels_within_the_tolerance():
    pairs: PendingPairs[str] = PendingPairs(0.35, 0.02, None)
    pairs.add(frame(1.0), None, 0.0)
    add(pairs, 1.0, 1.1)
    pairs.add_labels(ns(1.0), "of the older frame")
    pairs.add_labels(ns(1.121), "too late")
    assert pairs.newest() is None
    pairs.add_labels(ns(1.115), "farther")
    pairs.add_labels(ns(1.105), "nearest")
    _, _, labels = pairs.newest()
    assert labels == "nearest"


def test_missing_motion_is_requested_from_the_odometry_until_it_is_known():
    known = {}
    pairs = PendingPairs(0.35, None, lambda frame_id, older, newer: known.get((frame_id, older, newer)))
    pairs.add(frame(1.0), None, 0.0)
    pairs.add(frame(1.1), None, 0.0)
    assert pairs.newest() is None
    motion = known["camera", ns(1.0), ns(1.1)] = Motion(ns(1.0), ns(1.1), np.eye(4))
    pair, found, labels = pairs.newest()
    assert found is motion and labels is None and pair.motion is None
