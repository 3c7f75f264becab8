"""The filter of the metric scale, and depth converted to metres."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth
from depth_ros.estimators.odometry.scale import Scale, ScaleEstimator, ScaleSettings, in_metres


def test_filter_averages_measurements_and_rejects_an_outlier_unless_it_persists():
    estimator = ScaleEstimator(ScaleSettings(scale_drift=0.0))
    assert estimator.scale is None and estimator.update(None) is None
    random = np.random.default_rng(0)
    for _ in range(100):
        estimator.update(Scale(2 * np.exp(random.normal(0, 0.1)), 0.2, "ground"))
    assert estimator.scale.value == pytest.approx(2, rel=0.03)
    assert estimator.scale.std == pytest.approx(0.02, rel=0.1)
    before = estimator.scale.value
    assert estimator.update(Scale(4, 0.2, "ground")).value == before
    for _ in range(6):
        estimator.update(Scale(4, 0.2, "wheels"))
    assert estimator.scale.value == pytest.approx(4, rel=0.01) and estimator.scale.source == "wheels"
    estimator.reset()
    assert estimator.scale is None


def test_systematic_error_of_a_source_is_not_averaged_away():
    """The error of the camera height is the same in every image."""
    estimator = ScaleEstimator(ScaleSettings(scale_drift=0.0))
    for _ in range(400):
        estimator.update(Scale(2.0, np.hypot(0.2, 0.06), "ground", 0.06))
    assert estimator.scale.std == pytest.approx(np.hypot(0.2 / 20, 0.06), rel=0.01)


def test_in_metres_scales_depth_and_its_standard_deviation():
    camera, values = Camera.pinhole(2, 1, 1, 1, 0, 0), np.array([[2.0, np.nan]], np.float32)
    units = Depth(0, "camera", values, camera, np.zeros(1), values / 10)
    metric = in_metres(units, Scale(0.5, 0.1, "ground"))
    assert metric.depth[0, 0] == 1 and np.isnan(metric.depth[0, 1])
    assert metric.std[0, 0] == pytest.approx(0.1)
