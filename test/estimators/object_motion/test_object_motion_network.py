"""Object motion from a network: conversion to metres with a stub engine, and a model with random weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from depth_ros.datatypes import Camera, Depth, Motion
from depth_ros.engine import EngineSettings, model_engines
from depth_ros.engine.image_path import OpenCvPath
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion import network as object_motion_network
from depth_ros.estimators.object_motion.network import ObjectMotionNetwork
from depth_ros.networks import struct2depth
from depth_ros.training.export import export
from depth_ros.training.recipes import CropSettings, Recipe, Source
from depth_ros.training.supervision.video import VideoSupervision

CAMERA = Camera.pinhole(128, 64, 100.0, 100.0, 63.5, 31.5)
PERIOD = 100_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """A struct2depth model of task object_motion with random weights, of an eighth of the published width."""
    torch.manual_seed(0)
    recipe = Recipe(
        name="moved", family="struct2depth", crop=CropSettings(128, 64), sources=(Source("world:street", count=1),),
        validation=(), description="a test", licence="Apache-2.0", terms="", supervision=VideoSupervision(),
    )  # fmt: skip
    models = struct2depth.build_training_model(struct2depth.Settings(width_divisor=8))
    path = export(models, recipe, tmp_path_factory.mktemp("models") / "moved")
    return path.with_name("moved_object_motion")


def frames(count: int, distance: float = 10.0) -> Iterator[tuple[Depth, np.ndarray]]:
    """Depth and labels of a wall with two objects at half its distance: label 300 (200 px) and label 7 (800 px)."""
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (64, 128, 3), np.uint8)
    labels = np.zeros((64, 128), np.int32)
    labels[10:20, 40:60], labels[30:50, 70:110] = 300, 7
    depth = np.where(labels > 0, distance / 2, distance).astype(np.float32)
    for index in range(count):
        yield Depth(index * PERIOD, "camera", depth, CAMERA, image), labels


def results(network: ObjectMotionNetwork, count: int) -> list:
    found = []
    for (older, _), (newer, labels) in itertools.pairwise(frames(count)):
        found.append(network.estimate(older, newer, Motion(older.stamp, newer.stamp, np.eye(4)), labels))
    return found


def test_motion_is_scaled_to_metres_by_the_measured_depth(folder, monkeypatch):
    """The largest object is at depth 0.1 and moves by 0.01 in the network's unit: at 5 m that is 0.5 m, or 5 m/s."""
    calls = []

    def engine(images, labels, K):
        calls.append((images, labels, K))
        motions = np.tile(np.eye(4, dtype=np.float32), (8, 1, 1))
        motions[0, 0, 3] = 0.01
        return motions, np.array([0.1, 0.2, *[1.0] * 6], np.float32)

    stub = SimpleNamespace(width=128, height=64, path=OpenCvPath(), results=engine)
    monkeypatch.setattr(model_engines.ModelEngines, "of_size", lambda *_: stub)
    first, second, third, fourth = results(ObjectMotionNetwork(str(folder)), 5)
    assert first == second == []
    (one,) = third  # the other object is static
    assert one.label == 7 and one.mask.sum() == 800
    assert one.velocity == pytest.approx([5.0, 0.0, 0.0]) and one.centre[2] == pytest.approx(5.0)
    assert one.T[:3, 3] == pytest.approx([0.5, 0.0, 0.0]) and (np.diag(one.covariance) == 9999).all()
    images, labels, K = calls[0]
    assert images.shape == (3, 64, 128, 3) and labels.dtype == np.uint8 and K[0, 0] == 100
    assert (labels[:, 40, 90] == 1).all() and (labels[:, 15, 50] == 2).all()
    assert len(fourth) == 1


def test_model_with_random_weights_runs(folder, engine_cache):
    found = results(ObjectMotionNetwork(str(folder), engine=EngineSettings(backend="eager")), 4)
    assert found[:2] == [[], []]
    assert all(np.isfinite(each.velocity).all() and each.label in (7, 300) for each in found[2])


def test_gap_restarts_the_clip_and_unsuitable_input_is_rejected(folder, small_model):
    network = ObjectMotionNetwork(str(folder), engine=EngineSettings(backend="eager"))
    (a, labels), (b, _), (c, _) = frames(3)
    motion = Motion(a.stamp, b.stamp, np.eye(4))
    network.estimate(a, b, motion, labels)
    assert network.estimate(a, c, motion, labels) == []  # a is not the frame before c
    with pytest.raises(DepthRosError, match="needs labels"):
        network.estimate(b, c, motion)
    with pytest.raises(DepthRosError, match="at the size of the depth image"):
        network.estimate(b, c, motion, labels[:32])
    with pytest.raises(DepthRosError, match="is for task 'depth'; an 'object_motion' model is needed"):
        ObjectMotionNetwork(str(small_model))


def test_harmonic_mean_ignores_invalid_depth():
    assert object_motion_network.harmonic_mean(np.array([4.0, 8.0, np.nan, 0.0])) == pytest.approx(16 / 3)
    assert np.isnan(object_motion_network.harmonic_mean(np.array([np.nan])))
