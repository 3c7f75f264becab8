"""Depth from parallax against a rendered room, where flow, depth and poses are exact."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Frame
from depth_ros.effects.clip import Moment
from depth_ros.effects.parallax import Parallax, channels, overlap, parallax, scale_of, second_of, two_view
from depth_ros.errors import DepthRosError
from depth_ros.geometry import back_project, inverse, project
from depth_ros.world import World, WorldSettings

CAMERA = Camera.pinhole(64, 48, 50.0, 52.0, 30.0, 25.0)


def exact_flow(depth: np.ndarray, T_second_first: np.ndarray, camera: Camera = CAMERA) -> np.ndarray:
    points = back_project(depth, camera) @ T_second_first[:3, :3].T + T_second_first[:3, 3]
    pixels, _ = project(points, camera.K)
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return (pixels - np.stack([u, v], 2)).astype(np.float32)


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0, degrees: float = 0.0) -> np.ndarray:
    T, a = np.eye(4), np.radians(degrees)
    T[:3, 3] = x, y, z
    T[:3, :3] = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    return T


def slanted() -> np.ndarray:
    u, v = np.meshgrid(np.arange(64), np.arange(48))
    return (1 / (0.3 + 0.002 * u + 0.003 * v)).astype(np.float32)


NOBODY = np.zeros((48, 64), bool)


@pytest.mark.parametrize("T", [moved(0.2), moved(0, 0.2), moved(0.15, -0.1, 0.2, 3.0)])
def test_depth_is_exact_where_flow_is(T):
    depth = slanted()
    there = exact_flow(depth, T)
    found, confidence = parallax(there, -there, T, CAMERA, NOBODY)
    known = confidence > 0
    assert known.mean() > 0.5
    np.testing.assert_allclose(found[known], depth[known], rtol=1e-4)
    assert np.isnan(found[~known]).all()


def test_a_turn_without_a_step_tells_nothing():
    T = moved(degrees=4.0)
    there = exact_flow(slanted(), T)
    found, confidence = parallax(there, -there, T, CAMERA, NOBODY)
    assert not confidence.any() and np.isnan(found).all()


def test_people_and_what_disagrees_are_left_out():
    T, people = moved(0.2), NOBODY.copy()
    people[10:20, 10:20] = True
    there = exact_flow(np.full_like(slanted(), 3.0), T)
    back = -there
    back[30:40, :, 0] += 0.5  # half a pixel off: a quarter is taken off
    back[40:, :, 1] += 2.0  # more than a pixel off
    _, confidence = parallax(there, back, T, CAMERA, people)
    _, before = parallax(there, -there, T, CAMERA, people)
    assert not confidence[10:20, 10:20].any() and not confidence[42:].any()
    rows = np.s_[32:38, 5:40]
    np.testing.assert_allclose(confidence[rows] / before[rows], 0.75, atol=0.02)


def test_confidence_falls_off_the_epipolar_line():
    T = moved(0.2)
    there = exact_flow(slanted(), T)
    there[..., 1] += 1.0  # the lines are rows: a pixel of 2 off is 1 - 1/4
    _, confidence = parallax(there, -there, T, CAMERA, NOBODY)
    full = parallax(exact_flow(slanted(), T), -exact_flow(slanted(), T), T, CAMERA, NOBODY)[1]
    inside = np.s_[5:-5, 20:-20]
    np.testing.assert_allclose(confidence[inside] / full[inside], 0.75, atol=0.06)


def test_rays_that_meet_at_half_a_degree_count_three_quarters():
    depth = np.full((48, 64), 5.0, np.float32)
    T = moved(5.0 * np.tan(np.radians(0.5)))
    there = exact_flow(depth, T)
    confidence = parallax(there, -there, T, CAMERA, NOBODY)[1]
    assert confidence[25, 30] == pytest.approx(0.75, abs=0.02)


def moment(index: int, T: np.ndarray | None, image: np.ndarray | None = None) -> Moment:
    image = np.zeros((48, 64, 3), np.uint8) if image is None else image
    return Moment(str(index), Frame(index, "camera", image, CAMERA), NOBODY, T, slanted())


def test_the_second_image_is_the_farthest_that_overlaps():
    step = [moment(i, moved(0.05 * i)) for i in range(30)]
    assert second_of(step, 0) == 10 and second_of(step, 29) == 19
    turned = [*step[:3], moment(3, moved(0.15, degrees=40.0)), *(moment(i, None) for i in range(4, 9))]
    assert second_of(turned, 0) == 2
    assert second_of([moment(i, moved()) for i in range(4)], 1) is None
    assert overlap(moved(degrees=180.0)[:3, :3], CAMERA) == 0 and overlap(np.eye(3), CAMERA) == 1


def test_inputs_of_the_network():
    people = NOBODY.copy()
    people[:, :32] = True
    here = dataclasses.replace(moment(0, moved()), people=people)
    T = moved(0.2)
    there = exact_flow(slanted(), T)
    depth, confidence = parallax(there, -there, T, CAMERA, people)
    found = Parallax(depth, confidence, there, "1")
    made = channels(("people", "parallax", "confidence", "flow_x"), here, found)
    assert made.shape == (4, 48, 64) and made.dtype == np.float32
    known = np.isfinite(depth)
    assert np.array_equal(made[0], people) and not made[1][~known].any() and not made[1][:, :32].any()
    assert np.median(made[1][known]) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(
        made[1][known] - made[1][known][0], np.log(depth[known] / depth[known][0]), atol=1e-5
    )
    double = Parallax(2 * depth, confidence, there, "1")
    np.testing.assert_allclose(channels(("parallax",), here, double)[0], made[1], atol=1e-5)
    assert not channels(("people", "parallax"), here, None)[1].any()
    with pytest.raises(DepthRosError, match="no way to make the input 'smell'"):
        channels(("smell",), here, found)
    assert scale_of(slanted() / 3, found) == pytest.approx(3, rel=1e-4)
    assert scale_of(slanted(), None) is None


def test_a_rendered_room_with_flow_by_search():
    """DIS flow on real pixels: most of the room gets depth, and it is right to a few percent."""
    world = World(WorldSettings(kind="room", width=160, height=120, frames=9, moving=0, noise=0.5))
    samples = [world[i] for i in (0, 8)]
    moments = [Moment(s.name, s.left, np.zeros((120, 160), bool), s.T_world_camera, s.depth) for s in samples]
    found = two_view(moments, 0)
    baseline = np.linalg.norm((inverse(samples[1].T_world_camera) @ samples[0].T_world_camera)[:3, 3])
    assert baseline > 0.02, baseline
    known = (found.confidence > 0.5) & np.isfinite(samples[0].depth)
    assert known.mean() > 0.1
    error = np.abs(found.depth[known] / samples[0].depth[known] - 1)
    assert np.median(error) < 0.08
