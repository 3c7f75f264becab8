"""Scale: of the rendered street's ground, of wheels, of an IMU, and what is made of them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth, Motion, Odometry, Pose
from depth_ros.estimators.odometry.metric_trajectory import ScaledWay
from depth_ros.estimators.odometry.scale import (
    UP,
    Scale,
    ScaleEstimator,
    ScaleSettings,
    ground_scale,
    in_metres,
    inertial_scale,
    wheel_scale,
)
from depth_ros.geometry import exponential, inverse, rays
from depth_ros.world import World, WorldSettings


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ground_of_a_street(seed):
    """A camera whose depth counts in units of 0.3 m finds that out from how high it stands, cars or not."""
    world = World(WorldSettings(kind="street", seed=seed, frames=2, width=320, height=96))
    view = world.look(0)
    height = float(view.T_world_camera[2, 3])  # the street lies at z = 0
    noise = np.random.default_rng(seed).normal(1, 0.01, view.depth.shape).astype(np.float32)
    depth = Depth(0, "camera", view.depth / np.float32(0.3) * noise, world.cameras["left"], np.zeros(1))
    up = inverse(view.T_world_camera)[:3, 2]
    found = ground_scale(depth, height, up)
    assert found.source == "ground"
    assert found.value == pytest.approx(0.3, abs=2.5 * found.std)
    assert found.std < 0.03 * found.value


def test_no_ground():
    camera = Camera.pinhole(160, 120, 130, 130, 79.5, 59.5)
    wall = Depth(0, "camera", np.full((120, 160), 3.0, np.float32), camera, np.zeros(1))
    assert ground_scale(wall, 1.5) is None
    nothing = dataclasses.replace(wall, depth=np.full((120, 160), np.nan, np.float32))
    assert ground_scale(nothing, 1.5) is None
    below = rays(camera)[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(below > 0.1, 2 / below, np.nan).astype(np.float32)
    assert ground_scale(dataclasses.replace(wall, depth=floor), 1.5, UP).value == pytest.approx(0.75)
    assert ground_scale(dataclasses.replace(wall, depth=floor), 1.5, -UP) is None


def test_wheels():
    """The base turns and drives; the camera sits 0.5 m ahead of its centre and looks forward."""
    T_base_camera = np.array([[0, 0, 1, 0.5], [-1, 0, 0, 0], [0, -1, 0, 0.3], [0, 0, 0, 1.0]])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.array([0, 0, 0.3]))[0], (0.4, 0.06, 0)
    camera = inverse(T_base_camera) @ T @ T_base_camera
    seen = camera.copy()
    seen[:3, 3] /= 2.5
    rolled = Motion(0, 1, camera)
    found = wheel_scale(Motion(0, 1, seen, np.eye(6) * 1e-6), rolled)
    assert found.value == pytest.approx(2.5) and found.std == pytest.approx(0.05, rel=0.1)
    assert found.common == pytest.approx(0.05)
    way = np.linalg.norm(camera[:3, 3])
    for loose in (
        wheel_scale(Motion(0, 1, seen, np.eye(6) * 1e-3), rolled),
        wheel_scale(Motion(0, 1, seen), Motion(0, 1, camera, np.eye(6) * 1e-3 * 2.5**2)),
    ):
        assert loose.std == pytest.approx(2.5 * np.hypot(0.02, 2.5 * np.sqrt(1e-3) / way))
    assert wheel_scale(Motion(0, 1, np.eye(4)), Motion(0, 1, np.eye(4))) is None
    slipped = seen.copy()
    slipped[:3, 3] *= -1
    assert wheel_scale(Motion(0, 1, slipped), rolled) is None


def shaken(speed_only: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Poses at 10 Hz, m, and accelerations at 200 Hz of an IMU beside the camera, swung by hand for 2 s."""
    T_camera_imu = np.eye(4)
    T_camera_imu[:3, :3] = cv2.Rodrigues(np.array([0.3, -1.2, 0.5]))[0]
    T_camera_imu[:3, 3] = 0.05, -0.02, 0.03

    def pose(t: float) -> np.ndarray:
        T = np.eye(4)
        turn = np.zeros(3) if speed_only else np.array([0.3 * np.sin(2 * t), 0.2 * np.cos(3 * t), 0.1 * t])
        T[:3, :3] = cv2.Rodrigues(turn)[0]
        shake = 0 if speed_only else 1
        T[:3, 3] = (
            0.5 * t + shake * 0.2 * np.sin(4 * t),
            shake * 0.15 * np.cos(5 * t),
            shake * 0.1 * np.sin(6 * t),
        )
        return T

    def place(t: float) -> np.ndarray:
        return (pose(t) @ T_camera_imu)[:3, 3]

    gravity, h = np.array([0, 9.81, 0]), 1e-4
    times = np.arange(0, 2.0001, 0.005)
    accelerations = [
        (pose(t) @ T_camera_imu)[:3, :3].T @ ((place(t + h) - 2 * place(t) + place(t - h)) / h**2 - gravity)
        for t in times
    ]
    stamps = np.arange(0, 2.0001, 0.1)
    return np.array([pose(t) for t in stamps]), stamps, times, np.array(accelerations), T_camera_imu


def test_imu():
    poses, stamps, times, accelerations, T_camera_imu = shaken()
    poses[:, :3, 3] /= 0.4
    noise = np.random.default_rng(0).normal(0, 0.02, accelerations.shape)
    found = inertial_scale(poses, stamps, times, accelerations + noise, T_camera_imu)
    assert found.value == pytest.approx(0.4, abs=2.5 * found.std)
    assert found.std < 0.1 * found.value
    wrong = inertial_scale(poses, stamps, times, accelerations * 1.2, T_camera_imu)
    assert wrong is None  # gravity is not what it should be


def test_imu_at_constant_speed_says_nothing():
    poses, stamps, times, accelerations, T_camera_imu = shaken(speed_only=True)
    noise = np.random.default_rng(0).normal(0, 0.02, accelerations.shape)
    assert inertial_scale(poses, stamps, times, accelerations + noise, T_camera_imu) is None


def test_gathered():
    estimator = ScaleEstimator(ScaleSettings(scale_drift=0.0))
    assert estimator.scale is None and estimator.add(None) is None
    random = np.random.default_rng(0)
    for _ in range(100):
        estimator.add(Scale(2 * np.exp(random.normal(0, 0.1)), 0.2, "ground"))
    assert estimator.scale.value == pytest.approx(2, rel=0.03)
    assert estimator.scale.std == pytest.approx(0.02, rel=0.1)
    before = estimator.scale.value
    assert estimator.add(Scale(4, 0.2, "ground")).value == before  # once is an accident
    for _ in range(6):
        estimator.add(Scale(4, 0.2, "wheels"))
    assert estimator.scale.value == pytest.approx(4, rel=0.01) and estimator.scale.source == "wheels"
    estimator.reset()
    assert estimator.scale is None


def test_what_all_measurements_of_a_source_share_is_not_averaged_away():
    """The height of the camera is wrong by as much in every image."""
    estimator = ScaleEstimator(ScaleSettings(scale_drift=0.0))
    for _ in range(400):
        estimator.add(Scale(2.0, np.hypot(0.2, 0.06), "ground", 0.06))
    assert estimator.scale.std == pytest.approx(np.hypot(0.2 / 20, 0.06), rel=0.01)


def test_a_way_in_metres():
    """Steps of one unit; the scale is 0.5 m, then 0.6: what lies behind stays, and the error of the scale is common."""

    def found(place: float, state: str = "tracking") -> Odometry:
        T = exponential(np.array([place, 0, 0, 0, 0, 0.0]))
        step = Motion(0, 1, exponential(np.array([1.0, 0, 0, 0, 0, 0])), 1e-4 * np.eye(6))
        covariance = 1e-4 * place * np.eye(6)
        return Odometry(0, state, Pose(0, T, covariance), step if state == "tracking" else None)

    way, half = ScaledWay(), Scale(0.5, 0.05, "ground")
    way.metres(found(0, "starting"), half)
    odometry = way.metres(found(1), half)
    assert odometry.pose.T[0, 3] == pytest.approx(0.5) and odometry.motion.T_old_new[0, 3] == pytest.approx(
        0.5
    )
    assert odometry.motion.covariance[0, 0] == pytest.approx(1e-4 * 0.25 + 0.05**2)
    assert odometry.motion.covariance[1, 1] == pytest.approx(1e-4 * 0.25)
    assert odometry.motion.covariance[5, 5] == pytest.approx(1e-4)
    assert way.metres(found(9, "lost"), half).pose.T[0, 3] == pytest.approx(0.5)
    odometry = way.metres(found(2), Scale(0.6, 0.06, "ground"))
    assert odometry.pose.T[0, 3] == pytest.approx(1.1)
    assert odometry.pose.covariance[0, 0] == pytest.approx(2e-4 * 0.36 + (0.1 * 1.1) ** 2)
    way.begin()
    assert pytest.approx(np.eye(4)) == way.metres(found(0, "starting"), half).pose.T


def test_depth_in_metres():
    camera, values = Camera.pinhole(2, 1, 1, 1, 0, 0), np.array([[2.0, np.nan]], np.float32)
    found = in_metres(Depth(0, "camera", values, camera, np.zeros(1), values / 10), Scale(0.5, 0.1, "ground"))
    assert found.depth[0, 0] == 1 and np.isnan(found.depth[0, 1]) and found.std[0, 0] == pytest.approx(0.1)
