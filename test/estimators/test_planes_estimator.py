"""Planes of a frame: those of a planes model, or fitted to the depth of a depth model; both give depth too."""

import dataclasses

import numpy as np
import pytest
import torch

from depth_ros.datatypes import Frame
from depth_ros.engine import EngineSettings
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.estimators.planes import PlanesEstimator
from depth_ros.networks import planenet
from depth_ros.plane_fitting import PlaneFitSettings, fit_planes
from depth_ros.training.export import export
from depth_ros.training.recipes import CropSettings, find_recipe
from depth_ros.world import World, WorldSettings

EAGER = EngineSettings("eager", "float32", "cpu")


@pytest.fixture(scope="module")
def planes_model(tmp_path_factory):
    """Folder of a planes model with random weights at 128x64."""
    torch.manual_seed(0)
    tiny = dataclasses.replace(find_recipe("planes_indoor"), crop=CropSettings(128, 64), deployed_size=None)
    model = planenet.Model(planenet.Settings(**tiny.settings))
    with torch.no_grad():
        model.network.head.weight.mul_(100)  # else one label wins everywhere
    return export(model, tiny, tmp_path_factory.mktemp("models") / "planes")


@pytest.fixture(scope="module")
def frame():
    world = World(WorldSettings(kind="room", seed=3, frames=1, width=256, height=128))
    return Frame(7, "optical", world.render(0)[0], world.cameras["left"])


def test_a_planes_model(planes_model, frame):
    estimator = PlanesEstimator(str(planes_model), EAGER)
    assert estimator.depth.card.task == "planes"
    depth, planes = estimator.estimate(frame)
    assert (depth.stamp, depth.frame_id) == (7, "optical") and depth.depth.shape == planes.labels.shape == (
        64,
        128,
    )
    assert (
        set(np.unique(planes.labels)) - {-1} == set(range(len(planes.equations)))
        and len(planes.equations) > 0
    )
    areas = np.bincount(planes.labels[planes.labels >= 0])
    assert (np.diff(areas) <= 0).all() and areas.min() >= 0.01 * planes.labels.size
    points = depth.depth[..., None] * np.stack(np.broadcast_arrays(
        (np.arange(128) - depth.camera.cx) / depth.camera.fx,
        ((np.arange(64) - depth.camera.cy) / depth.camera.fy)[:, None], 1.0), axis=2)  # fmt: skip
    own = planes.equations[planes.labels]
    off = np.abs((points * own[..., :3]).sum(axis=2) + own[..., 3])[
        (planes.labels >= 0) & np.isfinite(depth.depth)
    ]
    assert len(off) and off.max() < 1e-3  # the depth is that of the planes
    only = DepthEstimator(str(planes_model), EAGER).estimate(frame)  # what depth_node and replay use
    np.testing.assert_array_equal(only.depth, depth.depth)


def test_planes_of_a_depth_model_are_fitted(small_model, frame):
    fit = PlaneFitSettings(distance_threshold=0.5, relative_distance_threshold=0.2, max_normal_angle=90.0)
    estimator = PlanesEstimator(str(small_model), EAGER, fit)
    depth, planes = estimator.estimate(frame)
    expected = fit_planes(DepthEstimator(str(small_model), EAGER).estimate(frame).depth, depth.camera, fit)
    np.testing.assert_array_equal(planes.labels, expected.labels)
    np.testing.assert_array_equal(planes.equations, expected.equations)
