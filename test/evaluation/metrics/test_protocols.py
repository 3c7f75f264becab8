"""Depth protocols: crops, resizing, limits and alignment."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Frame
from depth_ros.evaluation.depth import model_input
from depth_ros.evaluation.metrics.depth import DepthMetrics, depth_metrics
from depth_ros.evaluation.metrics.protocols import (
    PROTOCOLS,
    DepthProtocol,
    align_depth,
    crop_window,
    resize_depth,
)


def test_crop_windows_match_published_code() -> None:
    assert crop_window("garg", 375, 1242) == (slice(153, 371), slice(44, 1197))
    assert crop_window("eigen", 375, 1242) == (slice(124, 342), slice(44, 1197))
    assert crop_window("garg", 1000, 1000) == (slice(408, 991), slice(35, 964))
    assert crop_window("cityscapes", 1024, 2048) == (slice(256, 768), slice(192, 1856))
    assert crop_window("none", 375, 1242) == (slice(0, 375), slice(0, 1242))


def test_eigen_measures_the_crop_below_80_m() -> None:
    ground_truth, depth = np.full((375, 1242), 10.0), np.full((375, 1242), 99.0)
    depth[153:371, 44:1197] = 11.0
    ground_truth[200:300, 100:1100] = 80.0  # not below the cap
    metrics = depth_metrics(depth, ground_truth, PROTOCOLS["eigen"])
    assert metrics["abs_rel"] == pytest.approx(0.1)
    assert metrics["coverage"] == 1.0


def test_cityscapes_measures_the_crop_with_median_scaling() -> None:
    ground_truth = np.full((1024, 2048), 10.0, np.float32)
    depth = ground_truth * 3
    depth[:256] = 500.0
    metrics = depth_metrics(depth, ground_truth, PROTOCOLS["cityscapes"])
    assert metrics["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_make3d_resizes_the_ground_truth_and_ends_at_70_m() -> None:
    """Laina et al.: ground truth 460 rows of 345 by nearest neighbour, criterion C1, all pixels pooled."""
    ground_truth = np.repeat(np.array([[10.0, 70.0]]), 50, 1).repeat(80, 0)
    metrics = DepthMetrics(PROTOCOLS["make3d"])
    assert metrics.add(np.full((46, 34), 12.0), ground_truth)["abs_rel"] == pytest.approx(0.2)
    assert metrics._valid == [460 * 173]  # the left half of 345 columns: 70 m is not below the cap
    assert "345x460" in PROTOCOLS["make3d"].text and "< 70 m" in PROTOCOLS["make3d"].text


def test_the_strip_of_make3d_is_21_of_55_rows_and_852_of_2272() -> None:
    """Zhou et al.: the model sees a strip of aspect ratio 2:1; its output is compared with the middle of the scan."""
    protocol = PROTOCOLS["make3d_strip"]
    window = crop_window(protocol.crop, 55, 305)
    assert (window[0].start, window[0].stop, window[1].stop) == (17, 38, 305)
    camera = Camera.pinhole(1704, 2272, 1600.0, 1600.0, 851.5, 1135.5)
    image = np.arange(2272, dtype=np.uint16)[:, None, None].repeat(1704, 1).astype(np.uint8)
    strip = model_input(Frame(0, "camera", image.repeat(3, 2), camera), protocol)
    assert strip.image.shape == (852, 1704, 3) and (strip.camera.height, strip.camera.cy) == (
        852,
        1135.5 - 710,
    )
    np.testing.assert_array_equal(strip.image[:, 0, 0], np.arange(710, 1562).astype(np.uint8))

    rng = np.random.default_rng(0)
    ground_truth = rng.uniform(2, 90, (55, 305))
    depth = rng.uniform(2, 40, (21, 305))
    found = depth_metrics(depth, ground_truth, protocol)
    g = ground_truth[17:38]
    near = g < 70
    d = np.minimum(depth[near] * np.median(g[near]) / np.median(depth[near]), 70)
    assert found["abs_rel"] == pytest.approx(np.mean(np.abs(d - g[near]) / g[near]))
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((d - g[near]) ** 2)))
    half = depth_metrics(depth[:, ::2], ground_truth, protocol)  # resized to the strip, not to the whole scan
    assert half["coverage"] == 1.0 and half["abs_rel"] == pytest.approx(found["abs_rel"], rel=0.3)


def test_resizing_inverse_depth_preserves_planes() -> None:
    """The inverse depth of a plane is linear in the image: enlarging it four times is exact inside."""
    u, v = np.meshgrid(np.arange(160), np.arange(80))
    small_u, small_v = np.meshgrid(4 * np.arange(40) + 1.5, 4 * np.arange(20) + 1.5)  # centres of 4 x 4 px
    plane, small = 1 / (0.02 + 1e-3 * u + 2e-3 * v), 1 / (0.02 + 1e-3 * small_u + 2e-3 * small_v)
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(resize_depth(small, 80, 160)[inside], plane[inside], rtol=1e-9)
    assert np.abs(resize_depth(small, 80, 160, "depth")[inside] / plane[inside] - 1).max() > 1e-3


def test_resizing_does_not_interpolate_across_invalid_pixels() -> None:
    depth = np.full((4, 4), 5.0)
    depth[1, 1] = np.nan
    large = resize_depth(depth, 8, 8)
    assert np.isnan(large[2:4, 2:4]).all()
    assert set(large[np.isfinite(large)]) == {5.0}


def test_text_describes_the_protocol() -> None:
    text = PROTOCOLS["eigen_median"].text
    assert all(part in text for part in ("garg", "median", "80", "per image", "coverage"))
    assert "320x240" in PROTOCOLS["nyu_fcrn"].text and "8, 6 px" in PROTOCOLS["nyu_fcrn"].text


@pytest.mark.parametrize("scaling", ["none", "median", "least_squares", "affine_inverse"])
def test_aligned_depth_is_what_the_metrics_compare(scaling) -> None:
    """Depth at another scale and half the size, with pixels outside the protocol's range: aligned, it is the truth."""
    ground_truth = np.tile(np.linspace(20, 2, 80, dtype=np.float32)[:, None], (1, 120))
    ground_truth[:10] = np.nan
    small = ground_truth[::2, ::2]
    depth = 1 / (0.3 / small + 0.02) if scaling == "affine_inverse" else 0.3 * small
    protocol = DepthProtocol("test", max_ground_truth=15.0, scaling=scaling)
    aligned = align_depth(np.nan_to_num(depth, nan=7.0), ground_truth, protocol)
    assert aligned.shape == small.shape
    valid = np.isfinite(small)
    expected = depth if scaling == "none" else small
    assert np.median(np.abs(aligned - expected)[valid] / expected[valid]) < 0.04
    assert align_depth(depth, None, protocol) is depth
