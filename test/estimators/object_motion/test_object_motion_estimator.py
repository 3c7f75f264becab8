"""Moving objects of rendered streets, compared with their exact motions."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth, Motion, ObjectMotion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator, ObjectMotionSettings
from depth_ros.estimators.object_motion.fit import MotionFit
from depth_ros.estimators.object_motion.scene_flow import (
    SceneFlowSettings,
    occlusion_mask,
    predict_measurement,
    scene_flow,
)
from depth_ros.estimators.object_motion.tracks import filtered
from depth_ros.evaluation.metrics.object_motion import mask_iou
from depth_ros.geometry import back_project, inverse
from depth_ros.world import World, WorldSettings


def street(seed: int, moving: int) -> World:
    return World(
        WorldSettings(seed=seed, frames=6, width=640, height=192, moving_count=moving, supersample=2)
    )


def exact_depth(world: World, index: int) -> Depth:
    """A frame with its exact depth and a small standard deviation."""
    sample = world[index]
    camera, image = sample.left.camera, sample.left.image
    return Depth(sample.left.stamp, "camera", sample.depth, camera, image, 0.002 * sample.depth)


def ego_motion(world: World, index: int, older: Depth, newer: Depth) -> Motion:
    return Motion(older.stamp, newer.stamp, inverse(world.pose(index - 1)) @ world.pose(index))


def nearest_object(world: World, index: int) -> ObjectMotion:
    """The exact motion of the object that covers most pixels."""
    return max(world.object_motions(index), key=lambda each: each.mask.sum())


@pytest.fixture(scope="module")
def two_cars():
    """A world, its frames 1 to 4, and the ego-motions between them. One car is near, the other 38 m away."""
    world = street(5, 2)
    frames = [exact_depth(world, index) for index in range(1, 5)]
    motions = [ego_motion(world, 2 + i, frames[i], frames[i + 1]) for i in range(3)]
    return world, frames, motions


def objects_per_frame(
    frames: list[Depth], motions: list[Motion], estimator: ObjectMotionEstimator
) -> list[list[ObjectMotion]]:
    """The objects of each frame from the second on."""
    pairs = zip(frames[:-1], frames[1:], motions, strict=True)
    return [estimator.estimate(older, newer, motion) for older, newer, motion in pairs]


def is_correct(found: ObjectMotion, exact: ObjectMotion) -> bool:
    """Velocity within 10 % and 3 degrees, and consistent with its covariance (4 sigma)."""
    error, speed = found.velocity - exact.velocity, np.linalg.norm(exact.velocity)
    cosine = found.velocity @ exact.velocity / np.linalg.norm(found.velocity) / speed
    within = np.linalg.norm(error) < 0.1 * speed and np.degrees(np.arccos(min(cosine, 1.0))) < 3
    return bool(within and error @ np.linalg.solve(found.covariance, error) < 16)


def test_velocities_are_within_ten_percent_and_three_degrees(two_cars) -> None:
    """Detected without labels; nothing is detected on static surfaces."""
    world, frames, motions = two_cars
    for index, objects in enumerate(objects_per_frame(frames, motions, ObjectMotionEstimator())[1:], 3):
        exact = nearest_object(world, index)
        assert mask_iou(objects[0].mask, exact.mask) > 0.5 and is_correct(objects[0], exact)
        moving = world.moving_objects(index) > 0
        assert all(moving[each.mask].mean() > 0.5 for each in objects)


def test_labelled_instances_keep_their_ids_and_masks(two_cars) -> None:
    world, frames, motions = two_cars
    labels = 7 * world.moving_objects(2)
    objects = ObjectMotionEstimator().estimate(frames[0], frames[1], motions[0], labels)
    exact = nearest_object(world, 2)
    (same,) = (each for each in objects if each.label == 7 * exact.label)
    assert is_correct(same, exact) and np.array_equal(same.mask, exact.mask)


def test_object_is_reported_once_confirmed_and_keeps_its_id(two_cars) -> None:
    _, frames, motions = two_cars
    first, second, third = objects_per_frame(frames, motions, ObjectMotionEstimator())
    assert not first and second[0].label == third[0].label
    immediate = ObjectMotionEstimator(ObjectMotionSettings(min_confirmations=1))
    assert objects_per_frame(frames, motions, immediate)[0]


def test_gap_between_pairs_starts_new_ids(two_cars) -> None:
    _, frames, motions = two_cars
    estimator = ObjectMotionEstimator(ObjectMotionSettings(min_confirmations=1))
    first = estimator.estimate(frames[0], frames[1], motions[0])
    third = estimator.estimate(frames[2], frames[3], motions[2])
    assert first and third and not {e.label for e in first} & {e.label for e in third}


def test_wide_images_are_halved_and_masks_have_the_input_size() -> None:
    world = street(3, 2)
    frames = [exact_depth(world, index) for index in (1, 2)]
    estimator = ObjectMotionEstimator(ObjectMotionSettings(max_width=400, min_confirmations=1))
    (found,) = estimator.estimate(*frames, ego_motion(world, 2, *frames))
    exact = nearest_object(world, 2)
    assert found.mask.shape == (192, 640) and mask_iou(found.mask, exact.mask) > 0.5
    assert is_correct(found, exact)


@pytest.mark.parametrize("kind, seed", [("street", 7), ("street", 12), ("room", 1)])
@pytest.mark.parametrize("std", [0.002, None])
def test_static_scene_has_no_moving_objects(kind, seed, std) -> None:
    size = {"width": 480, "height": 144} if kind == "street" else {}
    world = World(WorldSettings(kind=kind, seed=seed, frames=5, moving_count=0, supersample=2, **size))
    frames = [replace(exact_depth(world, i), std=std and std * world[i].depth) for i in (1, 2, 3)]
    motions = [ego_motion(world, 2 + i, frames[i], frames[i + 1]) for i in range(2)]
    assert objects_per_frame(frames, motions, ObjectMotionEstimator())[1] == []


def test_textureless_object_is_not_reported(two_cars) -> None:
    """A uniform area replaces the near car: the optical flow inside it is meaningless. Its outline does move."""
    world, frames, motions = two_cars
    blank = []
    for index, frame in enumerate(frames, 1):
        image, moving = frame.image.copy(), world.moving_objects(index) > 0
        around = cv2.dilate(moving.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
        image[around] = 200
        blank.append(replace(frame, image=image, std=0.02 * frame.depth))
    objects = objects_per_frame(blank, motions, ObjectMotionEstimator())[-1]
    assert not any((each.mask & (world.moving_objects(4) > 0)).any() for each in objects)


def test_uncertain_ego_motion_suppresses_detections(two_cars) -> None:
    _, frames, motions = two_cars
    uncertain = [replace(motion, covariance=np.diag([1.0] * 3 + [0.01] * 3)) for motion in motions]
    assert objects_per_frame(frames, uncertain, ObjectMotionEstimator())[-1] == []


def test_uncertain_depth_suppresses_motion_along_the_optical_axis(two_cars) -> None:
    _, frames, motions = two_cars
    uncertain = [replace(frame, std=0.5 * frame.depth) for frame in frames]
    assert objects_per_frame(uncertain, motions, ObjectMotionEstimator())[-1] == []


def approaching(distance: float) -> MotionFit:
    """Fit of an object 20 m away that approaches by `distance` m; its depth error dominates."""
    centre, measurement = np.array([0.0, 0.0, 20.0]), np.array([0.0, 0.0, -distance, 0.0])
    covariance = np.diag([1e-4, 1e-4, 1.0, 1e-10])
    covariance[2, 3] = covariance[3, 2] = -0.999 * 1e-5  # m and 1/m: both come from the same depth
    return MotionFit(np.eye(4), centre, measurement, covariance, np.zeros(3), 0.01, 0.005, 1.0)


def test_velocity_variance_shrinks_over_pairs_and_another_motion_starts_a_new_track() -> None:
    mask, track, variances = np.ones((2, 2), bool), None, []
    for _ in range(6):
        track = filtered(track, mask, approaching(0.5), 0.1, np.eye(3))
        variances.append(track.covariance[2, 2])
    assert track.velocity[2] == pytest.approx(-5.0, rel=0.05) and track.pairs == 6
    assert variances[-1] < variances[0] / 4
    other = filtered(track, mask, approaching(-9.0), 0.1, np.eye(3))
    assert other.pairs == 1 and other.velocity[2] > 50


def test_camera_rotation_rotates_the_velocity() -> None:
    mask, R = np.ones((2, 2), bool), cv2.Rodrigues(np.array([0.0, 0.3, 0.0]))[0]
    first = filtered(None, mask, approaching(0.5), 0.1, np.eye(3))
    rotated = R @ first.velocity
    fit = replace(approaching(0.0), measurement=np.append(0.1 * rotated, 0.0))
    assert filtered(first, mask, fit, 0.1, R).velocity == pytest.approx(rotated, abs=0.01)


def test_residual_covariance_includes_that_of_the_ego_motion(two_cars) -> None:
    _, frames, motions = two_cars
    settings, certain = SceneFlowSettings(4, 0.5, 5.0, 0.1, 16.0), motions[0]
    uncertain = replace(certain, covariance=np.diag([0.3**2, 0, 0, 0, 0, 0]))  # along x
    flows = [scene_flow(*frames[:2], motion, settings) for motion in (certain, uncertain)]
    indices = np.flatnonzero(flows[0].valid)[::100]
    points, shift = flows[0].points.reshape(-1, 3)[indices], np.eye(4)
    shift[0, 3] = 1e-4
    T, K = certain.T_old_new, flows[0].K
    slope = (predict_measurement(points, shift @ T, K)[0] - predict_measurement(points, T, K)[0]) / 1e-4
    added = flows[1].residual_covariance(indices) - flows[0].residual_covariance(indices)
    np.testing.assert_allclose(added, 0.3**2 * slope[:, :, None] * slope[:, None, :], rtol=1e-2, atol=1e-6)


def test_pixels_behind_a_static_box_are_occluded_and_invalid() -> None:
    """A box at 2 m in front of a wall at 10 m; the camera moves 0.2 m to the right: shifts of 10 and 2 px."""
    camera = Camera.pinhole(64, 16, 100.0, 100.0, 31.5, 7.5)
    older, newer = (np.full((16, 64), 10.0, np.float32) for _ in range(2))
    older[:, 20:40] = newer[:, 10:30] = 2.0
    image, T = np.zeros((16, 64, 3), np.uint8), np.eye(4)
    T[0, 3] = 0.2
    frames, motion = (
        [Depth(i, "camera", z, camera, image) for i, z in enumerate((older, newer))],
        Motion(0, 1, T),
    )
    predicted = predict_measurement(back_project(newer, camera).astype(float), T, camera.K)[0]
    occluded = occlusion_mask(*frames, predicted, motion)
    assert occluded[:, 31:37].all() and not occluded[:, :30].any() and not occluded[:, 40:].any()
    valid = scene_flow(*frames, motion, SceneFlowSettings(1, 0.5, 5.0, 0.1, 16.0)).valid
    assert not valid[:, 31:37].any() and valid[:, 40:60].all()
    without_box = replace(frames[1], depth=np.full((16, 64), 10.0, np.float32))  # the box moved: not certain
    assert not occlusion_mask(frames[0], without_box, predicted, motion)[:, 31:37].any()


def test_unequal_sizes_and_decreasing_stamps_are_rejected(two_cars) -> None:
    _, frames, motions = two_cars
    estimator = ObjectMotionEstimator()
    with pytest.raises(DepthRosError, match="one size; their sizes are 640x192, 640x192, 2x2"):
        estimator.estimate(frames[0], frames[1], motions[0], np.zeros((2, 2), int))
    with pytest.raises(DepthRosError, match=r"later stamp; got \d+ ns after \d+ ns"):
        estimator.estimate(frames[1], frames[0], motions[0])
