"""Metric scale from the ground of a rendered street, from wheel odometry and from an IMU."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth, Motion
from depth_ros.estimators.odometry.scale_sources import UP, ground_scale, inertial_scale, wheel_scale
from depth_ros.geometry import inverse, rays
from depth_ros.world import World, WorldSettings


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ground_scale_of_a_street_with_cars(seed):
    """Depth in units of 0.3 m; the scale follows from the camera height."""
    world = World(WorldSettings(kind="street", seed=seed, frames=2, width=320, height=96))
    view = world.view(0)
    height = float(view.T_world_camera[2, 3])  # the street is at z = 0
    noise = np.random.default_rng(seed).normal(1, 0.01, view.depth.shape).astype(np.float32)
    depth = Depth(0, "camera", view.depth / np.float32(0.3) * noise, world.cameras["left"], np.zeros(1))
    up = inverse(view.T_world_camera)[:3, 2]
    scale = ground_scale(depth, height, up)
    assert scale.source == "ground"
    assert scale.value == pytest.approx(0.3, abs=2.5 * scale.std)
    assert scale.std < 0.03 * scale.value


def test_ground_scale_needs_visible_ground_below_the_camera():
    camera = Camera.pinhole(160, 120, 130, 130, 79.5, 59.5)
    wall = Depth(0, "camera", np.full((120, 160), 3.0, np.float32), camera, np.zeros(1))
    assert ground_scale(wall, 1.5) is None
    invalid = dataclasses.replace(wall, depth=np.full((120, 160), np.nan, np.float32))
    assert ground_scale(invalid, 1.5) is None
    downward = rays(camera)[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(downward > 0.1, 2 / downward, np.nan).astype(np.float32)
    assert ground_scale(dataclasses.replace(wall, depth=floor), 1.5, UP).value == pytest.approx(0.75)
    assert ground_scale(dataclasses.replace(wall, depth=floor), 1.5, -UP) is None


def test_wheel_scale_is_the_ratio_of_the_translations_of_the_camera():
    """The base turns and drives; the camera is 0.5 m ahead of its centre of rotation and looks forward."""
    T_base_camera = np.array([[0, 0, 1, 0.5], [-1, 0, 0, 0], [0, -1, 0, 0.3], [0, 0, 0, 1.0]])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.array([0, 0, 0.3]))[0], (0.4, 0.06, 0)
    T_metres = inverse(T_base_camera) @ T @ T_base_camera
    T_units = T_metres.copy()
    T_units[:3, 3] /= 2.5
    wheels = Motion(0, 1, T_metres)
    scale = wheel_scale(Motion(0, 1, T_units, np.eye(6) * 1e-6), wheels)
    assert scale.value == pytest.approx(2.5) and scale.std == pytest.approx(0.05, rel=0.1)
    assert scale.systematic_std == pytest.approx(0.05)
    distance = np.linalg.norm(T_metres[:3, 3])
    for uncertain in (
        wheel_scale(Motion(0, 1, T_units, np.eye(6) * 1e-3), wheels),
        wheel_scale(Motion(0, 1, T_units), Motion(0, 1, T_metres, np.eye(6) * 1e-3 * 2.5**2)),
    ):
        assert uncertain.std == pytest.approx(2.5 * np.hypot(0.02, 2.5 * np.sqrt(1e-3) / distance))
    assert wheel_scale(Motion(0, 1, np.eye(4)), Motion(0, 1, np.eye(4))) is None
    opposite = T_units.copy()
    opposite[:3, 3] *= -1
    assert wheel_scale(Motion(0, 1, opposite), wheels) is None


def imu_recording(
    constant_velocity: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Poses at 10 Hz, m, their stamps, times and accelerations of an IMU at 200 Hz, and T_camera_imu.

    The camera is shaken by hand for 2 s, or moves at constant velocity.
    """
    T_camera_imu = np.eye(4)
    T_camera_imu[:3, :3] = cv2.Rodrigues(np.array([0.3, -1.2, 0.5]))[0]
    T_camera_imu[:3, 3] = 0.05, -0.02, 0.03

    def pose(t: float) -> np.ndarray:
        T = np.eye(4)
        T[:3, 3] = 0.5 * t, 0, 0
        if not constant_velocity:
            rotation = np.array([0.3 * np.sin(2 * t), 0.2 * np.cos(3 * t), 0.1 * t])
            T[:3, :3] = cv2.Rodrigues(rotation)[0]
            T[:3, 3] += 0.2 * np.sin(4 * t), 0.15 * np.cos(5 * t), 0.1 * np.sin(6 * t)
        return T

    def position(t: float) -> np.ndarray:
        return (pose(t) @ T_camera_imu)[:3, 3]

    gravity, h = np.array([0, 9.81, 0]), 1e-4
    times = np.arange(0, 2.0001, 0.005)
    accelerations = []
    for t in times:
        acceleration = (position(t + h) - 2 * position(t) + position(t - h)) / h**2
        accelerations.append((pose(t) @ T_camera_imu)[:3, :3].T @ (acceleration - gravity))
    stamps = np.arange(0, 2.0001, 0.1)
    return np.array([pose(t) for t in stamps]), stamps, times, np.array(accelerations), T_camera_imu


def test_inertial_scale_of_a_shaken_camera():
    poses, stamps, times, accelerations, T_camera_imu = imu_recording()
    poses[:, :3, 3] /= 0.4
    noise = np.random.default_rng(0).normal(0, 0.02, accelerations.shape)
    scale = inertial_scale(poses, stamps, times, accelerations + noise, T_camera_imu)
    assert scale.value == pytest.approx(0.4, abs=2.5 * scale.std)
    assert scale.std < 0.1 * scale.value


def test_inertial_scale_is_rejected_where_gravity_is_wrong():
    poses, stamps, times, accelerations, T_camera_imu = imu_recording()
    assert inertial_scale(poses, stamps, times, accelerations, T_camera_imu) is not None
    assert inertial_scale(poses, stamps, times, accelerations * 1.2, T_camera_imu) is None


def test_inertial_scale_is_not_observable_at_constant_velocity():
    poses, stamps, times, accelerations, T_camera_imu = imu_recording(constant_velocity=True)
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(0, 0.02, accelerations.shape)
        assert inertial_scale(poses, stamps, times, accelerations + noise, T_camera_imu) is None
