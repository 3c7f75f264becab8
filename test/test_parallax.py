"""Depth from parallax, on analytic flow and on a rendered room with exact depth and poses."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.datatypes import Camera
from depth_ros.geometry import back_project, inverse, project
from depth_ros.parallax import (
    Parallax,
    depth_from_flow,
    keypoints_input,
    overlap,
    parallax_inputs,
    people_input,
    scale_to_parallax,
    select_second_image,
    two_view_parallax,
)
from depth_ros.world import World, WorldSettings

CAMERA = Camera.pinhole(64, 48, 50.0, 52.0, 30.0, 25.0)


def exact_flow(depth: np.ndarray, T_second_first: np.ndarray, camera: Camera = CAMERA) -> np.ndarray:
    points = back_project(depth, camera) @ T_second_first[:3, :3].T + T_second_first[:3, 3]
    pixels, _ = project(points, camera.K)
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return (pixels - np.stack([u, v], 2)).astype(np.float32)


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0, degrees: float = 0.0) -> np.ndarray:
    T, a = np.eye(4), np.radians(degrees)
    T[:3, 3] = x, y, z
    T[:3, :3] = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    return T


def slanted() -> np.ndarray:
    u, v = np.meshgrid(np.arange(64), np.arange(48))
    return (1 / (0.3 + 0.002 * u + 0.003 * v)).astype(np.float32)


NOBODY = np.zeros((48, 64), bool)


@pytest.mark.parametrize("T", [pose(0.2), pose(0, 0.2), pose(0.15, -0.1, 0.2, 3.0)])
def test_exact_flow_gives_exact_depth(T):
    depth = slanted()
    flow = exact_flow(depth, T)
    found, confidence = depth_from_flow(flow, -flow, T, CAMERA, NOBODY)
    valid = confidence > 0
    assert valid.mean() > 0.5
    np.testing.assert_allclose(found[valid], depth[valid], rtol=1e-4)
    assert np.isnan(found[~valid]).all()


def test_pure_rotation_gives_no_depth():
    T = pose(degrees=4.0)
    flow = exact_flow(slanted(), T)
    found, confidence = depth_from_flow(flow, -flow, T, CAMERA, NOBODY)
    assert not confidence.any() and np.isnan(found).all()


def test_people_and_inconsistent_flow_are_excluded():
    T, people = pose(0.2), NOBODY.copy()
    people[10:20, 10:20] = True
    flow = exact_flow(np.full_like(slanted(), 3.0), T)
    backward = -flow
    backward[30:40, :, 0] += 0.5  # an error of 0.5 px reduces confidence by a quarter
    backward[40:, :, 1] += 2.0  # error above 1 px
    _, confidence = depth_from_flow(flow, backward, T, CAMERA, people)
    _, full = depth_from_flow(flow, -flow, T, CAMERA, people)
    assert not confidence[10:20, 10:20].any() and not confidence[42:].any()
    rows = np.s_[32:38, 5:40]
    np.testing.assert_allclose(confidence[rows] / full[rows], 0.75, atol=0.02)


def test_confidence_decreases_with_distance_from_the_epipolar_line():
    T = pose(0.2)
    flow = exact_flow(slanted(), T)
    flow[..., 1] += 1.0  # epipolar lines are rows: 1 px of at most 2 px gives 1 - 1/4
    _, confidence = depth_from_flow(flow, -flow, T, CAMERA, NOBODY)
    full = depth_from_flow(exact_flow(slanted(), T), -exact_flow(slanted(), T), T, CAMERA, NOBODY)[1]
    inside = np.s_[5:-5, 20:-20]
    np.testing.assert_allclose(confidence[inside] / full[inside], 0.75, atol=0.06)


def test_ray_angle_of_half_a_degree_gives_confidence_of_three_quarters():
    depth = np.full((48, 64), 5.0, np.float32)
    T = pose(5.0 * np.tan(np.radians(0.5)))
    flow = exact_flow(depth, T)
    confidence = depth_from_flow(flow, -flow, T, CAMERA, NOBODY)[1]
    assert confidence[25, 30] == pytest.approx(0.75, abs=0.02)


def test_small_ray_angle_is_discarded():
    """An angle a below 1 degree gives confidence 1 - (1 - a)^2, which must be above a quarter: a > 0.134 degrees."""
    depth = np.full((48, 64), 5.0, np.float32)
    for degrees, valid in ((0.12, False), (0.15, True)):
        T = pose(5.0 * np.tan(np.radians(degrees)))
        flow = exact_flow(depth, T)
        found, _ = depth_from_flow(flow, -flow, T, CAMERA, NOBODY)
        assert np.isfinite(found[25, 30]) == valid


def test_second_image_has_the_longest_baseline_with_enough_overlap():
    poses = [pose(0.05 * i) for i in range(30)]
    assert select_second_image(poses, 0, CAMERA) == 10 and select_second_image(poses, 29, CAMERA) == 19
    rotated = [*poses[:3], pose(0.15, degrees=40.0), *([None] * 5)]
    assert select_second_image(rotated, 0, CAMERA) == 2 and select_second_image(rotated, 5, CAMERA) is None
    assert select_second_image([pose()] * 4, 1, CAMERA) is None
    assert overlap(pose(degrees=180.0)[:3, :3], CAMERA) == 0 and overlap(np.eye(3), CAMERA) == 1


def test_inputs_of_networks():
    """ln depth has its median subtracted, people are 1, joints are eighteenths, 100 px of flow are 1."""
    people = NOBODY.copy()
    people[:, :32] = True
    T = pose(0.2)
    flow = exact_flow(slanted(), T)
    depth, confidence = depth_from_flow(flow, -flow, T, CAMERA, people)
    parallax = Parallax(depth, confidence, flow)
    inputs = parallax_inputs(parallax)
    assert {(x.shape, x.dtype) for x in inputs.values()} == {((48, 64), np.dtype("float32"))}
    valid = np.isfinite(depth)
    assert valid.any() and not valid[:, :32].any() and not inputs["parallax"][~valid].any()
    assert np.median(inputs["parallax"][valid]) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(
        inputs["parallax"][valid] - inputs["parallax"][valid][0],
        np.log(depth[valid] / depth[valid][0]),
        atol=1e-5,
    )
    double = parallax_inputs(Parallax(2 * depth, confidence, flow))
    np.testing.assert_allclose(double["parallax"], inputs["parallax"], atol=1e-5)
    # a point at depth z moves by fx * 0.2 m / z px to the right
    np.testing.assert_allclose(inputs["flow_x"], 50.0 * 0.2 / slanted() / 100, rtol=1e-4)
    np.testing.assert_allclose(inputs["flow_y"], 0, atol=1e-6)
    assert np.array_equal(people_input(3 * people)["people"], people)
    assert keypoints_input(np.full((2, 2), 9, np.uint8))["keypoints"].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert scale_to_parallax(slanted() / 3, parallax) == pytest.approx(3, rel=1e-4)
    assert scale_to_parallax(slanted(), None) is None


def test_rendered_room_with_estimated_flow():
    """Depth from DIS flow has a median error of at most 8 %."""
    world = World(WorldSettings(kind="room", width=160, height=120, frames=9, moving_count=0, noise=0.5))
    samples = [world[i] for i in (0, 8)]
    T = inverse(samples[1].T_world_camera) @ samples[0].T_world_camera
    images = [sample.left.image for sample in samples]
    found = two_view_parallax(*images, T, samples[0].left.camera, np.zeros((120, 160), bool))
    baseline = np.linalg.norm(T[:3, 3])
    assert baseline > 0.02, baseline
    valid = (found.confidence > 0.5) & np.isfinite(samples[0].depth)
    assert valid.mean() > 0.1
    error = np.abs(found.depth[valid] / samples[0].depth[valid] - 1)
    assert np.median(error) < 0.08
