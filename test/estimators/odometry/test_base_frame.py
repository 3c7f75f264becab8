"""Poses, twists and covariances of a base that carries a camera somewhere else, against numbers. No DDS."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.datatypes import Motion, Odometry, Pose
from depth_ros.estimators.odometry.base_frame import (
    ACCELERATION,
    FLAT,
    UNKNOWN,
    BaseTrack,
    exponential,
    flat,
    logarithm,
    to_base,
)
from depth_ros.geometry import T_BODY_OPTICAL, inverse, matrix_from_quaternion
from depth_ros.nodes.inputs.imu import integrated

STEP = 100_000_000
ARC = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.02])
"""m and rad a step: forward, and turning left."""
ARM = exponential(np.array([0.4, -0.2, 1.0, 0.0, 0.1, -0.5])) @ T_BODY_OPTICAL
"""A camera in front, to the right and above, that looks down and to the right."""


def seen(T_base: list[np.ndarray], i: int, state: str = "tracking", covariance: np.ndarray | None = None):
    """What an estimator without errors says of the camera when the base stands at T_base[i]."""
    covariance = np.zeros((6, 6)) if covariance is None else covariance
    T_first, T_old, T = (inverse(ARM) @ T_base[j] @ ARM for j in (0, max(i - 1, 0), i))
    stamp = STEP * (i + 1)
    motion = Motion(stamp - STEP, stamp, inverse(T_old) @ T, covariance) if state == "tracking" else None
    return Odometry(stamp, state, Pose(stamp, inverse(T_first) @ T, covariance), motion)


def bases(count: int, twist: np.ndarray = ARC) -> list[np.ndarray]:
    return [exponential(i * twist) for i in range(count)]


@pytest.mark.parametrize(
    "twist", [ARC, np.array([0.1, -0.2, 0.3, 0.4, 0.5, -0.6]), np.array([1.0, 2, 3, 0, 0, 0])]
)
def test_logarithm_is_the_inverse_of_exponential(twist):
    assert logarithm(exponential(twist)) == pytest.approx(twist, abs=1e-12)
    halves = exponential(twist / 2) @ exponential(twist / 2)
    assert halves == pytest.approx(exponential(twist), abs=1e-12)


def test_forward_is_x_and_a_left_turn_is_yaw_wherever_the_camera_sits():
    track, way = BaseTrack(), bases(30)
    first = track.update(seen(way, 0, "starting"), ARM)
    assert pytest.approx(np.eye(4)) == first.T and (first.covariance == UNKNOWN * np.eye(6)).all()
    for i in range(1, 30):
        state = track.update(seen(way, i), ARM)
        assert pytest.approx(way[i], abs=1e-9) == state.T
        assert state.twist == pytest.approx(ARC / 0.1, abs=1e-9)
    assert state.T[0, 3] > 2.5 and state.T[1, 3] > 0.5 and state.T[1, 0] > 0


def test_covariance_of_the_base_is_what_a_thousand_noisy_cameras_show():
    """Errors are drawn for the camera's pose; those of the base, at the end of its arm, have the covariance said."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(6, 6)) * np.array([0.02, 0.03, 0.01, 0.01, 0.02, 0.015])[:, None]
    covariance = A @ A.T / 6
    way = bases(11)
    T_camera = seen(way, 10).pose.T
    track = BaseTrack()
    track.update(seen(way, 0, "starting"), ARM)
    said = track.update(seen(way, 10, covariance=covariance), ARM).covariance
    errors = []
    for e in rng.multivariate_normal(np.zeros(6), covariance, 4000):
        T = np.eye(4)
        T[:3, 3] = T_camera[:3, 3] + e[:3]
        T[:3, :3] = exponential(np.r_[np.zeros(3), e[3:]])[:3, :3] @ T_camera[:3, :3]
        base = ARM @ T @ inverse(ARM)
        turned = logarithm(base @ inverse(way[10]))[3:]
        errors.append(np.r_[base[:3, 3] - way[10][:3, 3], turned])
    shown = np.cov(np.array(errors).T)
    assert said == pytest.approx(shown, abs=0.08 * np.abs(shown).max())
    assert not np.allclose(said[:3, :3], covariance[:3, :3], rtol=0.3)  # the arm matters


def test_a_start_of_the_estimator_does_not_move_the_base():
    track, way = BaseTrack(), bases(10)
    for i in range(6):
        track.update(seen(way, i, "tracking" if i else "starting"), ARM)
    track.restart()
    state = track.update(seen(way[5:], 0, "starting"), ARM)
    assert pytest.approx(way[5], abs=1e-9) == state.T
    again = [inverse(way[5]) @ T for T in way[5:]]
    assert pytest.approx(way[8], abs=1e-9) == track.update(seen(again, 3), ARM).T


def test_a_place_that_is_given_counts_with_its_covariance():
    """Turned by 90 degrees and uncertain in yaw: after 3 m along y, x is as uncertain as 3 m of arm make it."""
    track, straight = BaseTrack(), bases(31, np.array([0.1, 0, 0, 0, 0, 0]))
    T = exponential(np.array([0, 0, 0, 0, 0, np.pi / 2]))
    T[:3, 3] = 5, 6, 0
    track.place(T, np.diag([0.01, 0.01, 0, 0, 0, 0.04]))
    track.update(seen(straight, 0, "starting"), ARM)
    state = track.update(seen(straight, 30), ARM)
    assert state.T[:3, 3] == pytest.approx([5, 9, 0], abs=1e-9)
    assert np.diag(state.covariance) == pytest.approx([0.01 + 9 * 0.04, 0.01, 0, 0, 0, 0.04], abs=1e-9)


def test_while_lost_the_velocity_holds_for_so_long():
    track, way = BaseTrack(longest=0.25), bases(12)
    for i in range(6):
        tracked = track.update(seen(way, i, "tracking" if i else "starting"), ARM)
    for i in (6, 7):
        state = track.update(seen(way, i, "lost"), ARM)
        assert (
            state.state == "lost" and pytest.approx(way[i], abs=1e-9) == state.T and track.known(state.stamp)
        )
    assert np.diag(state.covariance - tracked.covariance) == pytest.approx((ACCELERATION * 0.2**2 / 2) ** 2)
    late = track.update(seen(way, 9, "lost"), ARM)
    assert not track.known(late.stamp) and pytest.approx(exponential(5 * ARC + 2.5 * ARC), abs=1e-9) == late.T
    assert (
        pytest.approx(way[10], abs=1e-9) == track.update(seen(way, 10), ARM).T
    )  # found again by its key frame


def test_two_d_holds_height_roll_and_pitch():
    climbing = bases(20, np.add(ARC, [0, 0, 0.05, 0.01, 0.02, 0]))
    track = BaseTrack(two_d=True)
    for i in range(20):
        state = track.update(seen(climbing, i, "tracking" if i else "starting", 1e-4 * np.eye(6)), ARM)
    assert pytest.approx(flat(state.T)) == state.T and state.twist[[2, 3, 4]] == pytest.approx(np.zeros(3))
    assert state.T[0, 3] > 1.5 and np.diag(state.covariance)[2:5] == pytest.approx(FLAT)
    assert (np.linalg.eigvalsh(state.covariance) > 0).all()


def test_a_camera_that_turns_on_the_robot_does_not_turn_the_robot():
    track = BaseTrack()
    arms = [exponential(np.array([0, 0, 0, 0, 0, 0.1 * i])) @ ARM for i in range(5)]
    for i, arm in enumerate(arms):
        motion = Motion(STEP * i, STEP * (i + 1), inverse(arms[i - 1]) @ arm) if i else None
        pose = Pose(STEP * (i + 1), inverse(arms[0]) @ arm)
        state = track.update(Odometry(STEP * (i + 1), "tracking" if i else "starting", pose, motion), arm)
    assert pytest.approx(np.eye(4), abs=1e-9) == state.T and state.twist == pytest.approx(
        np.zeros(6), abs=1e-9
    )


def test_to_base_of_a_camera_in_the_base_only_turns():
    J = to_base(T_BODY_OPTICAL[:3, :3], np.eye(3), T_BODY_OPTICAL)
    assert J[:3, 3:] == pytest.approx(np.zeros((3, 3)))
    assert J @ np.array([0, 0, 1, 0, -1, 0]) == pytest.approx(
        [1, 0, 0, 0, 0, 1]
    )  # ahead is x, to the left is yaw


def test_rates_of_an_imu_are_integrated_between_two_stamps():
    """A rate that grows linearly: 0.5 rad/s^2 about z for 0.3 s between samples that do not fall on the stamps."""
    samples = [(i * 7_000_000, np.array([0.0, 0.0, 0.5 * i * 0.007])) for i in range(100)]
    R = integrated(samples, 100_000_000, 400_000_000)
    yaw = 0.25 * (0.4**2 - 0.1**2)
    assert (
        pytest.approx(matrix_from_quaternion(np.array([0, 0, np.sin(yaw / 2), np.cos(yaw / 2)])), abs=1e-9)
        == R
    )
    assert integrated(samples, -1, 400_000_000) is None and integrated(samples, 0, 900_000_000) is None
