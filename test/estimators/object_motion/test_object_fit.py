"""Motion of one object of a rendered street, compared with its exact motion, and its filtered velocity."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from depth_ros.datatypes import Depth, Motion
from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator, ObjectMotionSettings
from depth_ros.estimators.object_motion.fit import BlurredImages, MotionFit, fit_motion
from depth_ros.estimators.object_motion.scene_flow import SceneFlowSettings, scene_flow
from depth_ros.estimators.object_motion.tracks import filtered
from depth_ros.geometry import inverse
from depth_ros.world import World, WorldSettings

SETTINGS = SceneFlowSettings(2, 0.2, 5.0, 0.15, 9.0)
Pair = tuple[Depth, Depth, Motion, np.ndarray, np.ndarray]


def rendered_pair(step: int, rate: float = 10.0, seed: int = 5) -> Pair:
    """Two frames `step` frames apart, the ego-motion, and mask and displacement (m) of the nearest car."""
    world = World(
        WorldSettings(seed=seed, frames=6, width=640, height=192, moving_count=2, supersample=2, rate=rate)
    )
    frames = []
    for index in (3 - step, 3):
        image, depth = world.render(index)
        stamp = round(1e9 * index / world.rate)
        frames.append(Depth(stamp, "camera", depth, world.cameras["left"], image, 0.002 * depth))
    T_old_new = inverse(world.pose(3 - step)) @ world.pose(3)
    nearest = max(world.object_motions(3), key=lambda each: each.mask.sum())
    displacement = nearest.velocity * step / world.rate
    motion = Motion(frames[0].stamp, frames[1].stamp, T_old_new)
    return frames[0], frames[1], motion, nearest.mask, displacement


@pytest.fixture(scope="module")
def pair() -> Pair:
    return rendered_pair(1)


def fit_mask(older: Depth, newer: Depth, motion: Motion, mask: np.ndarray, count: int = 0) -> MotionFit:
    """The fit of the pixels of a mask; of `count` of them at most if it is not 0."""
    flow, stride = scene_flow(older, newer, motion, SETTINGS), SETTINGS.stride
    indices = np.flatnonzero(mask[::stride, ::stride] & flow.valid)
    area = stride**2 * len(indices)
    indices = indices[:: -(-len(indices) // count) if count else 1]
    return fit_motion(flow, BlurredImages(flow), indices, area / len(indices), 0.3)


def test_displacement_is_within_ten_percent(pair: Pair) -> None:
    *inputs, displacement = pair
    fit = fit_mask(*inputs)
    assert np.linalg.norm(fit.measurement[:3] - displacement) < 0.1 * np.linalg.norm(displacement)
    assert fit.inlier_ratio > 0.8
    np.testing.assert_allclose(fit.T[:3, :3] @ fit.centre + fit.T[:3, 3], fit.centre + fit.measurement[:3])


def test_large_displacement_is_found_thanks_to_the_optical_flow() -> None:
    *inputs, displacement = rendered_pair(2, 4.0, 7)
    assert np.linalg.norm(displacement) > 5
    fit = fit_mask(*inputs)
    assert np.linalg.norm(fit.measurement[:3] - displacement) < 0.1 * np.linalg.norm(displacement)


def test_common_depth_error_of_one_image_is_separated_from_motion(pair: Pair) -> None:
    """A common error of all inverse depths of one image is the fourth component, not a displacement."""
    older, newer, motion, mask, displacement = pair
    depth = float(np.median(newer.depth[mask]))
    error = 0.06 / depth
    biased = replace(older, depth=1 / (1 / older.depth + np.float32(error)))
    uncertain = [replace(each, std=0.05 * each.depth) for each in (biased, newer)]
    fit = fit_mask(*uncertain, motion, mask)
    assert fit.measurement[3] == pytest.approx(error, rel=0.3)
    assert np.linalg.norm(fit.measurement[:3] - displacement) < 0.4 * error * depth**2


def test_covariance_does_not_shrink_with_more_correlated_points(pair: Pair) -> None:
    """At most twelve points of an object have independent errors."""
    older, newer, motion, mask, _ = pair
    uncertain = [replace(each, std=0.05 * each.depth) for each in (older, newer)]
    all_points, hundred = (fit_mask(*uncertain, motion, mask, count).covariance[2, 2] for count in (0, 100))
    assert all_points == pytest.approx(hundred, rel=0.5)


def test_covariance_includes_that_of_the_ego_motion(pair: Pair) -> None:
    older, newer, motion, mask, _ = pair
    certain, uncertain = (
        fit_mask(older, newer, replace(motion, covariance=np.diag([v, v, v, 0, 0, 0])), mask).covariance[
            :3, :3
        ]
        for v in (0.0, 0.04)
    )
    np.testing.assert_allclose(uncertain - certain, 0.04 * np.eye(3), atol=0.004)


def test_persistent_depth_error_adds_covariance_along_the_relative_motion(pair: Pair) -> None:
    older, newer, motion, mask, _ = pair
    uncertain = [replace(each, std=0.03 * each.depth) for each in (older, newer)]
    covariances = []
    for fraction in (0.0, 1.0):
        settings = ObjectMotionSettings(persistent_depth_error=fraction, significance=1.0)
        (one,) = ObjectMotionEstimator(settings).estimate(*uncertain, motion, mask.astype(np.int32))
        covariances.append(one.covariance)
    values, vectors = np.linalg.eigh(covariances[1] - covariances[0])
    relative = fit_mask(*uncertain, motion, mask).relative_displacement
    assert abs(vectors[:, 2] @ relative) > 0.99 * np.linalg.norm(relative)
    assert np.sqrt(values[2]) == pytest.approx(0.03 * np.linalg.norm(relative) / 0.1, rel=0.1)


def test_brightness_change_does_not_affect_the_motion(pair: Pair) -> None:
    older, newer, motion, mask, displacement = pair
    brighter = replace(newer, image=np.clip(newer.image.astype(int) + 40, 0, 255).astype(np.uint8))
    fit = fit_mask(older, brighter, motion, mask)
    assert np.linalg.norm(fit.measurement[:3] - displacement) < 0.1 * np.linalg.norm(displacement)


def test_filtered_velocity_is_consistent_with_its_covariance() -> None:
    """Mean NEES over simulated objects whose common depth error is redrawn in every image."""
    random, mask, nees = np.random.default_rng(0), np.ones((2, 2), bool), []
    velocity, centre, relative = (
        np.array([1.0, 0.0, -8.0]),
        np.array([0.0, 0.0, 20.0]),
        np.array([0.1, 0, -1.8]),
    )
    covariance = np.diag([1e-4, 1e-4, 1e-3, 1e-8])
    for _ in range(400):
        track, errors = None, random.normal(0, 0.002, 13)
        for older, newer in itertools.pairwise(errors):
            exact = np.append(0.1 * velocity - centre[2] * relative * newer, older - newer)
            measurement = exact + random.normal(0, np.sqrt(np.diag(covariance)))
            fit = MotionFit(np.eye(4), centre, measurement, covariance, relative, 0.01, 0.002, 1.0)
            track = filtered(track, mask, fit, 0.1, np.eye(3))
        error = track.velocity - velocity
        nees.append(error @ np.linalg.solve(track.covariance[:3, :3], error))
    assert track.pairs == 12
    assert 2.4 < np.mean(nees) < 3  # 3 without ACCELERATION_STD: the simulated objects do not accelerate
    assert track.covariance[2, 2] < 0.31**2
