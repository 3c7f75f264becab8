"""Filters: confidence of a disparity, flying pixels, range."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Disparity
from depth_ros.estimators.filters import (
    FilterSettings,
    confidence,
    confidence_image,
    filtered,
    flying_pixel_mask,
    no_depth_reason,
    within_range,
)


def test_confidence_is_the_probability_of_an_error_below_a_pixel():
    assert confidence(np.array([1.0], np.float32))[0] == pytest.approx(0.68, abs=1e-6)
    errors = np.random.default_rng(0).exponential(1.0, 100_000)
    std = np.quantile(errors, 0.68)
    assert confidence(np.array([std], np.float32))[0] == pytest.approx((errors < 1).mean(), abs=0.01)


def test_flying_pixels_between_two_surfaces():
    disparity = np.full((9, 12), 10.0, np.float32)
    disparity[:, 6:] = 30
    disparity[:, 5] = 20  # mixed by the blur at the edge
    assert flying_pixel_mask(disparity, 3.0).sum() == 9 and flying_pixel_mask(disparity, 3.0)[:, 5].all()
    slope = np.tile(np.arange(12, dtype=np.float32), (9, 1))
    assert not flying_pixel_mask(slope, 3.0).any()
    disparity[:, 5] = np.nan
    assert not flying_pixel_mask(disparity, 3.0).any()


def disparity_of(values: np.ndarray, std: np.ndarray | None = None) -> Disparity:
    height, width = values.shape
    camera = Camera.pinhole(width, height, 100, 100, width / 2, height / 2)
    return Disparity(0, "", values, camera, np.zeros((height, width, 3), np.uint8), 0.5, 0.0, std)


def test_uncertain_and_flying_pixels_become_nan():
    values = np.full((9, 12), 10.0, np.float32)
    values[:, 6:] = 30
    values[:, 5] = 20
    std = np.full_like(values, 0.5)
    std[0] = 3.0
    kept = filtered(
        disparity_of(values, std), FilterSettings(min_confidence=0.5, flying_pixels=3.0)
    ).disparity
    assert np.isnan(kept[0]).all() and np.isnan(kept[1:, 5]).all()
    assert np.array_equal(kept[1:, :5], values[1:, :5]) and np.array_equal(kept[1:, 6:], values[1:, 6:])
    everything = filtered(disparity_of(values, std), FilterSettings(min_confidence=0.0, flying_pixels=0.0))
    assert np.array_equal(everything.disparity, values)


def test_confidence_is_zero_where_the_disparity_is_invalid():
    values = np.array([[5.0, np.nan]], np.float32)
    assert confidence_image(disparity_of(values)).tolist() == [[1.0, 0.0]]
    found = confidence_image(disparity_of(values, np.ones_like(values)))
    assert found[0, 0] == pytest.approx(0.68, abs=1e-6) and found[0, 1] == 0


def test_depth_beyond_the_range_becomes_nan():
    found = within_range(np.array([1.0, 5.0, np.nan, 9.0], np.float32), 5.0)
    assert found[:2].tolist() == [1.0, 5.0] and np.isnan(found[2:]).all()


@pytest.mark.parametrize(
    "depth, reason",
    [
        ([np.nan, np.nan], "no pixel has a valid depth"),
        ([np.nan, 2100.0], "all depth is beyond max_depth (80 m), the median at 2100 m"),
        ([3.0, 2100.0], "the filters remove every pixel"),
    ],
)
def test_reason_why_no_pixel_is_left(depth, reason):
    assert no_depth_reason(np.array([depth], np.float32), 80.0).startswith(reason)
