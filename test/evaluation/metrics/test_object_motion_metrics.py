"""Object motion metrics against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Frame, ObjectMotion
from depth_ros.evaluation.metrics.object_motion import ObjectMotionMetrics, velocity_errors
from depth_ros.recordings import Sample


def box(label: int, rows: slice, columns: slice, velocity: tuple[float, float, float]) -> ObjectMotion:
    mask = np.zeros((20, 40), bool)
    mask[rows, columns] = True
    return ObjectMotion(label, mask, np.eye(4), np.zeros(3), np.array(velocity), 0.25 * np.eye(3))


def test_metrics_match_hand_computed_values():
    """One object found with half its pixels, one missed, one false positive; velocity off by 0.5 of 5 m/s."""
    moving = np.zeros((20, 40), np.int32)
    moving[2:6, 2:12], moving[10:14, 20:30] = 4, 9
    frame = Frame(1, "", np.zeros((20, 40, 3), np.uint8), Camera.pinhole(40, 20, 30.0, 30.0, 20.0, 10.0))
    sample = Sample("", frame, moving_objects=moving, velocities={4: np.array([0.0, 0.0, 5.0])})
    accumulated = ObjectMotionMetrics()
    found = [box(1, slice(2, 6), slice(2, 7), (0, 0, 4.5)), box(2, slice(16, 20), slice(0, 5), (1, 0, 0))]
    accumulated.add(sample, found, (20, 40), 0.01)
    accumulated.add(Sample("", frame), [], (20, 40), 0.01)  # a frame without ground truth
    metrics = accumulated.compute()
    assert (metrics["frames"], metrics["frames_with_ground_truth"], metrics["objects_per_frame"]) == (
        2,
        1,
        1.0,
    )
    assert (metrics["objects_with_ground_truth"], metrics["found"], metrics["false_per_frame"]) == (
        2,
        0.5,
        1.0,
    )
    assert metrics["moving_iou"] == pytest.approx(20 / (40 + 40 + 20))
    assert metrics["speed_error"] == pytest.approx(0.1) and metrics["angle_error_deg"] == pytest.approx(0)
    assert metrics["nees"] == pytest.approx(1.0)


def test_small_objects_are_not_required():
    moving = np.zeros((20, 40), np.int32)
    moving[2:6, 2:12] = 4
    frame = Frame(1, "", np.zeros((20, 40, 3), np.uint8), Camera.pinhole(40, 20, 30.0, 30.0, 20.0, 10.0))
    for min_area, required in ((0.05, 1), (0.051, 0)):  # 40 of 800 px
        accumulated = ObjectMotionMetrics()
        accumulated.add(Sample("", frame, moving_objects=moving), [], (20, 40), min_area)
        assert accumulated.ground_truth_objects == required


def test_errors_of_a_perpendicular_velocity():
    found = box(1, slice(0, 1), slice(0, 1), (0.0, 0.0, 2.0))
    relative, angle, nees = velocity_errors(found, np.array([0.0, 2.0, 0.0]))
    assert (relative, angle, nees) == pytest.approx((np.sqrt(2), 90.0, 32.0))
