"""Disparity metrics against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.evaluation.metrics.stereo import CoverageByStd, disparity_metrics, mean_metrics

NAN = np.nan


def test_metrics_match_hand_computed_values():
    ground_truth = np.array([[10, 100, 50, NAN, 20, 20]], np.float32)
    disparity = np.array([[13.5, 104, 51.5, 7, NAN, 20]], np.float32)  # 104 is off by 4 px, but by 4 % only
    std = np.array([[4, 4, 1, 1, 1, 1]], np.float32)
    metrics = disparity_metrics(disparity, ground_truth, std)
    assert metrics["epe"] == pytest.approx((3.5 + 4 + 1.5) / 4)
    assert (metrics["d1_all"], metrics["bad_1"], metrics["bad_2"]) == (0.25, 0.75, 0.5)
    assert metrics["density"] == 0.8 and metrics["coverage"] == 0.75
    assert metrics["coverage_at_1"] == 0.5 and metrics["coverage_at_2"] is None


def test_mean_is_over_the_images_that_have_the_metric():
    rows = [{"epe": 1.0, "coverage_at_2": None}, {"epe": 3.0, "coverage_at_2": 0.5}]
    assert mean_metrics(rows) == {"epe": 2.0, "coverage_at_2": 0.5}
    assert mean_metrics(rows[:1]) == {"epe": 1.0, "coverage_at_2": None}


def test_coverage_by_predicted_std():
    ground_truth, std = np.zeros((10, 10), np.float32), np.full((10, 10), 1.0, np.float32)
    std[5:] = 4.0
    disparity = np.full((10, 10), 0.5, np.float32)
    disparity[:2] = 1.5  # 20 of the 50 pixels with a std of 1 px
    disparity[9] = np.nan
    coverage = CoverageByStd()
    coverage.add(disparity, ground_truth, std)
    low, high = coverage.rows()
    assert low["std"] == pytest.approx(1.0, rel=0.2) and high["std"] == pytest.approx(4.0, rel=0.2)
    assert (low["coverage"], high["coverage"]) == (0.6, 1.0)
    assert low["pixel_ratio"] + high["pixel_ratio"] == 1 and high["pixel_ratio"] == pytest.approx(40 / 90)
