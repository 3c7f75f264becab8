"""Planes fitted to depth: exact rooms give exact planes, noise little else, unknown depth is left alone."""

import numpy as np
import pytest

from depth_ros.datatypes import Camera
from depth_ros.engine import EngineSettings
from depth_ros.evaluation.planes import PlaneTally, evaluate_planes, recorded
from depth_ros.evaluation.report.plots import plane_picture
from depth_ros.geometry import rays
from depth_ros.plane_fitting import (
    PlaneFitSettings,
    _known,
    fit_planes,
    least_squares,
    outlines,
    plane_colour,
    surface_normals,
)
from depth_ros.world import World, WorldSettings, write_folder

CAMERA = Camera.pinhole(160, 120, 120.0, 120.0, 79.5, 59.5)
CORNER = np.array(
    [[0, -1, 0, 1.2], [0, 0, -1, 4.0], [1, 0, 0, 1.5]], float
)  # floor, wall ahead, wall on the left


def depth_of(equations, camera=CAMERA):
    """Depth and labels of the inside of a convex room."""
    directions = rays(camera).astype(float)
    with np.errstate(divide="ignore"):
        depths = -equations[:, 3] / (directions @ equations[:, :3].T)
    depths[depths <= 0] = np.inf
    return depths.min(axis=2).astype(np.float32), depths.argmin(axis=2)


def test_a_corner_of_a_room():
    depth, labels = depth_of(CORNER)
    found = fit_planes(depth, CAMERA)
    assert len(found.equations) == 3
    for k, equation in enumerate(CORNER):
        best = np.abs(found.equations - equation).max(axis=1)
        assert best.min() < 1e-3
        own, predicted = labels == k, found.labels == best.argmin()
        assert (own & predicted).sum() / (own | predicted).sum() > 0.97
    again = fit_planes(depth, CAMERA)
    assert np.array_equal(again.labels, found.labels) and np.array_equal(again.equations, found.equations)


def test_noise_and_unknown_depth():
    depth, _ = depth_of(CORNER)
    noise = np.random.default_rng(0).normal(0, 0.005, depth.shape).astype(np.float32)
    noisy = depth * (1 + noise)
    noisy[40:60, 50:90] = np.nan
    found = fit_planes(noisy, CAMERA, PlaneFitSettings(relative_tolerance=0.03, angle=60.0))
    assert len(found.equations) == 3 and (found.labels[40:60, 50:90] == -1).all()
    for equation in CORNER:
        cosines = found.equations[:, :3] @ equation[:3]
        assert cosines.max() > np.cos(np.radians(1.5))
        assert abs(found.equations[cosines.argmax(), 3] - equation[3]) < 0.05
    assert np.isin(found.labels, (-1, 0, 1, 2)).all() and (found.labels >= 0).mean() > 0.85


def test_a_plane_again_is_not_another_and_a_step_is():
    settings, points = PlaneFitSettings(tolerance=0.05), np.array([[0, 0, 4.03], [1, 0, 4.02], [0, 1, 4.04]])
    wall = np.array([0, 0, -1, 4.0])
    tilted = {angle: np.array([np.sin(angle), 0, -np.cos(angle), 4.0]) for angle in np.radians([10, 30])}
    assert [_known(points, tilt, [wall], settings) for tilt in tilted.values()] == [True, False]
    assert not _known(points + np.array([0, 0, 0.04]), wall, [wall], settings) and not _known(
        points, wall, [], settings
    )
    step = np.where(np.arange(160) < 80, 4.0, 4.2) * np.ones((120, 1))
    assert sorted(fit_planes(step.astype(np.float32), CAMERA).equations[:, 3]) == pytest.approx(
        [4.0, 4.2], abs=1e-3
    )


def test_no_planes_where_there_are_none():
    nothing = fit_planes(np.full((120, 160), np.nan, np.float32), CAMERA)
    assert nothing.equations.shape == (0, 4) and (nothing.labels == -1).all()
    sphere = 5 - np.sqrt(np.maximum(4 - np.square(rays(CAMERA)[..., :2] * 3).sum(axis=2), 0.01))
    curved = fit_planes(
        sphere.astype(np.float32), CAMERA, PlaneFitSettings(tolerance=0.002, relative_tolerance=0.0)
    )
    assert (curved.labels >= 0).mean() < 0.3


def test_normals_look_at_the_camera_and_are_exact_on_planes():
    depth, labels = depth_of(CORNER)
    normals = surface_normals(depth, CAMERA)
    inside = np.isfinite(normals[..., 0])
    error = np.abs(normals - CORNER[labels][..., :3]).max(axis=2)[inside]
    assert (error < 1e-3).mean() > 0.85  # all but those whose window crosses an edge
    assert not inside[:2].any() and inside[2:-2, 2:-2].all()


def test_least_squares():
    points = np.array([[0, 1.2, 1], [1, 1.2, 2], [-1, 1.2, 3], [0.5, 1.2, 4]])
    assert least_squares(points) == pytest.approx([0, -1, 0, 1.2])


def test_outlines_lie_on_their_planes_and_frame_them():
    depth, _ = depth_of(CORNER)
    found = fit_planes(depth, CAMERA)
    for equation, polygons, k in zip(found.equations, outlines(found, CAMERA), range(3), strict=True):
        (polygon,) = polygons
        assert np.abs(polygon @ equation[:3] + equation[3]).max() < 1e-4
        pixels = polygon @ CAMERA.K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        rows, columns = np.nonzero(found.labels == k)
        assert pixels.min(axis=0) == pytest.approx([columns.min(), rows.min()], abs=2)
        assert pixels.max(axis=0) == pytest.approx([columns.max(), rows.max()], abs=2)


def test_recall_of_the_planes_of_rendered_rooms():
    tally = PlaneTally()
    for seed in range(4):
        world = World(WorldSettings(kind="room", seed=seed, frames=1, width=320, height=240))
        depth, truth = world.look(0).depth, world.planes(0, smallest=768)
        found = fit_planes(depth, world.cameras["left"], PlaneFitSettings(tolerance=0.02, most_planes=20))
        tally.add(found.labels, depth, truth.labels, depth)
    assert tally.planes > 25
    by_plane, by_pixel = tally.recall(0.5, 0.05)
    assert by_plane > 0.75 and by_pixel > 0.95


def test_evaluation_on_rooms_and_recordings(small_model, tmp_path):
    settings = EngineSettings("eager", "float32", "cpu")
    page = tmp_path / "page.html"
    found = evaluate_planes(str(small_model), "world:room", engine_settings=settings, limit=2, report=page)
    assert found["images"] == 2 and found["true planes"] > 8 and found["model"] == "small"
    recalls = [value for name, value in found["figures"].items() if name.startswith("plane recall")]
    assert len(recalls) == 6 and sorted(recalls) == recalls and 0 <= recalls[-1] <= 1
    assert page.read_text().count("<figure>") == 8
    write_folder(World(WorldSettings(kind="room", frames=2, width=160, height=120)), tmp_path / "clip")
    (one, other) = recorded(tmp_path / "clip", "all", 0)
    assert one.name != other.name and len(one.planes.equations) > 2
    picture = plane_picture(one.frame.image, one.planes.labels)
    assert (
        picture.shape == (120, 160, 3)
        and (np.abs(picture - np.array(plane_colour(0))) < 30).all(axis=2).sum() > 50
    )


def test_recall_counts_planes_and_pixels():
    truth = np.array([[0, 0, 0, 1, 1, 1, -1, 2]])
    depth = np.full((1, 8), 2.0)
    labels = np.array([[5, 5, -1, 3, 3, 3, 3, 3]])
    tally = PlaneTally()
    tally.add(labels, depth + 0.08, truth, depth)
    assert tally.planes == 3 and tally.pixels == 7
    # 5 covers 2 of 3 px of plane 0; 3 covers all of plane 1 with an IoU of 3 / 5, and plane 2 with 1 / 5
    assert tally.recall(0.5, 0.1) == (2 / 3, 5 / 7)
    assert tally.recall(0.65, 0.1) == (1 / 3, 2 / 7)
    assert tally.recall(0.5, 0.05) == (0.0, 0.0)
    unknown = PlaneTally()
    unknown.add(labels, np.full((1, 8), np.nan), truth, depth)
    assert unknown.recall(0.5, 1e9)[0] == 0 and unknown.figures()["plane recall any depth"] == 0
