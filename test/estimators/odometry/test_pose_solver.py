"""Motion, covariance and systematic errors solved from simulated correspondences."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_ros.estimators.odometry.pose_solver import invert_solution, retract, solve
from depth_ros.estimators.odometry.reprojection import Correspondences
from depth_ros.estimators.odometry.systematic_errors import Gaussian, SystematicErrors
from depth_ros.evaluation.metrics.trajectory import nees
from depth_ros.geometry import inverse

DEPTH_STD = 0.0005
"""Noise of the simulated inverse depths, 1/m."""


def simulate(
    count: int, T_new_key: np.ndarray, bias: float, pixel_noise: float, seed: int
) -> tuple[Correspondences, np.ndarray]:
    """Points of a KITTI-like view before and after a motion, and K. Their measured inverse depth is 1/Z - bias."""
    random = np.random.default_rng(seed)
    K = np.array([[700.0, 0, 600], [0, 700, 180], [0, 0, 1]])
    rays = np.column_stack(
        [random.uniform(-0.8, 0.8, count), random.uniform(-0.25, 0.25, count), np.ones(count)]
    )
    rho = random.uniform(0.02, 0.2, count)
    moved = rays @ T_new_key[:3, :3].T + rho[:, None] * T_new_key[:3, 3]
    pixels = (moved @ K.T)[:, :2] / moved[:, 2:] + random.normal(0, pixel_noise, (count, 2))
    covariance = np.tile(pixel_noise**2 * np.eye(2), (count, 1, 1))
    variance = np.full(count, DEPTH_STD**2)
    old = rho + random.normal(0, DEPTH_STD, count) - bias
    new = rho / moved[:, 2] + random.normal(0, DEPTH_STD, count) - bias
    zeros = np.zeros((count, 3))
    points = Correspondences(
        rays, zeros, old, variance, pixels, covariance, new, variance, zeros, zeros[:, 0]
    )
    return points, K


def test_bias_of_the_depth_is_estimated_from_one_motion():
    """Half a pixel of disparity at KITTI's baseline: uncorrected, the translation is wrong by 2 %."""
    T = retract(np.array([0, 0, -1.2, 0.001, 0.01, 0]))
    bias = 0.5 / 380
    points, K = simulate(500, T, bias, 0.2, 0)
    uncorrected = solve(points, K, np.eye(4))
    assert abs(uncorrected.T[2, 3] + 1.2) > 0.01
    solution = solve(points, K, np.eye(4), errors=SystematicErrors(Gaussian(0.0, 0.003**2)))
    assert solution.bias.mean == pytest.approx(bias, abs=3 * solution.bias.variance**0.5)
    assert solution.bias.variance**0.5 < bias / 4
    assert abs(solution.T[2, 3] + 1.2) < 0.006


def test_sensitivity_predicts_the_change_of_the_motion_with_the_bias():
    points, K = simulate(500, retract(np.array([0, 0, -1.2, 0, 0, 0])), 0.0, 0.1, 0)
    without, with_bias = (
        solve(points, K, np.eye(4), errors=SystematicErrors(Gaussian(bias)), iterations=30)
        for bias in (0.0, 1e-4)
    )
    change = (with_bias.T @ inverse(without.T))[:3, 3]
    assert change[2] == pytest.approx(1e-4 * without.sensitivity[2, 0], rel=0.1)
    assert abs(change[2]) > 0.0005


def test_inflation_accounts_for_errors_correlated_by_image_cell():
    """A shift common to all points of a cell is not averaged away by their number."""
    T = retract(np.array([0.1, 0.02, -1.0, 0.01, -0.03, 0.02]))
    squared_errors, independent, inflated = [], [], []
    for seed in range(40):
        points, K = simulate(400, T, 0.0, 0.05, seed)
        cells = np.floor(points.rays[:, 0] * 5 + 4).astype(int)
        points.pixels[:] += np.random.default_rng(seed).normal(0, 0.5, (8, 2))[cells]
        points.covariance[:] = 0.5**2 * np.eye(2)
        solution = solve(points, K, np.eye(4), cells=cells)
        variance = np.trace(solution.covariance[3:, 3:])
        independent.append(variance)
        inflated.append(solution.inflation * variance)
        squared_errors.append(np.sum(cv2.Rodrigues(solution.T[:3, :3] @ T[:3, :3].T)[0] ** 2))
        assert solve(points, K, np.eye(4)).inflation == 1.0
    assert np.mean(independent) < 0.1 * np.mean(squared_errors)
    assert 0.3 * np.mean(squared_errors) < np.mean(inflated) < 3 * np.mean(squared_errors)


def test_covariance_is_consistent_despite_outliers():
    """Mean NEES of 60 noisy copies of one motion; the t-distribution's weights make it more than 6, for which
    `COVARIANCE_FACTOR` of the estimator compensates."""
    T = retract(np.array([0.1, 0.02, -1.0, 0.01, -0.03, 0.02]))
    motions, covariances = [], []
    for seed in range(60):
        points, K = simulate(300, T, 0.0, 0.3, seed)
        points.pixels[:6] += 40
        motion, covariance, _ = invert_solution(solve(points, K, np.eye(4)))
        motions.append(motion)
        covariances.append(covariance)
    values = nees(np.array(motions), np.tile(inverse(T), (60, 1, 1)), np.array(covariances))
    assert 5 < values.mean() < 10
