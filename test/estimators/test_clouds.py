"""Clouds and scans for costmaps: voxels, free space along rays, distances in the height band."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth, Disparity
from depth_ros.estimators.clouds import (
    CloudSettings,
    clearing_points,
    filtered_points,
    first_of_each,
    scan_of,
    voxel_keys,
)
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.geometry import rays

CAMERA = Camera.pinhole(160, 120, 80.0, 80.0, 79.5, 59.5)
"""90 degrees wide."""
HEIGHT, WALL = 0.5, 4.0
T_BASE_CAMERA = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, HEIGHT], [0, 0, 0, 1.0]])
"""The camera looks ahead, 0.2 m in front of base_link and 0.5 m above the ground."""
BAND = FilterSettings(
    flying_pixels=0.0, base_frame="base_link", min_height=0.1, max_height=1.5, max_depth=20.0
)


def room(std: float | None = None) -> Depth:
    """A floor and a wall 4 m ahead; 1 m ahead a box 0.4 m high and 0.4 m wide; above the wall the sky (50 m)."""
    directions = rays(CAMERA)
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(directions[..., 1] > 0, HEIGHT / directions[..., 1], np.inf)
    z = np.minimum(floor, WALL).astype(np.float32)
    z[WALL * directions[..., 1] < -1.0] = 50.0
    x, y = directions[..., 0], directions[..., 1]
    z[(abs(x) < 0.2) & (y > HEIGHT - 0.4) & (y < HEIGHT)] = 1.0
    image = np.zeros((120, 160, 3), np.uint8)
    image[..., 0] = 200
    return Depth(0, "", z, CAMERA, image, None if std is None else np.full_like(z, std))


def keep(depth: Depth, filters: FilterSettings = BAND) -> np.ndarray:
    return np.isfinite(filtered(depth, filters).depth)


def test_first_of_equal_keys_is_that_of_np_unique():
    """20,000 keys, more than a third of them equal, and many that share the slots of the hash table."""
    generator = np.random.default_rng(0)
    keys = generator.integers(0, 12_000, 20_000).astype(np.uint64) << np.uint64(30)
    assert np.array_equal(np.sort(first_of_each(keys)), np.sort(np.unique(keys, return_index=True)[1]))
    crowded = generator.integers(0, 1 << 62, 400_000).astype(np.uint64)  # more keys than slots
    assert len(first_of_each(crowded)) == len(np.unique(crowded))
    assert len(first_of_each(crowded[:0])) == 0


def test_voxels_are_as_deep_as_the_standard_deviation_requires():
    line = np.stack([np.full(1000, -0.3), np.full(1000, 0.2), np.linspace(0.001, 0.999, 1000)], 1).astype(
        np.float32
    )
    for std, size in ((0.0, 0.05), (0.024, 0.05), (0.026, 0.1), (0.09, 0.2), (0.39, 0.8)):
        keys = voxel_keys(line, np.full(1000, std, np.float32), 0.05)
        cells = np.floor(line[:, 2] / size)
        assert len(np.unique(keys)) == len(np.unique(cells)), std
        assert (np.diff(cells) != 0).tolist() == (np.diff(keys.astype(np.int64)) != 0).tolist()
    assert len(np.unique(voxel_keys(line, None, 0.05))) == 20
    across = line[:, [2, 1, 0]]  # a wall of uncertain depth has no gaps
    assert len(np.unique(voxel_keys(across, np.full(1000, 0.4, np.float32), 0.05))) == 20


def test_filtered_points_are_those_of_the_height_band_one_in_each_voxel():
    kept = filtered(room(0.01), BAND)
    points = filtered_points(kept, 0.1, T_BASE_CAMERA, BAND)
    heights = HEIGHT - points.xyz[:, 1]
    assert heights.min() >= 0.1 and heights.max() <= 1.5 and points.xyz[:, 2].max() == pytest.approx(WALL)
    assert len(np.unique(np.floor(points.xyz / 0.1).astype(int), axis=0)) == len(points.xyz)
    assert (points.rgb == [200, 0, 0]).all() and points.std == pytest.approx(0.01)
    box = points.xyz[points.xyz[:, 2] < 1.1]
    assert 12 <= len(box) <= 30  # 0.4 x 0.3 m
    everything = filtered_points(kept, 0.0, None, FilterSettings())
    assert len(everything.xyz) == np.isfinite(kept.depth).sum()


def test_clearing_points_end_in_front_of_surfaces_and_reach_the_sky():
    depth = room(0.1)
    points = clearing_points(depth, keep(depth), BAND, 6.0)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(6.0, rel=1e-4)  # towards the sky
    bearing, elevation = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    wall = (elevation < 0.05) & (elevation > -0.2)
    assert 1 / points[wall, 2] == pytest.approx(1 / WALL + 2 * 0.1 / WALL**2, rel=1e-5)
    on_floor = (elevation > 0.6) & (abs(bearing) > 0.3)
    assert on_floor.any() and (HEIGHT - points[on_floor, 1]).min() > 0  # above the ground, near it
    box = (abs(bearing) < 0.15) & (elevation > 0.15) & (elevation < 0.45)
    assert points[box, 2] == pytest.approx(1 / 1.2, rel=1e-5)


def rows_of(points: np.ndarray) -> np.ndarray:
    return 80 * points[:, 1] / points[:, 2] + 59.5


@pytest.mark.parametrize("min_confidence", [0.0, 0.3])
def test_the_sky_clears_as_far_as_it_is_certainly_free(min_confidence: float):
    """Sky at 50 m with a standard deviation of 40 m is free to 19 m, whatever min_confidence, which removes it."""
    filters = replace(BAND, min_confidence=min_confidence)
    depth = room(0.01)
    sky = depth.depth == 50
    depth.std[sky] = 40.0
    assert keep(depth, replace(filters, max_depth=100.0))[sky].all() == (min_confidence == 0)
    for max_depth, clearing_range, reach in ((100.0, 90.0, 50 / 2.6), (12.0, 90.0, 12.0), (100.0, 6.0, None)):
        own = replace(filters, max_depth=max_depth)
        points = clearing_points(depth, keep(depth, own), own, clearing_range)
        above = rows_of(points) < 30
        assert above.sum() > 500
        if reach:
            assert points[above, 2] == pytest.approx(reach, rel=1e-4)
        else:
            assert np.linalg.norm(points[above], axis=1) == pytest.approx(6.0, rel=1e-4)


def test_pixels_known_to_be_far_clear_and_invalid_ones_do_not():
    depth = room(0.01)
    sky = depth.depth == 50
    depth.depth[sky] = depth.std[sky] = np.nan
    assert rows_of(clearing_points(depth, keep(depth), BAND, 6.0)).min() > 30
    points = clearing_points(replace(depth, far=sky), keep(depth), BAND, 6.0)
    above = rows_of(points) < 30
    assert above.sum() > 500 and np.linalg.norm(points[above], axis=1) == pytest.approx(6.0, rel=1e-4)


def test_unknown_pixels_clear_nothing():
    depth = room()
    depth.depth[:60] = np.nan
    masked = replace(BAND, body_mask="0,0.8 1,0.8 1,1 0,1")
    points = clearing_points(depth, keep(depth, masked), masked, 6.0)
    assert rows_of(points).min() >= 59 and rows_of(points).max() <= 97


def test_a_block_is_as_free_as_its_nearest_pixel():
    depth = room()
    depth.depth[20, 41] = 1.5  # a wire in front of the sky
    points = clearing_points(depth, keep(depth), BAND, 6.0)
    assert (points[:, 2] == np.float32(1.5)).sum() == 1


def test_scan_measures_the_box_and_the_wall_and_nothing_else():
    """Without the box, the wall is nearest in all directions; ranges are from base_link, 0.2 m behind the camera."""
    settings = CloudSettings(scan_angle_increment=1.0, clearing_range=5.0)
    depth = room()
    scan = scan_of(depth, keep(depth), T_BASE_CAMERA, T_BASE_CAMERA, BAND, settings)
    assert 61 <= len(scan.ranges) <= 65 and scan.range_max == 5.0
    angles = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    assert angles[0] == pytest.approx(-np.pi / 4, abs=0.03) and angles[-1] == pytest.approx(
        np.pi / 4, abs=0.03
    )
    assert scan.ranges[abs(angles) < 0.13] == pytest.approx(1.2, abs=0.02)
    side = (abs(angles) > 0.3) & (abs(angles) < 0.55)
    assert scan.ranges[side] == pytest.approx((WALL + 0.2) / np.cos(angles[side]), rel=0.02)
    beyond = abs(angles) > 0.7  # the wall is farther than 5 m there
    assert np.isinf(scan.ranges[beyond]).all()


def test_scan_is_nan_where_most_pixels_are_invalid():
    depth = room()
    depth.depth[:, 100:] = np.nan
    depth.depth[:, :40] = 50.0  # nothing
    scan = scan_of(depth, keep(depth), T_BASE_CAMERA, T_BASE_CAMERA, BAND, CloudSettings())
    angles = np.degrees(scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges)))
    assert np.isnan(scan.ranges[angles < -17]).all() and np.isinf(scan.ranges[angles > 29]).all()
    assert np.isfinite(scan.ranges[abs(angles) < 13]).all()


def test_scan_of_a_camera_that_looks_back_continues_beyond_pi():
    turned = T_BASE_CAMERA.copy()
    turned[:2] *= -1
    scan = scan_of(room(), keep(room()), turned, T_BASE_CAMERA, BAND, CloudSettings(scan_angle_increment=1.0))
    assert scan.angle_min == pytest.approx(np.pi - np.pi / 4, abs=0.03) and len(scan.ranges) <= 65
    assert scan.ranges[len(scan.ranges) // 2] == pytest.approx(1.2, abs=0.02)


def test_a_disparity_of_zero_is_infinitely_far():
    disparity = Disparity(
        0,
        "",
        np.array([[4.0, 2.0, 1.5, 0.5, np.nan]], np.float32),
        CAMERA,
        np.zeros((1, 5, 3), np.uint8),
        0.1,
        2.0,
    )
    depth = disparity.depth()
    assert depth.far.tolist() == [[False, True, True, False, False]]
    assert np.isnan(depth.depth).tolist() == [[False, True, True, True, True]]


def test_scan_is_free_where_the_sky_is_uncertain_but_far():
    """Everything but the left half of the wall is sky with a confidence below the minimum."""
    settings, filters = CloudSettings(clearing_range=5.0), replace(BAND, min_confidence=0.3)
    for std, is_free in ((50.0, True), (2000.0, False)):  # free to 16.7 m, and to 0.6 m
        depth = room(0.01)
        depth.depth[:, 80:], depth.std[:, 80:] = 50.0, std
        scan = scan_of(depth, keep(depth, filters), T_BASE_CAMERA, T_BASE_CAMERA, filters, settings)
        right = scan.ranges[: len(scan.ranges) // 2 - 1]
        assert np.isposinf(right).all() if is_free else np.isnan(right).all()
