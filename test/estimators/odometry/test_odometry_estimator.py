"""Odometry on rendered motion with exact poses and depths, and on recorded clips."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth
from depth_ros.estimators.odometry import estimator as odometry_estimator
from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.estimators.odometry.pose_solver import retract
from depth_ros.estimators.odometry.settings import OdometrySettings, without_camera_noise
from depth_ros.estimators.odometry.systematic_errors import Gaussian
from depth_ros.evaluation.metrics.trajectory import relative_poses, trajectory_metrics
from depth_ros.geometry import inverse
from depth_ros.recordings import open_recording
from depth_ros.world import World, WorldSettings

SIZE = {"street": (384, 128), "room": (240, 180)}
PERIOD = 100_000_000
"""ns between two views of the wall."""
SETTINGS = without_camera_noise(OdometrySettings())


@functools.cache
def clip(kind: str, frames: int = 10, seed: int = 2) -> tuple[list[Depth], np.ndarray]:
    """Depth images of a rendered clip, with the exact poses (N, 4, 4)."""
    width, height = SIZE[kind]
    world = World(WorldSettings(kind=kind, seed=seed, frames=frames, width=width, height=height))
    depths = []
    for index in range(frames):
        image, depth = world.render(index)
        stamp = round(index * 1e9 / world.rate)
        depths.append(Depth(stamp, "camera", depth, world.cameras["left"], image))
    return depths, np.array([world.pose(index) for index in range(frames)])


def wall_view(T: np.ndarray, stamp: int = 0, contrast: float = 1.0, seed: int = 0) -> Depth:
    """View of a wall with a random pattern 4 m ahead of the origin, from a pose (4, 4) or one pose per row
    (240, 4, 4)."""
    camera = Camera.pinhole(320, 240, 260, 260, 159.5, 119.5)
    pattern = np.random.default_rng(seed).uniform(0, 255, (90, 120)).astype(np.float32)
    pattern = 128 + contrast * (cv2.resize(pattern, (960, 720), interpolation=cv2.INTER_CUBIC) - 128)
    u, v = np.meshgrid(np.arange(320.0), np.arange(240.0))
    T = np.broadcast_to(T, (240, 4, 4))
    rays = np.stack([(u - 159.5) / 260, (v - 119.5) / 260, np.ones_like(u)], -1)
    rays = rays @ T[:, :3, :3].transpose(0, 2, 1)
    depth = (4 - T[:, 2, 3, None]) / rays[..., 2]
    points = T[:, None, :3, 3] + rays * depth[..., None]
    maps = [(480 + 80 * points[..., 0]).astype(np.float32), (360 + 80 * points[..., 1]).astype(np.float32)]
    grey = cv2.remap(pattern, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    grey += np.random.default_rng(stamp % 1000).normal(0, 1, grey.shape).astype(np.float32)
    image = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2)
    return Depth(stamp, "camera", depth.astype(np.float32), camera, image)


def transform(x=0.0, y=0.0, z=0.0, rotation=(0.0, 0.0, 0.0)) -> np.ndarray:
    """(4, 4) from a translation, m, and a rotation vector, rad."""
    return retract(np.array([x, y, z, *rotation]))


def states(results) -> list[str]:
    return [result.state for result in results]


def poses(results) -> np.ndarray:
    return np.array([result.pose.T for result in results])


@pytest.mark.parametrize("kind", ["street", "room"])
def test_rendered_trajectory_is_tracked_with_consistent_covariances(kind):
    """Within 1 % of the distance, although cars and boxes move."""
    depths, ground_truth = clip(kind)
    estimator = OdometryEstimator(SETTINGS)
    results = [estimator.estimate(depth) for depth in depths]
    assert states(results) == ["starting"] + ["tracking"] * 9
    covariances = np.array([result.motion.covariance for result in results[1:]])
    metrics = trajectory_metrics(poses(results), ground_truth, covariances)
    distance = np.linalg.norm(relative_poses(ground_truth)[:, :3, 3], axis=1).sum()
    assert metrics["ate_rmse_m"] < 0.01 * distance
    assert metrics["rpe_rot_deg"] < 0.1
    assert 0.5 < metrics["nees"] < 20
    traces = np.array([np.trace(result.pose.covariance) for result in results])
    assert traces[0] == 0 and traces[-1] > traces[1] > 0
    assert results[5].motion.stamp_old == depths[4].stamp and results[5].milliseconds["align"] > 0


def test_chained_motions_are_the_pose():
    depths, _ = clip("room")
    estimator = OdometryEstimator(SETTINGS)
    results = [estimator.estimate(depth) for depth in depths]
    chained = np.linalg.multi_dot([result.motion.T_old_new for result in results[1:]])
    assert np.allclose(chained, results[-1].pose.T, atol=1e-9)


@pytest.mark.parametrize(
    ("T", "row", "column"),
    [(transform(z=0.2), 2, 3), (transform(x=0.2), 0, 3), (transform(rotation=(0, 0.05, 0)), 0, 2)],
    ids=["forward is +z", "right is +x", "a right turn is +y"],
)
def test_motion_has_the_signs_of_the_optical_frame(T, row, column):
    estimator = OdometryEstimator(SETTINGS)
    estimator.estimate(wall_view(np.eye(4)))
    estimate = estimator.estimate(wall_view(T, PERIOD)).pose.T
    assert estimate[row, column] == pytest.approx(T[row, column], rel=0.03)
    assert np.allclose(estimate, T, atol=0.004)


@pytest.mark.parametrize(("policy", "lost_z"), [("stop", 0.2), ("extrapolate", 0.3), ("null", np.nan)])
def test_tracking_resumes_from_the_key_frames_before_a_loss(policy, lost_z):
    """One black image. The pose while lost follows the policy; the next motion spans the loss."""
    frames = [wall_view(transform(z=0.1 * i), PERIOD * i) for i in range(5)]
    frames[3] = dataclasses.replace(frames[3], image=np.zeros_like(frames[3].image))
    estimator = OdometryEstimator(dataclasses.replace(SETTINGS, when_lost=policy))
    results = [estimator.estimate(frame) for frame in frames]
    assert states(results) == ["starting", "tracking", "tracking", "lost", "tracking"]
    assert results[3].motion is None
    assert results[3].pose.T[2, 3] == pytest.approx(lost_z, abs=0.004, nan_ok=True)
    traces = [np.trace(result.pose.covariance) for result in results]
    assert traces[3] > 10 * traces[2] and traces[4] < 0.01 * traces[3]
    assert results[4].motion.stamp_old == frames[2].stamp
    assert results[4].motion.T_old_new[2, 3] == pytest.approx(0.2, abs=0.004)
    assert results[4].pose.T[2, 3] == pytest.approx(0.4, abs=0.008)


def test_tracking_resumes_in_unknown_surroundings_after_a_loss():
    """No earlier key frame is visible again: the motion during the loss is missing, later ones are tracked."""
    frames = [wall_view(transform(z=0.1 * i), PERIOD * i) for i in range(3)]
    elsewhere = [wall_view(transform(z=0.1 * i, rotation=(0, 0, 3.0)), PERIOD * i, seed=9) for i in (3, 4, 5)]
    estimator = OdometryEstimator(SETTINGS)
    results = [estimator.estimate(frame) for frame in [*frames, *elsewhere]]
    assert states(results) == ["starting", "tracking", "tracking", "lost", "tracking", "tracking"]
    assert results[4].motion.stamp_old == elsewhere[0].stamp
    assert results[5].pose.T[2, 3] == pytest.approx(0.4, abs=0.008)


def test_extrapolation_ends_after_its_timeout():
    frames = [wall_view(transform(z=0.1 * i), PERIOD * i) for i in range(3)]
    settings = dataclasses.replace(SETTINGS, when_lost="extrapolate", extrapolation_timeout=0.15)
    estimator = OdometryEstimator(settings)
    for frame in frames:
        estimator.estimate(frame)
    z = []
    for stamp in range(3 * PERIOD, 8 * PERIOD, PERIOD):
        black = dataclasses.replace(frames[0], stamp=stamp, image=np.zeros_like(frames[0].image))
        z.append(estimator.estimate(black).pose.T[2, 3])
    assert z[0] == pytest.approx(0.3, abs=0.005)
    assert z[1:] == pytest.approx([0.35] * 4, abs=0.007)


def test_reset_sets_the_initial_pose():
    estimator = OdometryEstimator(SETTINGS)
    T = transform(1, 2, 3, (0, 0.5, 0))
    estimator.reset(T)
    assert np.allclose(estimator.estimate(wall_view(np.eye(4))).pose.T, T)
    result = estimator.estimate(wall_view(transform(z=0.1), PERIOD))
    assert np.allclose(result.pose.T, T @ transform(z=0.1), atol=0.004)
    estimator.reset()
    assert np.allclose(estimator.estimate(wall_view(np.eye(4), PERIOD + 1)).pose.T, np.eye(4))


def test_an_older_stamp_restarts_at_the_last_pose():
    estimator = OdometryEstimator(SETTINGS)
    estimator.estimate(wall_view(np.eye(4)))
    last = estimator.estimate(wall_view(transform(z=0.1), PERIOD))
    assert estimator.estimate(wall_view(np.eye(4), PERIOD // 2)).state == "starting"
    result = estimator.estimate(wall_view(np.eye(4), PERIOD // 2 + 10_000_000))
    assert result.state == "tracking" and np.allclose(result.pose.T, last.pose.T, atol=0.004)


LARGE_ROTATION = transform(rotation=(0, 0, 0.5))
"""About the optical axis; too large to match patches."""


def test_descriptors_bridge_a_large_rotation():
    estimator = OdometryEstimator(SETTINGS)
    estimator.estimate(wall_view(np.eye(4)))
    result = estimator.estimate(wall_view(LARGE_ROTATION, PERIOD))
    assert result.state == "tracking" and np.allclose(result.pose.T, LARGE_ROTATION, atol=0.004)


def test_imu_rotation_bridges_a_large_rotation_without_descriptors(monkeypatch):
    monkeypatch.setattr(odometry_estimator, "motion_from_descriptors", lambda *arguments: None)
    for R_old_new, state in ((None, "lost"), (LARGE_ROTATION[:3, :3], "tracking")):
        estimator = OdometryEstimator(SETTINGS)
        estimator.estimate(wall_view(np.eye(4)))
        result = estimator.estimate(wall_view(LARGE_ROTATION, PERIOD), R_old_new)
        assert result.state == state
    assert np.allclose(result.pose.T, LARGE_ROTATION, atol=0.004)


@pytest.mark.parametrize(("moving_columns", "masked"), [(110, False), (250, True)])
def test_moving_pixels_do_not_bias_the_motion(moving_columns, masked):
    """A part of the wall slides: a minority is rejected as outliers, a majority has to be masked."""
    first, static = wall_view(np.eye(4)), wall_view(np.eye(4), PERIOD)
    sliding = wall_view(transform(x=-0.1), PERIOD)
    mask = np.zeros((240, 320), bool)
    mask[:, :moving_columns] = True
    frame = dataclasses.replace(static, image=np.where(mask[..., None], sliding.image, static.image))
    estimator = OdometryEstimator(SETTINGS)
    estimator.estimate(first)
    result = estimator.estimate(frame, moving_mask=mask if masked else None)
    assert np.abs(result.pose.T[0, 3]) < 0.01


def test_covariance_grows_as_contrast_decreases():
    traces, settings = [], dataclasses.replace(SETTINGS, min_correlation=0.3)
    for contrast in (1.0, 0.3, 0.1):
        estimator = OdometryEstimator(settings)
        estimator.estimate(wall_view(np.eye(4), 1, contrast))
        result = estimator.estimate(wall_view(transform(z=0.05), PERIOD + 2, contrast))
        assert result.state == "tracking"
        traces.append(np.trace(result.motion.covariance[3:, 3:]))
    assert traces[0] < traces[1] < traces[2]


def test_images_without_texture_are_lost():
    estimator = OdometryEstimator(dataclasses.replace(SETTINGS, min_correlation=0.3))
    estimator.estimate(wall_view(np.eye(4), 1, 0.0))
    assert estimator.estimate(wall_view(transform(z=0.05), PERIOD + 2, 0.0)).state == "lost"


def test_covariance_includes_the_uncertain_disparity_bias():
    """The pose accumulates the error; it cancels in a motion whose two ends have it in common."""
    depths, _ = clip("street", 8)
    variances = []
    for std in (0.0, 3.0):
        estimator = OdometryEstimator(dataclasses.replace(SETTINGS, disparity_bias_std=std))
        results = [estimator.estimate(dataclasses.replace(depth, baseline=0.54)) for depth in depths]
        variances.append([results[1].motion.covariance[2, 2], results[1].pose.covariance[2, 2]])
    assert np.all(np.array(variances[1]) > 4 * np.array(variances[0]))
    early, late = results[2], results[5]
    assert late.motion.covariance[2, 2] < 2 * early.motion.covariance[2, 2]
    assert late.pose.covariance[2, 2] > 3 * early.pose.covariance[2, 2]


@pytest.mark.parametrize(
    ("name", "value", "axes", "variance"),
    [
        ("translation_noise", 0.01, slice(0, 3), 0.01**2),
        ("relative_translation_noise", 0.1, slice(0, 3), 0.02**2),
        ("rotation_noise", 0.01, slice(3, 6), 0.01**2),
        ("relative_rotation_noise", 0.1, slice(3, 6), 0.005**2),
    ],
)
def test_camera_noise_is_added_to_the_covariance_of_a_motion(name, value, axes, variance):
    """A motion of 0.2 m and 0.05 rad."""
    traces = []
    for noise in (0.0, value):
        estimator = OdometryEstimator(dataclasses.replace(SETTINGS, **{name: noise}))
        estimator.estimate(wall_view(np.eye(4)))
        motion = estimator.estimate(wall_view(transform(z=0.2, rotation=(0, 0.05, 0)), PERIOD)).motion
        traces.append(np.trace(motion.covariance[axes, axes]))
    assert traces[1] - traces[0] == pytest.approx(3 * variance, rel=0.05)


def test_disparity_bias_is_corrected_where_the_baseline_is_known():
    """0.7 px in a room: without a baseline the distance is wrong by a tenth."""
    depths, ground_truth = clip("room", 12)
    shift = np.float32(0.7 / (depths[0].camera.fx * 0.12))
    errors = []
    for baseline in (0.0, 0.12):
        estimator = OdometryEstimator(SETTINGS)
        for depth in depths:
            biased = dataclasses.replace(depth, depth=1 / (1 / depth.depth + shift), baseline=baseline)
            result = estimator.estimate(biased)
        T_first_last = inverse(ground_truth[0]) @ ground_truth[-1]
        errors.append(np.linalg.norm(result.pose.T[:3, 3] - T_first_last[:3, 3]))
    assert errors[0] > 0.01 > 0.004 > errors[1]


def shaken_pose(time: float) -> np.ndarray:
    """(4, 4) pose of a camera that rotates back and forth and hardly translates."""
    return transform(x=0.02 * time, rotation=(0.04 * np.sin(5 * time), 0.15 * np.sin(6 * time), 0.0))


def shaken_ground_truth(frames: int) -> np.ndarray:
    return np.array([shaken_pose(index / 15) for index in range(frames)])


@functools.cache
def shaken_clip(readout_time: float) -> list[Depth]:
    """24 frames at 15 Hz of a rolling shutter with `readout_time` s."""
    rows = (np.arange(240) + 0.5) / 240 - 0.5
    times = np.arange(24) / 15
    return [
        wall_view(np.array([shaken_pose(t + readout_time * row) for row in rows]), round(t * 1e9))
        for t in times
    ]


@pytest.mark.parametrize("readout_time", [0.02, 0.0, -0.02])
def test_readout_time_is_estimated_online(readout_time):
    """A rolling shutter makes a rotation resemble a sideways translation unless the readout time is estimated."""
    depths, ground_truth = shaken_clip(readout_time), shaken_ground_truth(24)
    ate = {}
    for std in (0.0, 0.02):
        estimator = OdometryEstimator(dataclasses.replace(SETTINGS, readout_time_std=std))
        results = [estimator.estimate(depth) for depth in depths]
        ate[std] = trajectory_metrics(poses(results), ground_truth)["ate_rmse_m"]
    assert estimator.readout_time.mean == pytest.approx(readout_time, abs=0.004)
    assert estimator.readout_time.variance**0.5 < 0.004
    assert ate[0.02] < 0.006
    if readout_time:
        assert ate[0.0] > 2 * ate[0.02]


def test_a_given_readout_time_is_used_from_the_first_frame_and_kept():
    """Also where it displaces patches farther than they are searched for."""
    settings = dataclasses.replace(SETTINGS, readout_time=0.06, readout_time_std=0.0)
    estimator = OdometryEstimator(settings)
    results = [estimator.estimate(depth) for depth in shaken_clip(0.06)[:8]]
    assert estimator.readout_time == Gaussian(0.06)
    assert trajectory_metrics(poses(results), shaken_ground_truth(8))["ate_rmse_m"] < 0.006
    assert min(result.inlier_ratio for result in results[1:]) > 0.9


def test_covariance_reflects_distortions_that_patches_share():
    """Parts of the image are displaced by about a pixel, at random in every frame."""
    depths, _ = clip("room", 4)
    random, traces = np.random.default_rng(0), []
    for std in (0.0, 1.0):
        estimator = OdometryEstimator(SETTINGS)
        for depth in depths:
            height, width = depth.depth.shape
            shift = cv2.resize(random.normal(0, std, (4, 4, 2)).astype(np.float32), (width, height))
            at = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32) + shift
            image = cv2.remap(depth.image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            result = estimator.estimate(dataclasses.replace(depth, image=image))
        traces.append(np.trace(result.motion.covariance[3:, 3:]))
    assert traces[1] > 10 * traces[0]


@pytest.mark.parametrize(
    ("name", "frames", "max_ate"), [("hololens_office", 24, 0.03), ("tum_fr1_rpy", 24, 0.04)]
)
def test_every_frame_of_a_recorded_clip_is_tracked(data_root, name, frames, max_ate):
    """Hand-held RGB-D cameras: fast rotations and motion blur."""
    folder, estimator = open_recording(data_root / name), OdometryEstimator()
    results, ground_truth = [], []
    for index in range(frames):
        sample = folder[index]
        frame = sample.left
        depth = Depth(frame.stamp, frame.frame_id, sample.depth, frame.camera, frame.image)
        results.append(estimator.estimate(depth))
        ground_truth.append(sample.T_world_camera)
    assert states(results) == ["starting"] + ["tracking"] * (frames - 1)
    assert trajectory_metrics(poses(results), np.array(ground_truth))["ate_rmse_m"] < max_ate
