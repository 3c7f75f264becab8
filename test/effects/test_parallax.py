"""Depth from parallax, on analytic flow and on a rendered room with exact depth and poses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Frame
from depth_ros.effects.clip import ClipImage
from depth_ros.effects.parallax import (
    Parallax,
    depth_from_flow,
    input_channels,
    overlap,
    scale_to_parallax,
    select_second_image,
    two_view_parallax,
)
from depth_ros.errors import DepthRosError
from depth_ros.geometry import back_project, inverse, project
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


def clip_image(index: int, T: np.ndarray | None, image: np.ndarray | None = None) -> ClipImage:
    image = np.zeros((48, 64, 3), np.uint8) if image is None else image
    return ClipImage(str(index), Frame(index, "camera", image, CAMERA), NOBODY, T, slanted())


def test_second_image_has_the_longest_baseline_with_enough_overlap():
    clip = [clip_image(i, pose(0.05 * i)) for i in range(30)]
    assert select_second_image(clip, 0) == 10 and select_second_image(clip, 29) == 19
    rotated = [
        *clip[:3],
        clip_image(3, pose(0.15, degrees=40.0)),
        *(clip_image(i, None) for i in range(4, 9)),
    ]
    assert select_second_image(rotated, 0) == 2
    assert select_second_image([clip_image(i, pose()) for i in range(4)], 1) is None
    assert overlap(pose(degrees=180.0)[:3, :3], CAMERA) == 0 and overlap(np.eye(3), CAMERA) == 1


def test_input_channels():
    people = NOBODY.copy()
    people[:, :32] = True
    image = dataclasses.replace(clip_image(0, pose()), people=people)
    T = pose(0.2)
    flow = exact_flow(slanted(), T)
    depth, confidence = depth_from_flow(flow, -flow, T, CAMERA, people)
    parallax = Parallax(depth, confidence, flow, "1")
    channels = input_channels(("people", "parallax", "confidence", "flow_x"), image, parallax)
    assert channels.shape == (4, 48, 64) and channels.dtype == np.float32
    valid = np.isfinite(depth)
    assert (
        np.array_equal(channels[0], people)
        and not channels[1][~valid].any()
        and not channels[1][:, :32].any()
    )
    assert np.median(channels[1][valid]) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(
        channels[1][valid] - channels[1][valid][0], np.log(depth[valid] / depth[valid][0]), atol=1e-5
    )
    double = Parallax(2 * depth, confidence, flow, "1")
    np.testing.assert_allclose(input_channels(("parallax",), image, double)[0], channels[1], atol=1e-5)
    assert not input_channels(("people", "parallax"), image, None)[1].any()
    with pytest.raises(DepthRosError, match="unknown input 'smell'; available: people, "):
        input_channels(("smell",), image, parallax)
    assert scale_to_parallax(slanted() / 3, parallax) == pytest.approx(3, rel=1e-4)
    assert scale_to_parallax(slanted(), None) is None


def test_rendered_room_with_estimated_flow():
    """Depth from DIS flow has a median error of at most 8 %."""
    world = World(WorldSettings(kind="room", width=160, height=120, frames=9, moving_count=0, noise=0.5))
    samples = [world[i] for i in (0, 8)]
    clip = [ClipImage(s.name, s.left, np.zeros((120, 160), bool), s.T_world_camera, s.depth) for s in samples]
    found = two_view_parallax(clip, 0)
    baseline = np.linalg.norm((inverse(samples[1].T_world_camera) @ samples[0].T_world_camera)[:3, 3])
    assert baseline > 0.02, baseline
    valid = (found.confidence > 0.5) & np.isfinite(samples[0].depth)
    assert valid.mean() > 0.1
    error = np.abs(found.depth[valid] / samples[0].depth[valid] - 1)
    assert np.median(error) < 0.08
