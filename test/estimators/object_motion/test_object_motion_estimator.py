"""What moves in rendered streets, whose motions are exactly known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth, Motion, ObjectMotion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator, ObjectMotionSettings
from depth_ros.estimators.object_motion.fit import Fit
from depth_ros.estimators.object_motion.scene_flow import expected, hidden, scene_flow
from depth_ros.estimators.object_motion.tracks import observed
from depth_ros.evaluation.object_motion import overlap
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


@pytest.fixture(scope="module")
def two_cars():
    """A world, frames 1 to 4 of it, and the ego-motions between them. One car is near, the other 38 m off."""
    world = street(5, 2)
    frames = [seen(world, index) for index in range(1, 5)]
    motions = [ego_motion(world, 2 + i, frames[i], frames[i + 1]) for i in range(3)]
    return world, frames, motions


def found_in(frames: list[Depth], motions: list[Motion], estimator: ObjectMotionEstimator) -> list[list]:
    """What is found in each frame from the second on."""
    pairs = zip(frames[:-1], frames[1:], motions, strict=True)
    return [estimator.estimate(older, newer, motion) for older, newer, motion in pairs]


def is_right(found: ObjectMotion, real: ObjectMotion) -> bool:
    """Within a tenth and three degrees, and the covariance does not deny it."""
    difference, length = found.velocity - real.velocity, np.linalg.norm(real.velocity)
    cosine = found.velocity @ real.velocity / np.linalg.norm(found.velocity) / length
    near = np.linalg.norm(difference) < 0.1 * length and np.degrees(np.arccos(min(cosine, 1.0))) < 3
    return bool(near and difference @ np.linalg.solve(found.covariance, difference) < 16)


def test_velocities_within_a_tenth_and_three_degrees(two_cars) -> None:
    """Found by their motion alone; and none on what stands still."""
    world, frames, motions = two_cars
    for index, found in enumerate(found_in(frames, motions, ObjectMotionEstimator())[1:], 3):
        near = max(world.object_motions(index), key=lambda each: each.mask.sum())
        assert overlap(found[0].mask, near.mask) > 0.5 and is_right(found[0], near)
        moving = world.moving(index) > 0
        assert all(moving[each.mask].mean() > 0.5 for each in found)


def test_instances_that_are_given_keep_their_ids_and_masks(two_cars) -> None:
    world, frames, motions = two_cars
    labels = 7 * world.moving(2)
    found = ObjectMotionEstimator().estimate(frames[0], frames[1], motions[0], labels)
    near = max(world.object_motions(2), key=lambda each: each.mask.sum())
    (same,) = (each for each in found if each.label == 7 * near.label)
    assert is_right(same, near) and np.array_equal(same.mask, near.mask)


def test_an_object_is_reported_once_it_is_confirmed_and_keeps_its_id(two_cars) -> None:
    _, frames, motions = two_cars
    first, second, third = found_in(frames, motions, ObjectMotionEstimator())
    assert not first and second[0].label == third[0].label
    assert found_in(frames, motions, ObjectMotionEstimator(ObjectMotionSettings(confirmed=1)))[0]


def test_after_a_gap_ids_are_new(two_cars) -> None:
    _, frames, motions = two_cars
    estimator = ObjectMotionEstimator(ObjectMotionSettings(confirmed=1))
    first = estimator.estimate(frames[0], frames[1], motions[0])
    third = estimator.estimate(frames[2], frames[3], motions[2])
    assert first and third and not {e.label for e in first} & {e.label for e in third}


def test_wide_images_are_halved() -> None:
    """Results are of the size of what came."""
    world = street(3, 2)
    frames = [seen(world, index) for index in (1, 2)]
    estimator = ObjectMotionEstimator(ObjectMotionSettings(width=400, confirmed=1))
    (found,) = estimator.estimate(*frames, ego_motion(world, 2, *frames))
    near = max(world.object_motions(2), key=lambda each: each.mask.sum())
    assert found.mask.shape == (192, 640) and overlap(found.mask, near.mask) > 0.5
    assert is_right(found, near)


@pytest.mark.parametrize("kind, seed", [("street", 7), ("street", 12), ("room", 1)])
@pytest.mark.parametrize("std", [0.002, None])
def test_nothing_moves_in_a_still_world(kind, seed, std) -> None:
    size = {"width": 480, "height": 144} if kind == "street" else {}
    world = World(WorldSettings(kind=kind, seed=seed, frames=5, moving=0, supersample=2, **size))
    frames = [replace(seen(world, i), std=std and std * world[i].depth) for i in (1, 2, 3)]
    motions = [ego_motion(world, 2 + i, frames[i], frames[i + 1]) for i in range(2)]
    assert found_in(frames, motions, ObjectMotionEstimator())[1] == []


def test_what_shows_nothing_does_not_move(two_cars) -> None:
    """White instead of the near car: flow is made up there, and not believed. The outline of the white does move."""
    world, frames, motions = two_cars
    blank = []
    for index, frame in enumerate(frames, 1):
        image, moving = frame.image.copy(), world.moving(index) > 0
        around = cv2.dilate(moving.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
        image[around] = 200
        blank.append(replace(frame, image=image, std=0.02 * frame.depth))
    found = found_in(blank, motions, ObjectMotionEstimator())[-1]
    assert not any((each.mask & (world.moving(4) > 0)).any() for each in found)


def test_an_uncertain_ego_motion_explains_it(two_cars) -> None:
    _, frames, motions = two_cars
    vague = [replace(motion, covariance=np.diag([1.0] * 3 + [0.01] * 3)) for motion in motions]
    assert found_in(frames, vague, ObjectMotionEstimator())[-1] == []


def test_uncertain_depth_reports_no_motion_along_the_view(two_cars) -> None:
    _, frames, motions = two_cars
    vague = [replace(frame, std=0.5 * frame.depth) for frame in frames]
    assert found_in(vague, motions, ObjectMotionEstimator())[-1] == []


def seen_pair(shift: float, offset: float, shared: float = 0.005) -> Fit:
    """An object 20 m off that comes nearer by `shift` m between two images, whose depths disagree by `offset`, 1/m."""
    centre, moved = np.array([0.0, 0.0, 20.0]), np.array([0.0, 0.0, -shift, offset])
    covariance = np.diag([1e-4, 1e-4, 1.0, 1e-10])
    covariance[2, 3] = covariance[3, 2] = (
        -0.999 * 1e-5
    )  # m and 1/m: known from depth alone, and so with its error
    return Fit(np.eye(4), centre, moved, covariance, np.zeros(3), 0.01, shared, 1.0)


def test_velocity_of_many_pairs_is_surer_than_that_of_one() -> None:
    mask, last, spread = np.ones((2, 2), bool), None, []
    for _ in range(6):
        last = observed(last, mask, seen_pair(0.5, 0.0), 0.1, np.eye(3))
        spread.append(last.covariance[2, 2])
    assert last.velocity[2] == pytest.approx(-5.0, rel=0.05) and last.pairs == 6
    assert spread[-1] < spread[0] / 4
    other = observed(last, mask, seen_pair(-9.0, 0.0), 0.1, np.eye(3))
    assert other.pairs == 1 and other.velocity[2] > 50


def test_a_turn_of_the_camera_turns_the_velocity() -> None:
    mask, R = np.ones((2, 2), bool), cv2.Rodrigues(np.array([0.0, 0.3, 0.0]))[0]
    first = observed(None, mask, seen_pair(0.5, 0.0), 0.1, np.eye(3))
    turned = R @ first.velocity
    fit = seen_pair(0.0, 0.0)
    fit = replace(fit, measured=np.append(0.1 * turned, 0.0))
    assert observed(first, mask, fit, 0.1, R).velocity == pytest.approx(turned, abs=0.01)


def test_noise_of_a_pixel_has_the_uncertainty_of_the_ego_motion(two_cars) -> None:
    _, frames, motions = two_cars
    sure = motions[0]
    unsure = replace(sure, covariance=np.diag([0.3**2, 0, 0, 0, 0, 0]))  # sideways
    flows = [scene_flow(*frames[:2], m, 4, 0.5, 5.0, 0.1, 16.0) for m in (sure, unsure)]
    which = np.flatnonzero(flows[0].known)[::100]
    points, aside = flows[0].points.reshape(-1, 3)[which], np.eye(4)
    aside[0, 3] = 1e-4
    here, there = (expected(points, T, flows[0].K)[0] for T in (sure.T_old_new, aside @ sure.T_old_new))
    slope = (there - here) / 1e-4
    added = flows[1].noise(which) - flows[0].noise(which)
    np.testing.assert_allclose(added, 0.3**2 * slope[:, :, None] * slope[:, None, :], rtol=1e-2, atol=1e-6)


def test_what_was_behind_something_that_stands_still_is_known_to_be_hidden() -> None:
    """A box at 2 m before a wall at 10 m, and a camera that moves 0.2 m to the right: 10 px and 2 px."""
    camera = Camera.pinhole(64, 16, 100.0, 100.0, 31.5, 7.5)
    older, newer = (np.full((16, 64), 10.0, np.float32) for _ in range(2))
    older[:, 20:40] = newer[:, 10:30] = 2.0
    image, T = np.zeros((16, 64, 3), np.uint8), np.eye(4)
    T[0, 3] = 0.2
    frames = [Depth(i, "camera", depth, camera, image) for i, depth in enumerate((older, newer))]
    seen_there = expected(back_project(newer, camera).astype(float), T, camera.K)[0]
    found = hidden(*frames, seen_there, Motion(0, 1, T))
    assert found[:, 31:37].all() and not found[:, :30].any() and not found[:, 40:].any()
    known = scene_flow(*frames, Motion(0, 1, T), 1, 0.5, 5.0, 0.1, 16.0).known
    assert not known[:, 31:37].any() and known[:, 40:60].all()
    gone = replace(
        frames[1], depth=np.full((16, 64), 10.0, np.float32)
    )  # a box that moved hides nothing for sure
    assert not hidden(frames[0], gone, seen_there, Motion(0, 1, T))[:, 31:37].any()


def test_sizes_and_time_that_do_not_fit_are_named(two_cars) -> None:
    _, frames, motions = two_cars
    estimator = ObjectMotionEstimator()
    with pytest.raises(DepthRosError, match="one size"):
        estimator.estimate(frames[0], frames[1], motions[0], np.zeros((2, 2), int))
    with pytest.raises(DepthRosError, match="later image"):
        estimator.estimate(frames[1], frames[0], motions[0])
