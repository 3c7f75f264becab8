"""Online refinement: it explains the clip better, and it can do no harm beyond what is stated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from depth_ros.bags import BagReader, write_bag
from depth_ros.cli import main
from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.estimators.refinement import (
    RefinementSettings,
    RefiningEstimator,
    answers,
    guarded,
    photometric_error,
)
from depth_ros.networks import family
from depth_ros.playback.replay import replay
from depth_ros.training.export import export
from depth_ros.training.recipes import Recipe, Source
from depth_ros.world import World, WorldSettings

QUICK = RefinementSettings(steps=2, learning_rate=1e-3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A struct2depth model with random weights, but for a camera that drives forwards."""
    module = family("struct2depth")
    torch.manual_seed(0)
    models = module.learner(module.Settings())
    module.initialise(models)
    with torch.no_grad():
        models["ego_motion"].network.pred.bias[2::6] = 10.0  # times 0.001: 1 cm where the scene is 20 cm away
    recipe = Recipe(
        name="wild", family="struct2depth", width=64, height=32, sources=(Source("world:street"),), validation=(),
        description="a test", licence="Apache-2.0", terms="rendered", supervision="video",
    )  # fmt: skip
    return str(export(models, recipe, tmp_path_factory.mktemp("models") / "wild"))


@pytest.fixture(scope="module")
def world():
    return World(WorldSettings(kind="street", seed=2, frames=4, width=64, height=32))


def frames(world: World, change=lambda image: image) -> list[Frame]:
    found = [world[i].left for i in range(len(world))]
    return [dataclasses.replace(frame, image=change(frame.image)) for frame in found]


def test_two_frames_as_trained_then_refined_and_the_trained_weights_are_back(model, world):
    estimator = RefiningEstimator(model, QUICK)
    depths = [estimator.estimate(frame) for frame in frames(world)]
    assert estimator.verdicts["as trained: too few frames"] == 2 and "refined" in estimator.reason
    static = RefiningEstimator(model, QUICK)
    changed = 0
    for depth, frame in zip(depths, frames(world)):
        static._frames = []  # a first frame again and again
        trained = static.estimate(frame).depth
        ratio = depth.depth / trained
        assert ratio.max() <= 1.3001 and ratio.min() >= 1 / 1.3001
        assert np.median(ratio) == pytest.approx(1, abs=0.05)
        changed += bool((ratio != 1).any())
    assert changed == estimator.verdicts["refined"] >= 1


def test_refined_depth_explains_the_newest_image_better(model, world):
    estimator = RefiningEstimator(model, QUICK)
    images = torch.from_numpy(np.stack([frame.image for frame in frames(world)[:3]]))[None]
    K = torch.from_numpy(world.cameras["left"].K).float()[None]
    static, T = answers(estimator._models, images, K)
    before = photometric_error(images, static, T, K)
    refined, verdict = estimator._depth(images, K)
    assert estimator.errors[0][0] == pytest.approx(before) and estimator.errors[0][1] < before
    assert verdict == "refined" and not torch.equal(refined, static)
    assert photometric_error(images, static, T, K) == before  # the weights are back, so are the answers


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda image: np.full_like(image, 128), "as trained: the images do not change"),
        (lambda image: np.tile(np.arange(64, dtype=np.uint8)[:, None], (32, 1, 3)), "as trained: the images"),
    ],
)
def test_textureless_and_still_clips_are_published_as_trained(model, world, change, verdict):
    estimator = RefiningEstimator(model, QUICK)
    for frame in frames(world, change):
        depth = estimator.estimate(frame).depth
        again = RefiningEstimator(model, QUICK).estimate(frame).depth
        np.testing.assert_array_equal(depth, again)
    assert sum(count for key, count in estimator.verdicts.items() if key.startswith(verdict)) == 2


def test_a_camera_that_stands_before_moving_things_is_published_as_trained(model, world):
    estimator = RefiningEstimator(model, dataclasses.replace(QUICK, least_parallax=1e3))
    for frame in frames(world):
        estimator.estimate(frame)
    assert estimator.verdicts["as trained: the camera stands or only turns"] == 2


@pytest.mark.parametrize("rate", [0.03, 1.0])
def test_harm_is_bounded_however_wild_the_steps_are(model, world, rate):
    settings = RefinementSettings(steps=2, learning_rate=rate)
    estimator, static = RefiningEstimator(model, settings), RefiningEstimator(model, settings)
    for frame, truth in zip(frames(world), [world[i].depth for i in range(4)]):
        known = np.isfinite(truth)
        d, s, g = estimator.estimate(frame).depth[known], static.estimate(frame).depth[known], truth[known]
        static._frames = []
        scale = np.median(g) / np.median(s)
        worse, trained = (float((np.abs(scale * x - g) / g).mean()) for x in (d, s))
        assert worse <= trained + settings.max_change * (1 + trained) + 1e-4


def test_guard_keeps_the_trained_scale_and_bounds_every_pixel():
    static = torch.full((1, 2, 3), 4.0)
    refined = torch.tensor([[[8.0, 8.0, 8.0], [8.4, 80.0, float("nan")]]])
    T = torch.eye(4)[None].clone()
    T[:, 2, 3] = 2.0
    depth, moved = guarded(refined, static, T, 0.3)
    torch.testing.assert_close(depth, torch.tensor([[[4.0, 4.0, 4.0], [4.2, 5.2, 4 / 1.3]]]))
    assert moved[0, 2, 3] == 1.0 and T[0, 2, 3] == 2.0


def test_replay_and_the_command_reach_it(model, world, tmp_path, capsys):
    write_bag(world, tmp_path / "bag")
    with BagReader(tmp_path / "bag") as bag:
        estimator = RefiningEstimator(model, QUICK)
        result = replay(bag, estimator, progress=False)
    assert result.frames == 4 and result.compared == 4 and "scaling median" in result.protocol
    assert sum(estimator.verdicts.values()) == 4
    assert main(["replay", str(tmp_path / "bag"), "--model", model, "--refine", "1"]) == 0
    assert "1 steps a frame" in capsys.readouterr().out


def test_models_that_cannot_be_refined_are_refused(model):
    with pytest.raises(DepthRosError, match="only depth models of families that learn from video"):
        RefiningEstimator("mono_driving")
    with pytest.raises(DepthRosError, match="does 'ego_motion'"):
        RefiningEstimator(model + "_ego_motion")
