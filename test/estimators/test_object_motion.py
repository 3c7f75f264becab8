"""What moves in rendered streets, whose motions are exactly known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.datatypes import Depth, Motion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion import ObjectMotionEstimator
from depth_ros.geometry import back_project, inverse
from depth_ros.world import World, WorldSettings


def street(seed: int, moving: int) -> World:
    return World(WorldSettings(seed=seed, frames=6, width=640, height=192, moving=moving, supersample=2))


def seen(world: World, index: int) -> Depth:
    """A frame with its exact depth, which says so."""
    sample = world[index]
    camera, image = sample.left.camera, sample.left.image
    return Depth(sample.left.stamp, "camera", sample.depth, camera, image, 0.002 * sample.depth)


def ego_motion(world: World, index: int, older: Depth, newer: Depth) -> Motion:
    return Motion(older.stamp, newer.stamp, inverse(world.pose(index - 1)) @ world.pose(index))


def true_velocity(newer: Depth, T: np.ndarray, mask: np.ndarray) -> np.ndarray:
    centre = np.median(back_project(newer.depth, newer.camera)[mask], 0)
    return 10.0 * (centre - (inverse(T) @ np.append(centre, 1))[:3])


@pytest.fixture(scope="module")
def two_cars():
    """A world, three of its frames, and the ego-motions between them. One car is near, the other 38 m off."""
    world = street(5, 2)
    frames = [seen(world, index) for index in (2, 3, 4)]
    motions = [ego_motion(world, 3 + i, frames[i], frames[i + 1]) for i in range(2)]
    return world, frames, motions


@pytest.mark.parametrize("given", [False, True])
def test_velocities_within_a_tenth_and_three_degrees(two_cars, given) -> None:
    world, frames, motions = two_cars
    estimator = ObjectMotionEstimator()
    truth = {each.label: each for each in world.object_motions(3)}
    labels = world.moving(3) if given else None
    found = estimator.estimate(frames[0], frames[1], motions[0], labels)
    assert found and (not given or {each.label for each in found} <= set(truth))
    large = [each for each in found if each.mask.sum() >= 400]  # the other car is 38 m off
    assert len(large) == 1
    for each in large:
        real = max(truth.values(), key=lambda t: (t.mask & each.mask).sum())
        assert (real.mask & each.mask).sum() > 0.5 * (real.mask | each.mask).sum()
        velocity = true_velocity(frames[1], real.T, real.mask)
        assert np.linalg.norm(each.velocity - velocity) < 0.1 * np.linalg.norm(velocity)
        cosine = each.velocity @ velocity / np.linalg.norm(each.velocity) / np.linalg.norm(velocity)
        assert np.degrees(np.arccos(min(cosine, 1.0))) < 3


def test_an_object_keeps_its_id(two_cars) -> None:
    _, frames, motions = two_cars
    estimator = ObjectMotionEstimator()
    first = estimator.estimate(frames[0], frames[1], motions[0])
    second = estimator.estimate(frames[1], frames[2], motions[1])
    assert first[0].label == second[0].label


def test_nothing_moves_on_a_still_street() -> None:
    world = street(7, 0)
    older, newer = seen(world, 2), seen(world, 3)
    assert ObjectMotionEstimator().estimate(older, newer, ego_motion(world, 3, older, newer)) == []


def test_uncertain_depth_reports_no_motion_along_the_view(two_cars) -> None:
    _, frames, motions = two_cars
    vague = [replace(frame, std=0.2 * frame.depth) for frame in frames]
    assert ObjectMotionEstimator().estimate(vague[0], vague[1], motions[0]) == []


def test_sizes_and_time_that_do_not_fit_are_named(two_cars) -> None:
    _, frames, motions = two_cars
    estimator = ObjectMotionEstimator()
    with pytest.raises(DepthRosError, match="one size"):
        estimator.estimate(frames[0], frames[1], motions[0], np.zeros((2, 2), int))
    with pytest.raises(DepthRosError, match="later image"):
        estimator.estimate(frames[1], frames[0], motions[0])
