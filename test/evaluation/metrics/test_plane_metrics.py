"""Plane recall against values computed by hand."""

from __future__ import annotations

import numpy as np

from depth_ros.evaluation.metrics.planes import DEPTH_THRESHOLDS, PlaneMetrics

GROUND_TRUTH = np.array([[0, 0, 0, 1, 1, 1, -1, 2]])
LABELS = np.array([[5, 5, -1, 3, 3, 3, 3, 3]])
DEPTH = np.full((1, 8), 2.0)


def test_recall_of_planes_and_pixels():
    metrics = PlaneMetrics()
    metrics.add(LABELS, DEPTH + 0.08, GROUND_TRUTH, DEPTH)
    assert metrics.planes == 3 and metrics.pixels == 7
    # 5 covers 2 of 3 px of plane 0; 3 covers all of plane 1 with an IoU of 3 / 5, and plane 2 with 1 / 5
    assert metrics.recall(0.5, 0.1) == (2 / 3, 5 / 7)
    assert metrics.recall(0.65, 0.1) == (1 / 3, 2 / 7)
    assert metrics.recall(0.5, 0.05) == (0.0, 0.0)


def test_planes_without_valid_depth_are_not_recalled():
    metrics = PlaneMetrics()
    metrics.add(LABELS, np.full((1, 8), np.nan), GROUND_TRUTH, DEPTH)
    assert metrics.recall(0.5, 1e9)[0] == 0 and metrics.compute()["plane_recall_any_depth"] == 0


def test_pixels_without_ground_truth_depth_do_not_count():
    metrics = PlaneMetrics()
    metrics.add(LABELS, DEPTH, GROUND_TRUTH, np.where(np.arange(8) < 3, np.nan, DEPTH))
    assert metrics.planes == 2 and metrics.pixels == 4


def test_recall_grows_with_the_depth_threshold():
    metrics = PlaneMetrics()
    for error in (0.03, 0.15, 0.5, 2.0):
        metrics.add(LABELS, DEPTH + error, GROUND_TRUTH, DEPTH)
    found = metrics.compute()
    recalls = [found[f"plane_recall_{threshold:g}_m"] for threshold in DEPTH_THRESHOLDS]
    expected = [
        count * 2 / 12 for count in (1, 1, 2, 2, 3)
    ]  # two of three planes of each image below its error
    np.testing.assert_allclose([*recalls, found["plane_recall_any_depth"]], [*expected, 4 * 2 / 12])


def test_curves_are_the_recalls_at_their_thresholds():
    metrics = PlaneMetrics()
    metrics.add(LABELS, DEPTH + 0.08, GROUND_TRUTH, DEPTH)
    curves = metrics.curves()
    over_depth, over_iou = curves["IoU > 0.5"], curves["error < 0.1 m"]
    assert over_depth.over == "depth" and over_depth.thresholds[0] == 0 and over_depth.thresholds[-1] == 0.6
    assert over_depth.planes == (0, 0) + (2 / 3,) * 11 and over_depth.pixels == (0, 0) + (5 / 7,) * 11
    # the best intersections have an IoU of 2/3, 3/5 and 1/5
    assert over_iou.thresholds[3] == 0.3
    np.testing.assert_allclose(over_iou.planes, np.array([3, 3, 2, 2, 2, 2, 1, 0, 0, 0, 0]) / 3)
