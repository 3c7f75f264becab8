"""Online refinement: it reduces the photometric error, and the change of the depth stays within its bound."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from depth_ros.cli import main
from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.estimators.refinement import (
    PUBLISHED,
    ClipRefiner,
    RefinementSettings,
    RefiningEstimator,
    limit_change,
    photometric_error,
    predict,
    refine,
)
from depth_ros.networks import family
from depth_ros.playback.kinds import MONO
from depth_ros.playback.replay import ReplayOptions, replay
from depth_ros.recordings.bags import BagRecording, write_bag
from depth_ros.training.export import export
from depth_ros.training.recipes import CropSettings, Recipe, Source
from depth_ros.training.supervision.video import VideoSupervision
from depth_ros.world import World, WorldSettings

QUICK = RefinementSettings(steps=2, learning_rate=1e-3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A struct2depth model with random weights, except that it predicts forward motion of the camera."""
    return exported(tmp_path_factory.mktemp("models"), width_divisor=1)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """The same with few channels."""
    return exported(tmp_path_factory.mktemp("models"), width_divisor=8)


def exported(folder, width_divisor: int) -> str:
    module = family("struct2depth")
    torch.manual_seed(0)
    models = module.build_training_model(module.Settings(width_divisor=width_divisor))
    module.initialise(models)
    with torch.no_grad():
        models["ego_motion"].network.pred.bias[2::6] = 10.0  # times 0.001: 1 cm where the scene is 20 cm away
    recipe = Recipe(
        name="wild", family="struct2depth", crop=CropSettings(64, 32), sources=(Source("world:street"),), validation=(),
        description="a test", licence="Apache-2.0", terms="rendered", supervision=VideoSupervision(),
    )  # fmt: skip
    return str(export(models, recipe, folder / "wild"))


@pytest.fixture(scope="module")
def world():
    return World(WorldSettings(kind="street", seed=2, frames=4, width=64, height=32))


def frames(world: World, change=lambda image: image) -> list[Frame]:
    left = [world[i].left for i in range(len(world))]
    return [dataclasses.replace(frame, image=change(frame.image)) for frame in left]


def test_frames_from_the_third_on_are_refined_starting_from_the_trained_weights(model, world):
    estimator = RefiningEstimator(model, QUICK)
    depths = [estimator.estimate(frame) for frame in frames(world)]
    assert (
        estimator.outcomes["not refined: too few frames"] == 2 and "refined" in estimator.engine_status.reason
    )
    changed = 0
    for depth, frame in zip(depths, frames(world)):
        trained = estimator._refiner.trained_depth(frame).depth
        ratio = depth.depth / trained
        assert ratio.max() <= 1.3001 and ratio.min() >= 1 / 1.3001
        assert np.median(ratio) == pytest.approx(1, abs=0.05)
        changed += bool((ratio != 1).any())
    assert changed == estimator.outcomes["refined"] >= 1


def test_refinement_reduces_the_photometric_error(model, world):
    refiner, batch = ClipRefiner(model, QUICK), clip(world)
    images, K = batch["images"], batch["intrinsics"]
    trained, T = predict(refiner._models, images, K, 2)
    before = photometric_error(images[:, 1:], trained, T[:, 1], K)
    refined = refiner.refined_depth(frames(world)[:3]).depth
    assert refiner.errors[0][0] == pytest.approx(before) and refiner.errors[0][1] < before
    assert refiner.outcomes == {"refined": 1} and not np.array_equal(refined, trained[0])
    assert torch.equal(predict(refiner._models, images, K, 2)[0], trained)  # the trained weights are restored


def clip(world: World) -> dict[str, torch.Tensor]:
    images = torch.from_numpy(np.stack([frame.image for frame in frames(world)[:3]]))[None]
    labels = torch.zeros(images.shape[:-1], dtype=torch.uint8)
    labels[:, :, 10:25, 20:40] = 1
    return {
        "images": images,
        "intrinsics": torch.from_numpy(world.cameras["left"].K).float()[None],
        "labels": labels,
    }


def test_the_published_settings_are_those_of_the_released_code():
    assert (PUBLISHED.steps, PUBLISHED.learning_rate, PUBLISHED.smoothness_weight) == (20, 1e-4, 0.01)
    assert (PUBLISHED.target, PUBLISHED.min_translation, PUBLISHED.max_change) == (
        "middle",
        0.01,
        float("inf"),
    )


@pytest.mark.parametrize("masks", [False, True])
def test_published_refinement_is_that_many_steps_of_adam_on_the_loss_of_the_triplet(narrow, world, masks):
    """Compared with the same steps written here; the size prior stays, the depth is that of the middle frame."""
    settings = dataclasses.replace(PUBLISHED, steps=3, min_translation=0.005)
    refiner, batch = ClipRefiner(narrow, settings), clip(world)
    labels = list(batch["labels"][0].numpy()) if masks else []
    found = [refiner.refined_depth(frames(world)[:3], labels).depth for _ in range(2)]
    np.testing.assert_array_equal(*found)  # fresh weights each time
    if not masks:
        del batch["labels"]
    module, parts = family("struct2depth"), ClipRefiner(narrow)._models
    parameters = [p for p in parts.parameters() if p.requires_grad and p.dim()]
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    loss_settings = module.LossSettings(smoothness_weight=0.01)
    for step in range(1, 4):
        gradients = torch.autograd.grad(
            module.loss(parts, batch, loss_settings)["loss"], parameters, allow_unused=True
        )
        with torch.no_grad():
            for p, g, m, v in zip(parameters, gradients, first, second):
                if g is not None:
                    m.mul_(0.9).add_(0.1 * g)
                    v.mul_(0.999).add_(0.001 * g * g)
                    p -= 1e-4 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    with torch.no_grad():
        expected = parts["depth"](batch["images"][:, 1], batch["intrinsics"])[0].numpy()
    trained = refiner.trained_depth(frames(world)[1]).depth
    assert refiner.outcomes == {"refined": 2}
    np.testing.assert_allclose(found[0], expected, rtol=1e-4)
    assert np.abs(expected / trained - 1).max() > 3e-3


@pytest.mark.parametrize("categories", [1, 34])
def test_the_learned_heights_of_objects_stay(world, categories):
    module, batch = family("struct2depth"), clip(world)
    torch.manual_seed(0)
    models = module.build_training_model(module.Settings(width_divisor=16, categories=categories))
    before = {name: p.detach().clone() for name, p in models.named_parameters()}
    assert refine(models, module, batch, dataclasses.replace(PUBLISHED, steps=1))
    changed = {name for name, p in models.named_parameters() if not torch.equal(p, before[name])}
    assert "object_motion.height" in before and "object_motion.height" not in changed
    assert {"depth.network.iconv1.weight", "object_motion.network.pred.weight"} <= changed


def test_published_refinement_skips_clips_without_translation(narrow, world):
    settings = dataclasses.replace(PUBLISHED, steps=1, min_translation=0.02)  # the model predicts 0.01
    refiner = ClipRefiner(narrow, settings)
    depth = refiner.refined_depth(frames(world)[:3]).depth
    np.testing.assert_array_equal(depth, refiner.trained_depth(frames(world)[1]).depth)
    assert refiner.outcomes == {"not refined: the predicted translation is below 0.02": 1}


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (lambda image: np.full_like(image, 128), "not refined: the images do not change"),
        (
            lambda image: np.tile(np.arange(64, dtype=np.uint8)[:, None], (32, 1, 3)),
            "not refined: the images",
        ),
    ],
)
def test_textureless_and_constant_clips_are_not_refined(model, world, change, outcome):
    estimator = RefiningEstimator(model, QUICK)
    for frame in frames(world, change):
        depth = estimator.estimate(frame).depth
        again = RefiningEstimator(model, QUICK).estimate(frame).depth
        np.testing.assert_array_equal(depth, again)
    assert sum(count for key, count in estimator.outcomes.items() if key.startswith(outcome)) == 2


def test_clips_without_parallax_are_not_refined(model, world):
    estimator = RefiningEstimator(model, dataclasses.replace(QUICK, min_parallax=1e3))
    for frame in frames(world):
        estimator.estimate(frame)
    assert estimator.outcomes["not refined: the camera is static or only rotates"] == 2


@pytest.mark.parametrize("rate", [0.03, 1.0])
def test_error_increase_is_bounded_for_any_learning_rate(model, world, rate):
    settings = RefinementSettings(steps=2, learning_rate=rate)
    estimator = RefiningEstimator(model, settings)
    for frame, ground_truth in zip(frames(world), [world[i].depth for i in range(4)]):
        valid = np.isfinite(ground_truth)
        d, s = estimator.estimate(frame).depth[valid], estimator._refiner.trained_depth(frame).depth[valid]
        g = ground_truth[valid]
        scale = np.median(g) / np.median(s)
        worse, trained = (float((np.abs(scale * x - g) / g).mean()) for x in (d, s))
        assert worse <= trained + settings.max_change * (1 + trained) + 1e-4


def test_change_is_limited_per_pixel_at_the_trained_scale():
    trained = torch.full((1, 2, 3), 4.0)
    refined = torch.tensor([[[8.0, 8.0, 8.0], [8.4, 80.0, float("nan")]]])
    T = torch.eye(4)[None].clone()
    T[:, 2, 3] = 2.0
    depth, scaled = limit_change(refined, trained, T, 0.3)
    torch.testing.assert_close(depth, torch.tensor([[[4.0, 4.0, 4.0], [4.2, 5.2, 4 / 1.3]]]))
    assert scaled[0, 2, 3] == 1.0 and T[0, 2, 3] == 2.0


def test_replay_and_its_command_refine(model, world, tmp_path, capsys):
    write_bag(world, tmp_path / "bag")
    with BagRecording(tmp_path / "bag") as bag:
        estimator = RefiningEstimator(model, QUICK)
        result = replay(bag, estimator, MONO, ReplayOptions(progress=False))
    assert result.frames == 4 and result.compared == 4 and "scaling median" in result.protocol
    assert sum(estimator.outcomes.values()) == 4
    assert main(["replay", str(tmp_path / "bag"), "--model", model, "--refine", "1"]) == 0
    assert "1 steps per frame" in capsys.readouterr().out


def test_unsuitable_models_are_rejected(model):
    with pytest.raises(DepthRosError, match="only depth models of families trained on video"):
        RefiningEstimator("mono_driving")
    with pytest.raises(DepthRosError, match="is for task 'ego_motion'"):
        RefiningEstimator(model + "_ego_motion")
