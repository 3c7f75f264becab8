"""Planes fitted to depth: accuracy on exact and noisy rooms, invalid depth, normals, outlines."""

import numpy as np
import pytest

from depth_ros.datatypes import Camera
from depth_ros.evaluation.metrics.planes import PlaneMetrics
from depth_ros.geometry import rays
from depth_ros.plane_fitting import (
    PlaneFitSettings,
    _is_duplicate,
    fit_plane_least_squares,
    fit_planes,
    plane_outlines,
    surface_normals,
)
from depth_ros.world import World, WorldSettings

CAMERA = Camera.pinhole(160, 120, 120.0, 120.0, 79.5, 59.5)
CORNER = np.array(
    [[0, -1, 0, 1.2], [0, 0, -1, 4.0], [1, 0, 0, 1.5]], float
)  # floor, wall ahead, wall on the left


def room_depth(equations, camera=CAMERA):
    """Depth and labels of a convex room seen from the inside."""
    directions = rays(camera).astype(float)
    with np.errstate(divide="ignore"):
        depths = -equations[:, 3] / (directions @ equations[:, :3].T)
    depths[depths <= 0] = np.inf
    return depths.min(axis=2).astype(np.float32), depths.argmin(axis=2)


def test_planes_of_a_room_corner_are_exact_and_reproducible():
    depth, labels = room_depth(CORNER)
    found = fit_planes(depth, CAMERA)
    assert len(found.equations) == 3
    for k, equation in enumerate(CORNER):
        best = np.abs(found.equations - equation).max(axis=1)
        assert best.min() < 1e-3
        own, predicted = labels == k, found.labels == best.argmin()
        assert (own & predicted).sum() / (own | predicted).sum() > 0.97
    again = fit_planes(depth, CAMERA)
    assert np.array_equal(again.labels, found.labels) and np.array_equal(again.equations, found.equations)


def test_noisy_planes_are_found_and_invalid_depth_has_no_label():
    depth, _ = room_depth(CORNER)
    noise = np.random.default_rng(0).normal(0, 0.005, depth.shape).astype(np.float32)
    noisy = depth * (1 + noise)
    noisy[40:60, 50:90] = np.nan
    found = fit_planes(
        noisy, CAMERA, PlaneFitSettings(relative_distance_threshold=0.03, max_normal_angle=60.0)
    )
    assert len(found.equations) == 3 and (found.labels[40:60, 50:90] == -1).all()
    for equation in CORNER:
        cosines = found.equations[:, :3] @ equation[:3]
        assert cosines.max() > np.cos(np.radians(1.5))
        assert abs(found.equations[cosines.argmax(), 3] - equation[3]) < 0.05
    assert np.isin(found.labels, (-1, 0, 1, 2)).all() and (found.labels >= 0).mean() > 0.85


def test_duplicate_planes_are_merged_and_a_depth_step_is_not():
    settings, points = (
        PlaneFitSettings(distance_threshold=0.05),
        np.array([[0, 0, 4.03], [1, 0, 4.02], [0, 1, 4.04]]),
    )
    wall = np.array([0, 0, -1, 4.0])
    tilted = {angle: np.array([np.sin(angle), 0, -np.cos(angle), 4.0]) for angle in np.radians([10, 30])}
    assert [_is_duplicate(points, tilt, [wall], settings) for tilt in tilted.values()] == [True, False]
    assert not _is_duplicate(points + np.array([0, 0, 0.04]), wall, [wall], settings) and not _is_duplicate(
        points, wall, [], settings
    )
    step = np.where(np.arange(160) < 80, 4.0, 4.2) * np.ones((120, 1))
    assert sorted(fit_planes(step.astype(np.float32), CAMERA).equations[:, 3]) == pytest.approx(
        [4.0, 4.2], abs=1e-3
    )


def test_invalid_depth_and_curved_surfaces_have_no_planes():
    nothing = fit_planes(np.full((120, 160), np.nan, np.float32), CAMERA)
    assert nothing.equations.shape == (0, 4) and (nothing.labels == -1).all()
    sphere = 5 - np.sqrt(np.maximum(4 - np.square(rays(CAMERA)[..., :2] * 3).sum(axis=2), 0.01))
    curved = fit_planes(
        sphere.astype(np.float32),
        CAMERA,
        PlaneFitSettings(distance_threshold=0.002, relative_distance_threshold=0.0),
    )
    assert (curved.labels >= 0).mean() < 0.3


def test_normals_face_the_camera_and_are_exact_on_planes():
    depth, labels = room_depth(CORNER)
    normals = surface_normals(depth, CAMERA)
    inside = np.isfinite(normals[..., 0])
    error = np.abs(normals - CORNER[labels][..., :3]).max(axis=2)[inside]
    assert (error < 1e-3).mean() > 0.85  # all but those whose window crosses an edge
    assert not inside[:2].any() and inside[2:-2, 2:-2].all()


def test_least_squares_plane_of_coplanar_points():
    points = np.array([[0, 1.2, 1], [1, 1.2, 2], [-1, 1.2, 3], [0.5, 1.2, 4]])
    assert fit_plane_least_squares(points) == pytest.approx([0, -1, 0, 1.2])


def test_outlines_lie_on_their_planes_and_enclose_them():
    depth, _ = room_depth(CORNER)
    found = fit_planes(depth, CAMERA)
    for equation, polygons, k in zip(found.equations, plane_outlines(found, CAMERA), range(3), strict=True):
        (polygon,) = polygons
        assert np.abs(polygon @ equation[:3] + equation[3]).max() < 1e-4
        pixels = polygon @ CAMERA.K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        rows, columns = np.nonzero(found.labels == k)
        assert pixels.min(axis=0) == pytest.approx([columns.min(), rows.min()], abs=2)
        assert pixels.max(axis=0) == pytest.approx([columns.max(), rows.max()], abs=2)


def test_recall_of_planes_in_rendered_rooms():
    metrics = PlaneMetrics()
    for seed in range(4):
        world = World(WorldSettings(kind="room", seed=seed, frames=1, width=320, height=240))
        depth, ground_truth = world.view(0).depth, world.planes(0, min_pixels=768)
        found = fit_planes(
            depth, world.cameras["left"], PlaneFitSettings(distance_threshold=0.02, max_planes=20)
        )
        metrics.add(found.labels, depth, ground_truth.labels, depth)
    assert metrics.planes > 25
    by_plane, by_pixel = metrics.recall(0.5, 0.05)
    assert by_plane > 0.75 and by_pixel > 0.95
