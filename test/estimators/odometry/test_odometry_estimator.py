"""Odometry on rendered motion, whose poses and depths are exactly known."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
import pytest

from depth_ros.datasets import open_folder
from depth_ros.datatypes import Camera, Depth
from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.estimators.odometry.pose_solver import Errors, Known, Points, exp, older_newer, solve
from depth_ros.estimators.odometry.settings import OdometrySettings, ideal
from depth_ros.evaluation.metrics.trajectory import figures, nees, steps
from depth_ros.geometry import inverse
from depth_ros.world import World, WorldSettings

SIZE = {"street": (384, 128), "room": (240, 180)}
IDEAL = ideal(OdometrySettings())


@functools.cache
def clip(kind: str, frames: int = 10, seed: int = 2) -> tuple[list[Depth], np.ndarray]:
    """Depth images of a rendered clip, with the true poses (N, 4, 4)."""
    width, height = SIZE[kind]
    world = World(WorldSettings(kind=kind, seed=seed, frames=frames, width=width, height=height))
    depths = []
    for index in range(frames):
        image, depth = world.render(index)
        stamp = round(index * 1e9 / world.rate)
        depths.append(Depth(stamp, "camera", depth, world.cameras["left"], image))
    return depths, np.array([world.pose(index) for index in range(frames)])


def seen(T: np.ndarray, stamp: int = 0, contrast: float = 1.0, seed: int = 0) -> Depth:
    """A wall with a random pattern 4 m ahead of the origin, seen from T (4, 4), or row by row from T (240, 4, 4)."""
    camera = Camera.pinhole(320, 240, 260, 260, 159.5, 119.5)
    pattern = np.random.default_rng(seed).uniform(0, 255, (90, 120)).astype(np.float32)
    pattern = 128 + contrast * (cv2.resize(pattern, (960, 720), interpolation=cv2.INTER_CUBIC) - 128)
    u, v = np.meshgrid(np.arange(320.0), np.arange(240.0))
    T = np.broadcast_to(T, (240, 4, 4))
    rays = np.stack([(u - 159.5) / 260, (v - 119.5) / 260, np.ones_like(u)], -1)
    rays = rays @ T[:, :3, :3].transpose(0, 2, 1)
    depth = (4 - T[:, 2, 3, None]) / rays[..., 2]
    at = T[:, None, :3, 3] + rays * depth[..., None]
    maps = [(480 + 80 * at[..., 0]).astype(np.float32), (360 + 80 * at[..., 1]).astype(np.float32)]
    grey = cv2.remap(pattern, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    grey += np.random.default_rng(stamp % 1000).normal(0, 1, grey.shape).astype(np.float32)
    image = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2)
    return Depth(stamp, "camera", depth.astype(np.float32), camera, image)


def moved(x=0.0, y=0.0, z=0.0, turn=(0.0, 0.0, 0.0)) -> np.ndarray:
    return exp(np.array([x, y, z, *turn]))


@pytest.mark.parametrize("kind", ["street", "room"])
def test_rendered_way_is_followed(kind):
    """Within 1 % of the way, though cars and boxes move, and with covariances that hold what they say."""
    depths, truth = clip(kind)
    estimator = OdometryEstimator(IDEAL)
    results = [estimator.estimate(depth) for depth in depths]
    assert [result.state for result in results] == ["starting"] + ["tracking"] * 9
    found = figures(
        np.array([r.pose.T for r in results]), truth, np.array([r.motion.covariance for r in results[1:]])
    )
    way = np.linalg.norm(steps(truth)[:, :3, 3], axis=1).sum()
    assert found["ate_rmse_m"] < 0.01 * way
    assert found["rpe_rot_deg"] < 0.1
    assert 0.5 < found["nees"] < 20
    covariances = np.array([np.trace(r.pose.covariance) for r in results])
    assert covariances[0] == 0 and covariances[-1] > covariances[1] > 0
    assert results[5].motion.stamp_old == depths[4].stamp and results[5].milliseconds["align"] > 0
    strung = np.linalg.multi_dot([r.motion.T_old_new for r in results[1:]])
    assert np.allclose(strung, results[-1].pose.T, atol=1e-9)


@pytest.mark.parametrize(
    ("T", "axis", "part"),
    [(moved(z=0.2), 2, 3), (moved(x=0.2), 0, 3), (moved(turn=(0, 0.05, 0)), (0, 2), 2)],
    ids=["forward is +z", "to the right is +x", "a right turn is +y"],
)
def test_directions(T, axis, part):
    estimator = OdometryEstimator(IDEAL)
    estimator.estimate(seen(np.eye(4)))
    found = estimator.estimate(seen(T, 100_000_000)).pose.T
    index = (axis, part) if isinstance(axis, int) else (*axis,)
    assert found[index] == pytest.approx(T[index], rel=0.03)
    assert np.allclose(found, T, atol=0.004)


def test_lost_and_found_again():
    """A covered lens is a loss, of which the pose policy speaks; the frame after it goes on from before the loss."""
    frames = [seen(moved(z=0.1 * i), 100_000_000 * i) for i in range(5)]
    frames[3] = dataclasses.replace(frames[3], image=np.zeros_like(frames[3].image))
    at = {}
    for policy in ("stop", "extrapolate", "null"):
        estimator = OdometryEstimator(dataclasses.replace(IDEAL, when_lost=policy))
        results = [estimator.estimate(each) for each in frames]
        states = [result.state for result in results]
        assert states == ["starting", "tracking", "tracking", "lost", "tracking"]
        assert results[3].motion is None
        assert np.trace(results[3].pose.covariance) > 10 * np.trace(results[2].pose.covariance)
        assert results[4].motion.stamp_old == frames[2].stamp
        assert results[4].motion.T_old_new[2, 3] == pytest.approx(0.2, abs=0.004)
        assert results[4].pose.T[2, 3] == pytest.approx(0.4, abs=0.008)
        assert np.trace(results[4].pose.covariance) < 0.01 * np.trace(results[3].pose.covariance)
        at[policy] = results[3].pose.T[2, 3]
    assert at["stop"] == pytest.approx(0.2, abs=0.004)
    assert at["extrapolate"] == pytest.approx(0.3, abs=0.004)
    assert np.isnan(at["null"])


def test_another_place_after_a_loss():
    """Where nothing of before is seen again, the way goes on from the frames since, less what is missing."""
    frames = [seen(moved(z=0.1 * i), 100_000_000 * i) for i in range(3)]
    elsewhere = [seen(moved(z=0.1 * i, turn=(0, 0, 3.0)), 100_000_000 * i, seed=9) for i in range(3, 6)]
    estimator = OdometryEstimator(IDEAL)
    results = [estimator.estimate(each) for each in [*frames, *elsewhere]]
    states = [result.state for result in results]
    assert states == ["starting", "tracking", "tracking", "lost", "tracking", "tracking"]
    assert results[4].motion.stamp_old == elsewhere[0].stamp
    assert results[5].pose.T[2, 3] == pytest.approx(0.4, abs=0.008)


def test_extrapolation_is_bounded():
    frames = [seen(moved(z=0.1 * i), 100_000_000 * i) for i in range(3)]
    settings = dataclasses.replace(IDEAL, when_lost="extrapolate", extrapolate_for=0.15)
    estimator = OdometryEstimator(settings)
    places = []
    for depth in frames:
        places.append(estimator.estimate(depth).pose.T[2, 3])
    for stamp in range(300_000_000, 800_000_000, 100_000_000):
        black = dataclasses.replace(frames[0], stamp=stamp, image=np.zeros_like(frames[0].image))
        places.append(estimator.estimate(black).pose.T[2, 3])
    assert places[3] == pytest.approx(0.3, abs=0.005)
    assert places[4:] == pytest.approx([0.35] * 4, abs=0.007)


def test_reset_and_first_frames():
    estimator = OdometryEstimator(IDEAL)
    T = moved(1, 2, 3, (0, 0.5, 0))
    estimator.reset(T)
    assert np.allclose(estimator.estimate(seen(np.eye(4))).pose.T, T)
    result = estimator.estimate(seen(moved(z=0.1), 100_000_000))
    assert np.allclose(result.pose.T, T @ moved(z=0.1), atol=0.004)
    assert estimator.estimate(seen(np.eye(4), 50_000_000)).state == "starting"  # time jumped back
    assert np.allclose(estimator.estimate(seen(np.eye(4), 60_000_000)).pose.T, result.pose.T, atol=0.004)
    estimator.reset()
    assert np.allclose(estimator.estimate(seen(np.eye(4), 70_000_000)).pose.T, np.eye(4))


def test_rotation_of_an_imu_is_a_start():
    """Half a radian about the optical axis is too much for patches alone; descriptors do not know this pattern."""
    T = moved(turn=(0, 0, 0.5))
    with_imu = OdometryEstimator(IDEAL)
    with_imu.estimate(seen(np.eye(4)))
    result = with_imu.estimate(seen(T, 100_000_000), rotation=T[:3, :3])
    assert result.state == "tracking" and np.allclose(result.pose.T, T, atol=0.004)


def test_what_moves_is_left_out():
    """A patch of the wall that slides is outvoted; with a mask even where it covers more than half of the image."""
    first, still = seen(np.eye(4)), seen(np.eye(4), 100_000_000)
    slid = seen(moved(x=-0.1), 100_000_000)
    for right, mask in ((110, False), (250, True)):
        moving = np.zeros((240, 320), bool)
        moving[:, :right] = True
        image = np.where(moving[..., None], slid.image, still.image)
        estimator = OdometryEstimator(IDEAL)
        estimator.estimate(first)
        depth = dataclasses.replace(still, image=image)
        result = estimator.estimate(depth, moving=moving if mask else None)
        assert np.abs(result.pose.T[0, 3]) < 0.01, right


def test_covariance_grows_where_texture_goes():
    sizes, settings = [], dataclasses.replace(IDEAL, likeness=0.3)
    for contrast in (1.0, 0.3, 0.1):
        estimator = OdometryEstimator(settings)
        estimator.estimate(seen(np.eye(4), 1, contrast))
        result = estimator.estimate(seen(moved(z=0.05), 100_000_002, contrast))
        assert result.state == "tracking"
        sizes.append(np.trace(result.motion.covariance[3:, 3:]))
    assert sizes[0] < sizes[1] < sizes[2]
    estimator.reset()
    estimator.estimate(seen(np.eye(4), 1, 0.0))
    assert estimator.estimate(seen(moved(z=0.05), 100_000_002, 0.0)).state == "lost"


def scattered(count: int, T: np.ndarray, shift: float, noise: float, seed: int) -> tuple[Points, np.ndarray]:
    """Points of a KITTI-like view before and after T (4, 4), old to new, whose depths say 1/Z - shift."""
    random = np.random.default_rng(seed)
    K = np.array([[700.0, 0, 600], [0, 700, 180], [0, 0, 1]])
    rays = np.column_stack(
        [random.uniform(-0.8, 0.8, count), random.uniform(-0.25, 0.25, count), np.ones(count)]
    )
    rho = random.uniform(0.02, 0.2, count)
    ahead = rays @ T[:3, :3].T + rho[:, None] * T[:3, 3]
    pixels = (ahead @ K.T)[:, :2] / ahead[:, 2:] + random.normal(0, noise, (count, 2))
    covariance = np.tile(noise**2 * np.eye(2), (count, 1, 1))
    variance = np.full(count, 0.0005**2)
    old = rho + random.normal(0, 0.0005, count) - shift
    new = rho / ahead[:, 2] + random.normal(0, 0.0005, count) - shift
    none = np.zeros((count, 3))
    return Points(rays, none, old, variance, pixels, covariance, new, variance, none, none[:, 0]), K


def test_bias_of_the_depth_is_found():
    """Half a pixel of disparity at KITTI's baseline makes the way 2 % wrong, and is found from one motion."""
    T = moved(z=-1.2, turn=(0.001, 0.01, 0))
    shift = 0.5 / 380
    points, K = scattered(500, T, shift, 0.2, 0)
    blind = solve(points, K, np.eye(4))
    assert abs(blind.T[2, 3] + 1.2) > 0.01
    found = solve(points, K, np.eye(4), errors=Errors(Known(0.0, 0.003**2)))
    assert found.bias.mean == pytest.approx(shift, abs=3 * found.bias.variance**0.5)
    assert found.bias.variance**0.5 < shift / 4
    assert abs(found.T[2, 3] + 1.2) < 0.006


def test_motion_follows_the_bias():
    """As much as is said; and while the bias is unknown, so is the motion."""
    points, K = scattered(500, moved(z=-1.2), 0.0, 0.1, 0)
    before, after = (solve(points, K, np.eye(4), errors=Errors(Known(b)), iterations=30) for b in (0.0, 1e-4))
    changed = (after.T @ inverse(before.T))[:3, 3]
    assert changed[2] == pytest.approx(1e-4 * before.follows[2, 0], rel=0.1)
    assert abs(changed[2]) > 0.0005
    depths, _ = clip("street", 8)
    said = []
    for bias in (0.0, 3.0):
        estimator = OdometryEstimator(dataclasses.replace(IDEAL, disparity_bias=bias))
        results = [estimator.estimate(dataclasses.replace(depth, baseline=0.54)) for depth in depths]
        said.append([results[1].motion.covariance[2, 2], results[1].pose.covariance[2, 2]])
    assert np.all(np.array(said[1]) > 4 * np.array(said[0]))
    second, fifth = results[2], results[5]  # what is common to both ends of a motion is no error of it
    assert fifth.motion.covariance[2, 2] < 2 * second.motion.covariance[2, 2]
    assert fifth.pose.covariance[2, 2] > 3 * second.pose.covariance[2, 2]


def test_what_a_camera_adds():
    """As settings say, a share of the way among it."""
    traces = []
    for share in (0.0, 0.1):
        estimator = OdometryEstimator(dataclasses.replace(IDEAL, place_share=share))
        results = [estimator.estimate(seen(moved(z=0.2 * i), 100_000_000 * i)) for i in range(2)]
        traces.append(np.trace(results[1].motion.covariance[:3, :3]))
    assert traces[1] - traces[0] == pytest.approx(3 * 0.02**2, rel=0.05)


def test_bias_of_a_pair_is_corrected_on_the_way():
    """0.7 px in a room: without a baseline the way is a tenth too short or long, with one it is right."""
    depths, poses = clip("room", 12)
    shift = np.float32(0.7 / (depths[0].camera.fx * 0.12))
    errors = []
    for baseline in (0.0, 0.12):
        estimator = OdometryEstimator(IDEAL)
        for depth in depths:
            wrong = dataclasses.replace(depth, depth=1 / (1 / depth.depth + shift), baseline=baseline)
            found = estimator.estimate(wrong)
        errors.append(np.linalg.norm(found.pose.T[:3, 3] - (inverse(poses[0]) @ poses[-1])[:3, 3]))
    assert errors[0] > 0.01 > 0.004 > errors[1]


def swung(time: float) -> np.ndarray:
    """Where a camera is that is swung about and hardly moved."""
    return moved(x=0.02 * time, turn=(0.04 * np.sin(5 * time), 0.15 * np.sin(6 * time), 0.0))


@functools.cache
def swung_clip(readout: float) -> list[Depth]:
    """24 frames at 15 Hz, the rows of each read one after the other in `readout` s."""
    rows = (np.arange(240) + 0.5) / 240 - 0.5
    times = np.arange(24) / 15
    return [seen(np.array([swung(t + readout * row) for row in rows]), round(t * 1e9)) for t in times]


@pytest.mark.parametrize("readout", [0.02, 0.0, -0.02])
def test_rolling_shutter_is_found_on_the_way(readout):
    """Rows read one after the other make a turn look like a step to the side, unless the readout is known; it is
    found, and none is found where all rows are read at once."""
    depths, truth = swung_clip(readout), np.array([swung(index / 15) for index in range(24)])
    way = {}
    for std in (0.0, 0.02):
        estimator = OdometryEstimator(dataclasses.replace(IDEAL, readout_std=std))
        results = [estimator.estimate(depth) for depth in depths]
        way[std] = figures(np.array([result.pose.T for result in results]), truth)
    assert estimator.readout.mean == pytest.approx(readout, abs=0.004)
    assert estimator.readout.variance**0.5 < 0.004
    assert estimator._errors.bias == Known()  # without a baseline there is none to find
    assert way[0.02]["ate_rmse_m"] < 0.006
    if readout:
        assert way[0.0]["ate_rmse_m"] > 2 * way[0.02]["ate_rmse_m"]


def test_readout_that_is_known():
    """Given, it serves from the first frames on, also where patches are further off than they are sought, and stays
    what it is."""
    estimator = OdometryEstimator(dataclasses.replace(IDEAL, readout=0.06, readout_std=0.0))
    results = [estimator.estimate(depth) for depth in swung_clip(0.06)[:8]]
    truth = np.array([swung(index / 15) for index in range(8)])
    assert estimator.readout == Known(0.06)
    assert figures(np.array([result.pose.T for result in results]), truth)["ate_rmse_m"] < 0.006
    assert min(result.inliers for result in results[1:]) > 0.9


def test_points_that_err_together():
    """A shift of all points of a part of the image is not averaged away by their number, and the covariance knows."""
    T, errors, said = moved(0.1, 0.02, -1.0, (0.01, -0.03, 0.02)), [], {False: [], True: []}
    for seed in range(40):
        points, K = scattered(400, T, 0.0, 0.05, seed)
        cells = np.floor(points.rays[:, 0] * 5 + 4).astype(int)
        points.pixels[:] += np.random.default_rng(seed).normal(0, 0.5, (8, 2))[cells]
        points.covariance[:] = 0.5**2 * np.eye(2)
        for together in said:
            found = solve(points, K, np.eye(4), cells=cells if together else None)
            said[together].append(found.correlation * np.trace(found.covariance[3:, 3:]))
        errors.append(np.sum(cv2.Rodrigues(found.T[:3, :3] @ T[:3, :3].T)[0] ** 2))
    assert np.mean(said[False]) < 0.1 * np.mean(errors)
    assert 0.3 * np.mean(errors) < np.mean(said[True]) < 3 * np.mean(errors)


def test_covariance_of_a_crooked_lens():
    """Parts of the image shifted by a pixel each, anew in every frame: the covariance of the motion says it."""
    depths, _ = clip("room", 4)
    random, said = np.random.default_rng(0), []
    for crooked in (0.0, 1.0):
        estimator = OdometryEstimator(IDEAL)
        for depth in depths:
            height, width = depth.depth.shape
            shift = cv2.resize(random.normal(0, crooked, (4, 4, 2)).astype(np.float32), (width, height))
            at = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32) + shift
            image = cv2.remap(depth.image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            found = estimator.estimate(dataclasses.replace(depth, image=image))
        said.append(np.trace(found.motion.covariance[3:, 3:]))
    assert said[1] > 10 * said[0]


def test_what_a_frame_tells_is_not_overrated():
    """A measurement that is surer than it can be moves the mean no more than it should, and leaves some doubt."""
    before, least = Known(0.0, 0.02**2), 0.01
    after = before.told(Known(0.015, 0.001**2), least)
    assert 0.01 < after.mean < 0.015
    assert 0.8 * least < after.variance**0.5 < least
    assert before.told(Known(0.0, 0.02**2), least) == before
    assert Known(0.01).told(Known(0.02, 1e-8), least) == Known(0.01)


def test_solver_is_consistent():
    """NEES over many noisy copies of one motion is what it should be, though some of the points are wrong."""
    T = moved(0.1, 0.02, -1.0, (0.01, -0.03, 0.02))
    motions, covariances = [], []
    for seed in range(60):
        points, K = scattered(300, T, 0.0, 0.3, seed)
        points.pixels[:6] += 40
        found, covariance, _ = older_newer(solve(points, K, np.eye(4)))
        motions.append(found)
        covariances.append(covariance)
    value = nees(np.array(motions), np.tile(inverse(T), (60, 1, 1)), np.array(covariances)).mean()
    assert (
        5 < value < 10
    )  # the weights of Student's t make it more than 6; `CORRELATED` of the estimator covers it


@pytest.mark.parametrize(
    ("name", "frames", "drift"), [("hololens_office", 24, 0.03), ("tum_fr1_rpy", 24, 0.04)]
)
def test_recorded(data_root, name, frames, drift):
    """RGB-D by hand, fast turns, blur: every frame is tracked."""
    folder, estimator = open_folder(data_root / name), OdometryEstimator()
    poses, truth = [], []
    for index in range(frames):
        sample = folder[index]
        frame = sample.left
        result = estimator.estimate(
            Depth(frame.stamp, frame.frame_id, sample.depth, frame.camera, frame.image)
        )
        assert result.state == ("tracking" if index else "starting"), index
        poses.append(result.pose.T)
        truth.append(sample.T_world_camera)
    assert figures(np.array(poses), np.array(truth))["ate_rmse_m"] < drift
