"""Odometry on rendered motion, whose poses and depths are exactly known."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from depth_ros.datatypes import Depth
from depth_ros.estimators.odometry import OdometryEstimator, OdometrySettings
from depth_ros.evaluation.trajectory import figures
from depth_ros.world import World, WorldSettings


@functools.cache
def clip(kind: str, frames: int = 12, seed: int = 1) -> tuple[list[Depth], np.ndarray]:
    """Depth images of a rendered clip, with the true poses (N, 4, 4)."""
    world = World(WorldSettings(kind=kind, seed=seed, frames=frames, width=320, height=160))
    depths = []
    for index in range(frames):
        image, depth = world.render(index)
        stamp = round(index * 1e9 / world.rate)
        depths.append(Depth(stamp, "camera", depth, world.cameras["left"], image))
    return depths, np.array([world.pose(index) for index in range(frames)])


@pytest.mark.parametrize("kind", ["street", "room"])
def test_rendered_way_is_followed(kind):
    depths, truth = clip(kind)
    estimator = OdometryEstimator(OdometrySettings(inverse_depth_std=0.001))
    results = [estimator.estimate(depth) for depth in depths]
    assert [result.state for result in results] == ["starting"] + ["tracking"] * 11
    found = figures(np.array([result.pose.T for result in results]), truth)
    way = np.linalg.norm(truth[-1, :3, 3] - truth[0, :3, 3])
    assert found["ate_rmse_m"] < 0.1 * way
