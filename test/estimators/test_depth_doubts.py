"""Doubts about depth over several seconds: the height of the floor, and standard deviations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth
from depth_ros.estimators.depth_doubts import (
    MAX_RELATIVE_STD,
    MIN_MEASUREMENTS,
    DepthDoubts,
    Floor,
    floor_depth,
)
from depth_ros.geometry import rays
from depth_ros.world import World, WorldSettings

CAMERA = Camera.pinhole(160, 120, 120.0, 120.0, 79.5, 59.5)
HEIGHT, WALL = 0.5, 5.0
LEVEL = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, HEIGHT], [0, 0, 0, 1.0]])
FLOOR = Floor("base_link", LEVEL)


def pitched(degrees: float) -> Floor:
    """The camera, which looks down by so much."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    T = LEVEL.copy()
    T[:3, :3] = LEVEL[:3, :3] @ [[1, 0, 0], [0, c, s], [0, -s, c]]
    return Floor("base_link", T)


def depth_of(surfaces: list[float], degrees: float = 0.0, scale: float = 1.0) -> Depth:
    """Level surfaces at these heights, the one behind the other from 1 m on, 1 m apart, and a wall."""
    R = pitched(degrees).T_frame_camera[:3, :3]
    directions = rays(CAMERA) @ R.T
    z = np.full(directions.shape[:2], WALL, np.float32) / np.maximum(directions[..., 0], 0.1)
    for number, height in enumerate(surfaces):
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(directions[..., 2] < 0, (height - HEIGHT) / directions[..., 2], np.inf)
        ahead = distance * directions[..., 0]
        is_there = (ahead > number) & (ahead < (number + 1 if number + 1 < len(surfaces) else WALL))
        z = np.where(is_there, np.minimum(z, distance), z)
    noise = np.random.default_rng(0).normal(1, 0.01, z.shape)
    depth = (scale * z * noise).astype(np.float32)
    return Depth(0, "camera", depth, CAMERA, np.zeros((120, 160, 3), np.uint8), 0.1 * depth)


@pytest.mark.parametrize("degrees", [0.0, 25.0])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.8])
def test_the_ratio_is_that_of_the_depth(scale: float, degrees: float):
    found = floor_depth(depth_of([0.0], degrees, scale), pitched(degrees))
    assert found and found.ratio == pytest.approx(scale, rel=0.03)
    assert found.is_doubtful == (scale != 1)


@pytest.mark.parametrize("error, doubtful", [(1.5, False), (-1.5, False), (12.0, True)])
def test_a_small_error_of_the_tilt_is_no_doubt(error: float, doubtful: bool):
    found = floor_depth(depth_of([0.0], 5.0), pitched(5.0 + error))
    assert found and found.is_doubtful == doubtful


def test_depth_that_bends_the_floor_is_doubtful_although_its_plane_is_at_the_right_distance():
    """As that of a model of rooms on a road: near it is half as large, far a third."""
    true = depth_of([0.0])
    bent = replace(true, depth=np.float32(0.75) * true.depth ** np.float32(0.45))
    found = floor_depth(bent, FLOOR)
    assert found and found.ratio < 0.7 and found.is_doubtful


def test_a_table_in_front_of_the_floor_is_not_taken_for_it():
    assert floor_depth(depth_of([0.3, 0.0]), FLOOR) is None
    alone = floor_depth(depth_of([0.3]), FLOOR)
    assert alone and alone.ratio == pytest.approx(0.4, rel=0.03)


def test_without_a_floor_nothing_is_measured():
    """A wall is none, however noisy."""
    for noise in (0.0, 0.02, 0.05):
        wall = depth_of([])
        wall.depth[:] *= np.random.default_rng(1).normal(1, noise, wall.depth.shape)
        assert floor_depth(wall, FLOOR) is None, noise
    on_the_floor = LEVEL.copy()
    on_the_floor[2, 3] = 0.0
    assert floor_depth(depth_of([0.0]), Floor("base_link", on_the_floor)) is None


def test_a_rendered_street_is_at_its_height():
    world = World(WorldSettings(kind="street", frames=1, width=320, height=96, seed=3))
    view = world.view(0)
    image = np.zeros((96, 320, 3), np.uint8)
    found = floor_depth(
        Depth(0, "", view.depth, world.cameras["left"], image), Floor("road", view.T_world_camera)
    )
    assert found and found.ratio == pytest.approx(1, abs=0.02)


def feed(doubts: DepthDoubts, depth: Depth, floor: Floor | None, times: range) -> None:
    for time in times:
        assert doubts.is_due(float(time))
        doubts.measure(float(time), depth, depth, floor)
        assert not doubts.is_due(time + 0.5)


def test_doubts_take_several_seconds_and_end_with_their_cause():
    doubts = DepthDoubts()
    small = depth_of([0.0], scale=0.6)
    feed(doubts, small, FLOOR, range(MIN_MEASUREMENTS - 1))
    assert not doubts.texts("model 'mono'", False)
    feed(doubts, small, FLOOR, range(MIN_MEASUREMENTS - 1, 12))
    (text,) = doubts.texts("model 'mono'", False).values()
    assert "the floor lies at 0.60 of the camera's height (0.50 m above 'base_link' by TF)" in text
    assert "depth is probably 40 % too small here: model 'mono'" in text and "focal length" in text
    assert "the baseline in camera_info" in doubts.texts("model 'stereo'", True)["floor"]
    assert doubts.values["depth of the floor / expected"] == "0.60"
    feed(doubts, depth_of([0.0]), FLOOR, range(12, 18))
    assert not doubts.texts("model 'mono'", False)
    feed(doubts, depth_of([]), FLOOR, range(18, 60))
    assert doubts.values["depth of the floor / expected"] == "unknown: no floor in view"


def test_doubts_are_those_of_one_model_and_one_frame():
    doubts = DepthDoubts()
    small = depth_of([0.0], scale=0.6)
    feed(doubts, small, FLOOR, range(6))
    assert doubts.texts("model 'mono'", False)
    feed(doubts, small, Floor("base_footprint", LEVEL), range(6, 8))
    assert not doubts.texts("model 'mono'", False)
    feed(doubts, small, None, range(8, 9))
    assert "depth of the floor / expected" not in doubts.values
    doubts.reset()
    assert not doubts.values and doubts.is_due(9.0)


def test_large_standard_deviations_are_a_doubt():
    doubts, sure = DepthDoubts(), depth_of([0.0])
    unsure = replace(sure, std=np.float32(1.5 * MAX_RELATIVE_STD) * sure.depth)
    feed(doubts, sure, None, range(6))
    assert not doubts.texts("model 'mono'", False) and doubts.values == {"standard deviation / depth": "0.10"}
    feed(doubts, unsure, None, range(6, 16))
    (text,) = doubts.texts("model 'mono'", False).values()
    assert "model 'mono' is unsure of these images: the standard deviation is 60 % of the depth" in text
    feed(doubts, replace(sure, std=None), None, range(60, 61))
    assert not doubts.values
