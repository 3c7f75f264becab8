"""Pose integration of a base frame with a camera mounted elsewhere on it, against exact numbers."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.datatypes import Motion, Odometry, Pose
from depth_ros.estimators.odometry.base_frame import (
    ACCELERATION_STD,
    PLANAR_VARIANCE,
    UNKNOWN_VARIANCE,
    BaseFramePose,
    lever_arm_jacobian,
    project_to_plane,
)
from depth_ros.geometry import T_BODY_OPTICAL, inverse, se3_exp, se3_log

PERIOD = 100_000_000
"""ns between two frames."""
ARC = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.02])
"""Twist per frame, m and rad: forward, turning left."""
T_BASE_OPTICAL = se3_exp(np.array([0.4, -0.2, 1.0, 0.0, 0.1, -0.5])) @ T_BODY_OPTICAL
"""A camera in front of the base, to the right and above, that looks down and to the right."""


def camera_odometry(
    base_poses: list[np.ndarray], i: int, state: str = "tracking", covariance: np.ndarray | None = None
) -> Odometry:
    """Exact odometry of the camera at base_poses[i]; its origin is the camera at base_poses[0]."""
    covariance = np.zeros((6, 6)) if covariance is None else covariance
    T_first, T_old, T = (
        inverse(T_BASE_OPTICAL) @ base_poses[j] @ T_BASE_OPTICAL for j in (0, max(i - 1, 0), i)
    )
    stamp = PERIOD * (i + 1)
    motion = Motion(stamp - PERIOD, stamp, inverse(T_old) @ T, covariance) if state == "tracking" else None
    return Odometry(stamp, state, Pose(stamp, inverse(T_first) @ T, covariance), motion)


def base_trajectory(count: int, twist: np.ndarray = ARC) -> list[np.ndarray]:
    return [se3_exp(i * twist) for i in range(count)]


def state_of(i: int) -> str:
    return "tracking" if i else "starting"


def test_forward_is_x_and_a_left_turn_is_positive_yaw_for_any_mounting_of_the_camera():
    pose, poses = BaseFramePose(), base_trajectory(30)
    first = pose.update(camera_odometry(poses, 0, "starting"), T_BASE_OPTICAL)
    assert pytest.approx(np.eye(4)) == first.T
    assert (first.covariance == UNKNOWN_VARIANCE * np.eye(6)).all()
    for i in range(1, 30):
        state = pose.update(camera_odometry(poses, i), T_BASE_OPTICAL)
        assert pytest.approx(poses[i], abs=1e-9) == state.T
        assert state.twist == pytest.approx(ARC / 0.1, abs=1e-9)
    assert state.T[0, 3] > 2.5 and state.T[1, 3] > 0.5 and state.T[1, 0] > 0


def test_identity_mounting_reproduces_the_trajectory_of_the_camera():
    pose, poses = BaseFramePose(), base_trajectory(10)
    for i in range(10):
        odometry = camera_odometry(poses, i, state_of(i))
        state = pose.update(odometry, np.eye(4))
        assert pytest.approx(odometry.pose.T, abs=1e-9) == state.T


def test_base_covariance_matches_sampled_errors_of_the_camera():
    """4000 camera poses with errors of the given covariance: the sample covariance of the base poses is as computed."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(6, 6)) * np.array([0.02, 0.03, 0.01, 0.01, 0.02, 0.015])[:, None]
    covariance = A @ A.T / 6
    poses = base_trajectory(11)
    T_camera = camera_odometry(poses, 10).pose.T
    pose = BaseFramePose()
    pose.update(camera_odometry(poses, 0, "starting"), T_BASE_OPTICAL)
    computed = pose.update(camera_odometry(poses, 10, covariance=covariance), T_BASE_OPTICAL).covariance
    errors = []
    for e in rng.multivariate_normal(np.zeros(6), covariance, 4000):
        T = np.eye(4)
        T[:3, 3] = T_camera[:3, 3] + e[:3]
        T[:3, :3] = se3_exp(np.r_[np.zeros(3), e[3:]])[:3, :3] @ T_camera[:3, :3]
        base = T_BASE_OPTICAL @ T @ inverse(T_BASE_OPTICAL)
        rotation_error = se3_log(base @ inverse(poses[10]))[3:]
        errors.append(np.r_[base[:3, 3] - poses[10][:3, 3], rotation_error])
    sampled = np.cov(np.array(errors).T)
    assert computed == pytest.approx(sampled, abs=0.08 * np.abs(sampled).max())
    assert not np.allclose(computed[:3, :3], covariance[:3, :3], rtol=0.3)  # the lever arm matters


def test_restart_of_the_estimator_does_not_move_the_base():
    pose, poses = BaseFramePose(), base_trajectory(10)
    for i in range(6):
        pose.update(camera_odometry(poses, i, state_of(i)), T_BASE_OPTICAL)
    pose.restart()
    state = pose.update(camera_odometry(poses[5:], 0, "starting"), T_BASE_OPTICAL)
    assert pytest.approx(poses[5], abs=1e-9) == state.T
    relative = [inverse(poses[5]) @ T for T in poses[5:]]
    assert pytest.approx(poses[8], abs=1e-9) == pose.update(camera_odometry(relative, 3), T_BASE_OPTICAL).T


def test_rewind_returns_to_the_last_start_and_reset_to_the_first_one():
    initial = se3_exp(np.array([1.0, 2.0, 0, 0, 0, 0.3]))
    pose, poses = BaseFramePose(initial), base_trajectory(4)
    for after in (pose.rewind, pose.restart, pose.rewind):
        for i in range(4):
            state = pose.update(camera_odometry(poses, i, state_of(i)), T_BASE_OPTICAL)
        after()
    assert pytest.approx(initial @ poses[3] @ poses[3], abs=1e-9) == state.T
    restarted = pose.update(camera_odometry(poses, 0, "starting"), T_BASE_OPTICAL)
    assert pytest.approx(initial @ poses[3], abs=1e-9) == restarted.T
    pose.reset()
    first = pose.update(camera_odometry(poses, 0, "starting"), T_BASE_OPTICAL)
    assert pytest.approx(initial, abs=1e-9) == first.T


def test_set_pose_propagates_its_covariance():
    """Rotated by 90 degrees and uncertain in yaw: after 3 m along y the yaw error has a lever arm of 3 m in x."""
    pose, straight = BaseFramePose(), base_trajectory(31, np.array([0.1, 0, 0, 0, 0, 0]))
    T = se3_exp(np.array([0, 0, 0, 0, 0, np.pi / 2]))
    T[:3, 3] = 5, 6, 0
    pose.set_pose(T, np.diag([0.01, 0.01, 0, 0, 0, 0.04]))
    pose.update(camera_odometry(straight, 0, "starting"), T_BASE_OPTICAL)
    state = pose.update(camera_odometry(straight, 30), T_BASE_OPTICAL)
    assert state.T[:3, 3] == pytest.approx([5, 9, 0], abs=1e-9)
    assert np.diag(state.covariance) == pytest.approx([0.01 + 9 * 0.04, 0.01, 0, 0, 0, 0.04], abs=1e-9)


def test_velocity_is_extrapolated_for_a_limited_time_while_lost():
    pose, poses = BaseFramePose(max_extrapolation=0.25), base_trajectory(12)
    for i in range(6):
        tracked = pose.update(camera_odometry(poses, i, state_of(i)), T_BASE_OPTICAL)
    for i in (6, 7):
        state = pose.update(camera_odometry(poses, i, "lost"), T_BASE_OPTICAL)
        assert state.state == "lost" and pose.is_valid(state.stamp)
        assert pytest.approx(poses[i], abs=1e-9) == state.T
    growth = (ACCELERATION_STD * 0.2**2 / 2) ** 2
    assert np.diag(state.covariance - tracked.covariance) == pytest.approx(growth)
    late = pose.update(camera_odometry(poses, 9, "lost"), T_BASE_OPTICAL)
    assert not pose.is_valid(late.stamp)
    assert pytest.approx(se3_exp(5 * ARC + 2.5 * ARC), abs=1e-9) == late.T
    # relocalised with the key frames before the loss
    assert pytest.approx(poses[10], abs=1e-9) == pose.update(camera_odometry(poses, 10), T_BASE_OPTICAL).T


def test_two_d_mode_keeps_z_roll_and_pitch_at_zero():
    climbing = base_trajectory(20, np.add(ARC, [0, 0, 0.05, 0.01, 0.02, 0]))
    pose = BaseFramePose(two_d_mode=True)
    for i in range(20):
        state = pose.update(camera_odometry(climbing, i, state_of(i), 1e-4 * np.eye(6)), T_BASE_OPTICAL)
    assert pytest.approx(project_to_plane(state.T)) == state.T
    assert state.twist[[2, 3, 4]] == pytest.approx(np.zeros(3))
    assert state.T[0, 3] > 1.5 and np.diag(state.covariance)[2:5] == pytest.approx(PLANAR_VARIANCE)
    assert (np.linalg.eigvalsh(state.covariance) > 0).all()


def test_pan_of_the_camera_does_not_rotate_the_base():
    pose = BaseFramePose()
    mountings = [se3_exp(np.array([0, 0, 0, 0, 0, 0.1 * i])) @ T_BASE_OPTICAL for i in range(5)]
    for i, mounting in enumerate(mountings):
        stamp = PERIOD * (i + 1)
        motion = Motion(stamp - PERIOD, stamp, inverse(mountings[i - 1]) @ mounting) if i else None
        camera_pose = Pose(stamp, inverse(mountings[0]) @ mounting)
        state = pose.update(Odometry(stamp, state_of(i), camera_pose, motion), mounting)
    assert pytest.approx(np.eye(4), abs=1e-9) == state.T
    assert state.twist == pytest.approx(np.zeros(6), abs=1e-9)


def test_lever_arm_jacobian_of_a_camera_at_the_base_origin_only_rotates():
    J = lever_arm_jacobian(T_BODY_OPTICAL[:3, :3], np.eye(3), T_BODY_OPTICAL)
    assert J[:3, 3:] == pytest.approx(np.zeros((3, 3)))
    # optical z is x of the base, rotation about optical -y is yaw
    assert J @ np.array([0, 0, 1, 0, -1, 0]) == pytest.approx([1, 0, 0, 0, 0, 1])
