"""Filters: confidence, flying pixels, range, border, body mask, height band and region."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth, Disparity
from depth_ros.errors import DepthRosError
from depth_ros.estimators.filters import (
    FilterSettings,
    confidence,
    confidence_image,
    filtered,
    flying_pixel_mask,
    kept_pixels,
    no_depth_reason,
    points_in_region,
)

OFF = FilterSettings(flying_pixels=0.0)
T_BASE_CAMERA = np.array([[0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, 0, 1.0]])
"""A camera 0.5 m above the ground that looks ahead."""


def depth_of(values: np.ndarray, std: np.ndarray | None = None) -> Depth:
    height, width = values.shape
    camera = Camera.pinhole(width, height, 100, 100, width / 2, height / 2)
    return Depth(0, "", values.astype(np.float32), camera, np.zeros((height, width, 3), np.uint8), std)


def disparity_of(values: np.ndarray, std: np.ndarray | None = None) -> Disparity:
    depth = depth_of(values, std)
    return Disparity(0, "", values, depth.camera, depth.image, 0.5, 0.0, std)


def test_confidence_is_the_probability_of_an_error_below_the_tolerance():
    assert confidence(np.array([1.0], np.float32))[0] == pytest.approx(0.68, abs=1e-6)
    errors = np.random.default_rng(0).exponential(1.0, 100_000)
    std = np.quantile(errors, 0.68)
    assert confidence(np.array([std], np.float32))[0] == pytest.approx((errors < 1).mean(), abs=0.01)
    assert confidence(np.array([std], np.float32), 2.0)[0] == pytest.approx((errors < 2).mean(), abs=0.01)


def test_confidence_of_one_camera_is_relative_and_that_of_stereo_in_pixels():
    z = np.array([[2.0, 20.0, np.nan]], np.float32)
    found = confidence_image(depth_of(z, 0.1 * z))
    assert found is not None and found[0, :2] == pytest.approx(0.68, abs=1e-6) and found[0, 2] == 0
    values = np.array([[5.0, 50.0, np.nan]], np.float32)
    found = confidence_image(disparity_of(values, np.ones_like(values)).depth())
    assert found is not None and found[0, :2] == pytest.approx(0.68, abs=1e-5) and found[0, 2] == 0
    assert confidence_image(depth_of(z)) is None


def two_surfaces(near: float, far: float, between: float) -> np.ndarray:
    """(12, 20) of a step edge with one column of mixed pixels."""
    values = np.full((12, 20), far, np.float32)
    values[:, 10:] = near
    values[:, 9] = between
    return values


def test_flying_pixels_between_two_surfaces():
    inverse = two_surfaces(0.5, 0.25, 0.4)
    found = flying_pixel_mask(inverse, 0.05)
    assert found.sum() == 12 and found[:, 9].all()
    assert not flying_pixel_mask(inverse, 0.05, min_step=0.2).any()  # less than the noise of stereo
    inverse[:, 9] = np.nan
    assert not flying_pixel_mask(inverse, 0.05).any()


def test_a_slanted_surface_has_no_flying_pixels():
    """The ground: 1/z grows by 5 % or less with every row."""
    ground = np.tile(np.linspace(0.46, 1.38, 40, dtype=np.float32)[:, None], (1, 30))
    assert not flying_pixel_mask(ground, FilterSettings.flying_pixels).any()


def test_stereo_and_mono_have_the_same_filters():
    values = two_surfaces(30, 10, 20)
    std = np.full_like(values, 0.5)
    std[0] = 3.0
    settings = FilterSettings(min_confidence=0.5, flying_pixels=0.05)
    depth = disparity_of(values, std).depth()
    kept = filtered(depth, settings).depth
    assert np.isnan(kept[0]).all() and np.isnan(kept[1:, 9]).all()
    assert np.array_equal(kept[1:, :9], depth.depth[1:, :9]) and np.isfinite(kept[1:, 10:]).all()
    assert np.array_equal(filtered(depth, OFF).depth, depth.depth)
    mono = replace(depth, baseline=0.0, std=0.01 * depth.depth)
    assert np.array_equal(np.isfinite(filtered(mono, settings).depth[1:]), np.isfinite(kept[1:]))


def test_depth_outside_of_the_range_becomes_nan():
    depth = depth_of(np.array([[0.2, 1.0, 5.0, np.nan, 9.0]]))
    found = filtered(depth, replace(OFF, min_depth=0.5, max_depth=5.0)).depth
    assert np.isfinite(found).tolist() == [[False, True, True, False, False]]


def test_border_and_body_mask(tmp_path: Path):
    depth = depth_of(np.ones((10, 20)))
    kept = kept_pixels(depth, replace(OFF, image_border=0.1))
    assert kept[2:8, 2:18].all() and kept.sum() == 6 * 16
    kept = kept_pixels(depth, replace(OFF, body_mask="0,0.8 1,0.8 1,1 0,1; 0,0 0.1,0 0.1,0.18 0,0.18"))
    assert not kept[8:].any() and not kept[:2, :2].any() and kept[2:8].all() and kept[:8, 3:].all()
    image = np.zeros((40, 80), np.uint8)
    image[:, 40:] = 255
    cv2.imwrite(str(tmp_path / "robot.png"), image)
    kept = kept_pixels(depth, replace(OFF, body_mask=str(tmp_path / "robot.png")))
    assert kept[:, :10].all() and not kept[:, 10:].any()


@pytest.mark.parametrize("text", ["no_such.png", "0,0 1,1", "0,0 640,0 640,480", "a,b c,d e,f"])
def test_a_body_mask_that_is_none_is_refused(text: str):
    with pytest.raises(DepthRosError, match="neither a file nor polygons"):
        kept_pixels(depth_of(np.ones((4, 4))), replace(OFF, body_mask=text))


def test_height_band_and_region_are_in_the_base_frame():
    points = np.array([[0, 0.5, 2], [0, 0, 2], [0, -1.6, 2], [3, 0, 2], [0, 0, 9]], np.float32)
    band = replace(OFF, min_height=0.1, max_height=2.0)
    assert points_in_region(points, T_BASE_CAMERA, band).tolist() == [False, True, False, True, True]
    inside = points_in_region(points, T_BASE_CAMERA, replace(band, region="0 5 -2 2"))
    assert inside.tolist() == [False, True, False, False, False]
    assert band.needs_base_frame and not OFF.needs_base_frame
    with pytest.raises(DepthRosError, match="not a rectangle"):
        points_in_region(points, T_BASE_CAMERA, replace(band, region="5 0 -2 2"))


@pytest.mark.parametrize(
    "depth, reason",
    [
        ([np.nan, np.nan], "no pixel has a valid depth"),
        ([np.nan, 2100.0], "all depth is beyond max_depth (80 m), the median at 2100 m"),
        ([3.0, 2100.0], "the filters remove every pixel"),
    ],
)
def test_reason_why_no_pixel_is_left(depth, reason):
    assert no_depth_reason(np.array([depth], np.float32), FilterSettings(max_depth=80.0)).startswith(reason)
