"""Cameras and clutter in the free space of a furnished room of known size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse, se3_log
from depth_ros.rendering.clutter import Object, place_clutter
from depth_ros.rendering.free_space import FreeSpace, surface_points
from depth_ros.rendering.meshes import primitives
from depth_ros.rendering.moving import place_moving
from depth_ros.rendering.settings import SceneSettings
from depth_ros.rendering.views import TURN_RATE, VIEWS, camera_pose, exposed_poses, view_depth

ROOM, TABLE, TABLE_HEIGHT = np.array([6.0, 5.0, 2.5]), np.array([1.2, 0.8, 0.05]), 0.75
SETTINGS = SceneSettings(frames=30, clutter=4, width=64, height=48)


def furnished_room() -> np.ndarray:
    room, _ = primitives.box(ROOM)
    table, _ = primitives.box(TABLE)
    centres = np.array([0, 0, ROOM[2] / 2]), np.array([1.5, 1.0, TABLE_HEIGHT - TABLE[2] / 2])
    return np.concatenate([room + centres[0], table + centres[1]])


@pytest.fixture(scope="module")
def space() -> FreeSpace:
    return FreeSpace(furnished_room())


def test_distances_to_surfaces(space):
    assert space.cell == 0.05 and space.floor == pytest.approx(0.0, abs=1e-9)
    points = np.array([[0, 0, 1.25], [-2.5, 0, 1.2], [1.5, 1.0, 1.0]])
    assert space.clearance(points) == pytest.approx([1.25, 0.5, 0.25], abs=1.5 * space.cell)
    directions = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1], [-0.6, 0, 0.8]])
    found = space.trace(np.array([-1.0, 0, 1.0]), directions, 10.0)
    assert found == pytest.approx([4, 2.5, 1, 1.5 / 0.8], abs=2 * space.cell)
    assert space.trace(np.array([-1.0, 0, 1.0]), directions[:1], 3.0)[0] == np.inf
    assert space.surface_below(np.array([1.5, 1.0, 2.0])) == (pytest.approx(TABLE_HEIGHT), True)
    assert space.surface_below(np.array([1.5, 1.0, 0.6])) == (pytest.approx(0.0), True)
    assert space.surface_below(np.array([9.0, 1.0, 0.6])) == (-np.inf, False)


def test_points_on_a_triangle_are_as_dense_as_asked_for():
    triangle = np.array([[[0, 0, 0], [2.0, 0, 0], [0, 1.0, 0]]])
    points = surface_points(triangle, np.full(3, -1.0), np.full(3, 3.0), 0.1)
    rng = np.random.default_rng(0)
    u, v = np.sort(rng.random((2, 200)), axis=0)
    inside = (
        (u[:, None] * triangle[0, 0]) + (v - u)[:, None] * triangle[0, 1] + (1 - v)[:, None] * triangle[0, 2]
    )
    assert np.linalg.norm(inside[:, None] - points, axis=-1).min(1).max() < 0.1


def test_a_camera_that_looks_down_and_along_x():
    T = camera_pose(np.array([1.0, 2.0, 3.0]), 0.0, np.radians(-30), 0.0)
    assert T[:3, 2] == pytest.approx([np.cos(np.pi / 6), 0, -0.5])  # forward
    assert T[:3, 0] == pytest.approx([0, -1, 0])  # right


@pytest.mark.parametrize("views", VIEWS)
def test_views_are_free_and_depend_on_seed_and_number_alone(space, views):
    settings = replace(SETTINGS, views=views)
    poses = [VIEWS[views](space, settings, number) for number in range(settings.frames)]
    positions = np.array([T[:3, 3] for T in poses])
    assert (np.abs(positions[:, :2]) < ROOM[:2] / 2).all()
    assert space.clearance(positions).min() >= (0.1 if views == "arm" else settings.clearance)
    assert np.array_equal(VIEWS[views](space, settings, 3), poses[3])
    other = VIEWS[views](space, replace(settings, seed=1), 3)
    assert not np.allclose(other, poses[3])
    for T in poses:
        assert np.linalg.det(T[:3, :3]) == pytest.approx(1)


def test_a_drive_is_smooth_and_level(space):
    settings = replace(SETTINGS, views="drive", frames=120)
    poses = np.array([VIEWS["drive"](space, settings, number) for number in range(settings.frames)])
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert np.median(steps) == pytest.approx(0.05, abs=1e-3) and steps.max() < 0.051  # 0.5 m/s at 10 Hz
    assert np.ptp(poses[:, 2, 3]) < 1e-9 and np.abs(poses[:, 2, 2]).max() < 1e-9
    turns = np.arccos(np.clip((poses[1:, :3, 2] * poses[:-1, :3, 2]).sum(1), -1, 1))
    assert np.degrees(turns).max() < 4.6  # 45 degrees/s


def test_arms_look_at_the_table_from_above(space):
    settings = replace(SETTINGS, views="arm")
    for number in range(10):
        T = VIEWS["arm"](space, settings, number)
        seen = T[:3, 3] + T[:3, 2] * (TABLE_HEIGHT - T[2, 3]) / T[2, 2]
        assert (np.abs(seen[:2] - [1.5, 1.0]) < TABLE[:2] / 2 + 1e-6).all()
        assert 0.25 < np.linalg.norm(seen - T[:3, 3]) < 0.95 and T[2, 2] < -np.sin(np.radians(34))


def test_depth_of_a_wall_is_along_the_optical_axis(space):
    depth = view_depth(space, SETTINGS.camera, camera_pose(np.array([-1.0, 0, 1.25]), 0.0, 0.0, 0.0), 30.0)
    assert depth[8:16, 16:24] == pytest.approx(np.full((8, 8), 4.0), abs=2 * space.cell)


def test_clutter_stands_on_surfaces_and_apart(space):
    cup = Object("cup", np.array([-0.05, -0.05, 0.0]), np.array([0.05, 0.05, 0.12]))
    settings, count = replace(SETTINGS, clutter=5), 0
    for number in range(6):
        T_camera = VIEWS["random"](space, settings, number)
        placed = place_clutter(space, [cup], settings, T_camera, number)
        places = np.array([T[:3, 3] for _, T in placed]).reshape(-1, 3)
        on = np.minimum(np.abs(places[:, 2]), np.abs(places[:, 2] - TABLE_HEIGHT))
        assert (on < 1e-6).all()
        apart = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(len(places))
        assert not len(places) or apart.min() > 0.1
        count += len(placed)
    assert count >= 5


def test_objects_move_over_free_floor_and_off_the_camera(space):
    robot = Object("robot", np.array([-0.1, -0.1, 0.0]), np.array([0.1, 0.1, 0.3]))
    settings = replace(SETTINGS, views="drive", moving=2)
    poses = [VIEWS["drive"](space, settings, number) for number in range(settings.frames)]
    first, second = place_moving(space, [robot], settings, poses)
    seconds = np.arange(0, 3, 0.1)
    for each in (first, second):
        T, velocity = zip(*(each.at(t) for t in seconds), strict=True)
        places = np.array(T)[:, :3, 3]
        assert np.abs(places[:, 2]).max() < 1e-9 and (np.abs(places[:, :2]) < ROOM[:2] / 2 - 0.15).all()
        moved = np.diff(places, axis=0) / 0.1
        steady = np.linalg.norm(np.diff(velocity, axis=0), axis=1) == 0
        assert moved[steady] == pytest.approx(np.array(velocity)[:-1][steady])
        assert np.linalg.norm(velocity, axis=1) == pytest.approx(np.full(30, each.speed))
        assert min(np.linalg.norm(p[:2] - c[:2, 3]) for p, c in zip(places, poses, strict=True)) > 0.5
    with pytest.raises(DepthRosError, match="--views drive"):
        place_moving(space, [robot], replace(settings, views="random"), poses)


def test_a_scene_without_room_says_what_to_change():
    tight, _ = primitives.box(np.array([0.4, 0.4, 0.4]))
    for views in ("random", "drive"):
        with pytest.raises(DepthRosError, match=r"--lowest|--views random"):
            VIEWS[views](FreeSpace(tight), replace(SETTINGS, views=views), 0)


def test_a_drive_goes_on_during_the_exposure_and_other_cameras_move_at_random(space):
    settings = replace(SETTINGS, views="drive", speed=0.5, rate=10.0, exposure_time=0.02, readout_time=0.06)
    for number in (0, 3, settings.frames - 1):
        T = VIEWS["drive"](space, settings, number)
        start, middle, end = exposed_poses(space, settings, number, T)
        assert middle == pytest.approx(T)
        for before, after in ((start, middle), (middle, end)):
            assert 0.5 * 0.02 < np.linalg.norm(after[:3, 3] - before[:3, 3]) <= 0.5 * 0.04 + 1e-6
    half_way = replace(settings, exposure_time=0.1, readout_time=0.0)  # to the middle between frames
    end, start = (
        exposed_poses(space, half_way, n, VIEWS["drive"](space, half_way, n))[k] for n, k in ((3, 2), (4, 0))
    )
    assert end == pytest.approx(start)
    still, moved = replace(SETTINGS, speed=0.5), replace(SETTINGS, speed=0.5, readout_time=0.1)
    T = VIEWS["random"](space, still, 7)
    (only,) = exposed_poses(space, still, 7, T)
    assert np.array_equal(only, T)
    poses = [exposed_poses(space, moved, number, T) for number in range(20)]
    speeds = np.array([np.linalg.norm(end[:3, 3] - start[:3, 3]) / 0.1 for start, _, end in poses])
    rates = np.array(
        [np.degrees(np.linalg.norm(se3_log(inverse(start) @ end)[3:])) / 0.1 for start, _, end in poses]
    )
    assert speeds.max() <= 0.5 and speeds.std() > 0.05 and rates.max() <= TURN_RATE and rates.std() > 4
