"""The motion of one object of a rendered street, whose motion is exactly known, and its way through many pairs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from depth_ros.datatypes import Depth, Motion
from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator, ObjectMotionSettings
from depth_ros.estimators.object_motion.fit import Fit, Layers, fit
from depth_ros.estimators.object_motion.scene_flow import scene_flow
from depth_ros.estimators.object_motion.tracks import observed
from depth_ros.geometry import inverse
from depth_ros.world import World, WorldSettings

STRIDE = 2
Pair = tuple[Depth, Depth, Motion, np.ndarray, np.ndarray]


def pair_of(apart: int, rate: float = 10.0, seed: int = 5) -> Pair:
    """Two frames so many steps apart, the ego-motion, the mask of the near car and how far it moved, m."""
    world = World(
        WorldSettings(seed=seed, frames=6, width=640, height=192, moving=2, supersample=2, rate=rate)
    )
    frames = []
    for index in (3 - apart, 3):
        image, depth = world.render(index)
        stamp = round(1e9 * index / world.rate)
        frames.append(Depth(stamp, "camera", depth, world.cameras["left"], image, 0.002 * depth))
    T_old_new = inverse(world.pose(3 - apart)) @ world.pose(3)
    near = max(world.object_motions(3), key=lambda each: each.mask.sum())
    moved = near.velocity * apart / world.rate
    return frames[0], frames[1], Motion(frames[0].stamp, frames[1].stamp, T_old_new), near.mask, moved


@pytest.fixture(scope="module")
def pair() -> Pair:
    return pair_of(1)


def fitted(older: Depth, newer: Depth, motion: Motion, mask: np.ndarray, count: int = 0) -> Fit:
    """The fit of (at most `count`) pixels of a mask."""
    flow = scene_flow(older, newer, motion, STRIDE, 0.2, 5.0, 0.15, 9.0)
    which = np.flatnonzero(mask[::STRIDE, ::STRIDE] & flow.known)
    area = STRIDE**2 * len(which)
    which = which[:: -(-len(which) // count) if count else 1]
    return fit(flow, Layers(flow), which, area / len(which), 5.0, 0.3)


def test_motion_is_found_from_a_standing_start(pair: Pair) -> None:
    *seen, moved = pair
    found = fitted(*seen)
    assert np.linalg.norm(found.measured[:3] - moved) < 0.1 * np.linalg.norm(moved)
    assert found.agree > 0.8
    np.testing.assert_allclose(
        found.T[:3, :3] @ found.centre + found.T[:3, 3], found.centre + found.measured[:3]
    )


def test_flow_takes_it_there_where_the_images_alone_do_not() -> None:
    *seen, moved = pair_of(2, 4.0, 7)
    assert np.linalg.norm(moved) > 5
    found = fitted(*seen)
    assert np.linalg.norm(found.measured[:3] - moved) < 0.1 * np.linalg.norm(moved)


def test_error_of_one_image_s_depth_is_told_from_motion(pair: Pair) -> None:
    """What all inverse depths of one image are off by is the fourth number, and no step of the object."""
    older, newer, motion, mask, moved = pair
    depth = float(np.median(newer.depth[mask]))
    off = 0.06 / depth
    wrong = replace(older, depth=1 / (1 / older.depth + np.float32(off)))
    vague = [replace(each, std=0.05 * each.depth) for each in (wrong, newer)]
    found = fitted(*vague, motion, mask)
    assert found.measured[3] == pytest.approx(off, rel=0.3)
    assert np.linalg.norm(found.measured[:3] - moved) < 0.4 * off * depth**2


def test_more_points_do_not_make_it_surer_than_the_depth_allows(pair: Pair) -> None:
    """Twelve points of an object at most err independently."""
    older, newer, motion, mask, _ = pair
    vague = [replace(each, std=0.05 * each.depth) for each in (older, newer)]
    many, few = (fitted(*vague, motion, mask, count).covariance[2, 2] for count in (0, 100))
    assert many == pytest.approx(few, rel=0.5)


def test_uncertain_ego_motion_is_part_of_it(pair: Pair) -> None:
    older, newer, motion, mask, _ = pair
    sure, unsure = (
        fitted(older, newer, replace(motion, covariance=np.diag([v, v, v, 0, 0, 0])), mask).covariance[:3, :3]
        for v in (0.0, 0.04)
    )
    np.testing.assert_allclose(unsure - sure, 0.04 * np.eye(3), atol=0.004)


def test_lasting_error_of_the_depth_is_along_the_relative_motion(pair: Pair) -> None:
    older, newer, motion, mask, _ = pair
    vague = [replace(each, std=0.03 * each.depth) for each in (older, newer)]
    found = []
    for share in (0.0, 1.0):
        estimator = ObjectMotionEstimator(ObjectMotionSettings(lasting_share=share, significance=1.0))
        (one,) = estimator.estimate(*vague, motion, mask.astype(np.int32))
        found.append(one.covariance)
    values, vectors = np.linalg.eigh(found[1] - found[0])
    relative = fitted(*vague, motion, mask).relative
    assert abs(vectors[:, 2] @ relative) > 0.99 * np.linalg.norm(relative)
    assert np.sqrt(values[2]) == pytest.approx(0.03 * np.linalg.norm(relative) / 0.1, rel=0.1)


def test_brightness_that_changes_is_no_motion(pair: Pair) -> None:
    older, newer, motion, mask, moved = pair
    brighter = replace(newer, image=np.clip(newer.image.astype(int) + 40, 0, 255).astype(np.uint8))
    found = fitted(older, brighter, motion, mask)
    assert np.linalg.norm(found.measured[:3] - moved) < 0.1 * np.linalg.norm(moved)


def test_velocity_of_many_pairs_is_consistent() -> None:
    """Depths of an object that are off as a whole, anew in every image: its velocity is as sure as it says."""
    random, mask, distances = np.random.default_rng(0), np.ones((2, 2), bool), []
    velocity, centre, relative = (
        np.array([1.0, 0.0, -8.0]),
        np.array([0.0, 0.0, 20.0]),
        np.array([0.1, 0, -1.8]),
    )
    covariance = np.diag([1e-4, 1e-4, 1e-3, 1e-8])
    for _ in range(400):
        last, errors = None, random.normal(0, 0.002, 13)
        for older, newer in itertools.pairwise(errors):
            true = np.append(0.1 * velocity - centre[2] * relative * newer, older - newer)
            measured = true + random.normal(0, np.sqrt(np.diag(covariance)))
            each = Fit(np.eye(4), centre, measured, covariance, relative, 0.01, 0.002, 1.0)
            last = observed(last, mask, each, 0.1, np.eye(3))
        difference = last.velocity - velocity
        distances.append(difference @ np.linalg.solve(last.covariance[:3, :3], difference))
    assert last.pairs == 12
    assert 2.4 < np.mean(distances) < 3  # 3 but for ACCELERATION, of which there was none
    assert last.covariance[2, 2] < 0.31**2
