"""Windows of training crops: within the region, with one zoom or one for each side."""

import numpy as np
import pytest

from depth_ros.training.crop import CropSettings, centre_window, random_window

REGION = (0.1, 0.25, 0.9, 0.75)


def windows(crop: CropSettings) -> np.ndarray:
    """left, top, width, height of many windows of an image of 1000x400 px."""
    rng = np.random.default_rng(0)
    return np.array([random_window(1000, 400, crop, rng) for _ in range(200)])


@pytest.mark.parametrize("fit", ["aspect", "crop", "stretch"])
def test_windows_are_within_the_region(fit):
    left, top, width, height = windows(CropSettings(416, 128, zoom=1.5, fit=fit, region=REGION)).T
    assert left.min() >= 100 and (left + width).max() <= 900
    assert top.min() >= 100 and (top + height).max() <= 300
    assert len(np.unique(left)) > 20 and len(np.unique(top)) > 5


def test_stretched_windows_zoom_each_side_by_itself():
    _, _, width, height = windows(CropSettings(416, 128, zoom=1.25, fit="stretch", region=REGION)).T
    assert (width.min(), width.max()) == (pytest.approx(640, abs=5), pytest.approx(800, abs=5))
    assert (height.min(), height.max()) == (pytest.approx(160, abs=2), pytest.approx(200, abs=2))
    assert abs(np.corrcoef(width, height)[0, 1]) < 0.2


def test_other_windows_keep_the_aspect_ratio():
    _, _, width, height = windows(CropSettings(416, 128, zoom=1.25, region=REGION)).T
    np.testing.assert_allclose(width / height, 416 / 128, rtol=0.01)


def test_the_centre_window_is_the_widest():
    assert centre_window(1000, 400, CropSettings(416, 128, fit="stretch", region=REGION)) == (
        100,
        100,
        800,
        200,
    )
    assert centre_window(1000, 400, CropSettings(100, 100, region=REGION)) == (400, 100, 200, 200)


def test_images_are_large_enough_for_the_region():
    assert CropSettings(400, 100, zoom=1.5, region=REGION).source_size == pytest.approx((750, 300))
