"""Training: the loss falls, a killed run goes on as if nothing had happened, what is exported is what was trained."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

from depth_ros.card import load_model, read_card
from depth_ros.datasets import Sample
from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.networks import compact, fcrn
from depth_ros.training import loop
from depth_ros.training.augment import Crops, crop, rolled
from depth_ros.training.examples import Example, load, mirrored, right_example_of
from depth_ros.training.group import Objective
from depth_ros.training.recipes import Recipe, Source, on_own_data, recipe, recipes
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A rendered clip of ten frames as a folder: the data of the runs below."""
    root = tmp_path_factory.mktemp("data")
    write_folder(World(WorldSettings(kind="room", frames=10, width=128, height=96)), root / "clip")
    return root


def small(**changes) -> Recipe:
    base = Recipe(
        name="small", family="compact", width=96, height=64, sources=(Source("clip"),), validation=("clip",),
        description="a test", licence="Apache-2.0", terms="rendered", steps=6, batch=2, validate_every=3,
        average=0.5,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def test_run_ends_with_a_model_and_a_log(clip, tmp_path):
    path = loop.train(small(), clip, tmp_path / "run")
    card = read_card(path)
    assert card.training_data == ["clip: without the held-out part"]
    load_model(card)
    assert card.curves.read_text() == (tmp_path / "run/training.svg").read_text()
    rows = list(csv.DictReader((tmp_path / "run/training.csv").open()))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert 0 <= float(rows[-1]["clip delta1"]) <= 1 and float(rows[-1]["clip abs_rel"]) > 0


def test_killed_run_goes_on_with_the_same_result(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    whole = loop.train(small(), clip, tmp_path / "whole")
    real = loop.train_step
    calls = []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.train(small(), clip, tmp_path / "run")
    monkeypatch.setattr(loop, "train_step", real)
    resumed = loop.train(small(), clip, tmp_path / "run")
    one, other = load_model(read_card(whole)).state_dict(), load_model(read_card(resumed)).state_dict()
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-3, atol=1e-4, msg=key)


def test_checkpoint_of_another_recipe_is_refused(clip, tmp_path):
    loop.train(small(), clip, tmp_path / "run")
    with pytest.raises(DepthRosError, match="of recipe 'small', not 'other'"):
        loop.train(small(name="other"), clip, tmp_path / "run")


def test_damaged_checkpoint_is_named(clip, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(DepthRosError, match=r"checkpoint\.pt cannot be resumed.*delete it"):
        loop.train(small(), clip, tmp_path)


def test_loss_that_is_no_number_stops_the_run(clip):
    model = compact.Model(compact.Settings())
    with torch.no_grad():
        model.network.head.bias.fill_(torch.nan)
    batch = torch.utils.data.default_collate(
        [Crops(load(small().sources, clip), small())[i] for i in range(2)]
    )
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(DepthRosError, match="no longer finite"):
        loop.train_step(Objective(compact, model), optimiser, batch, 0)


def test_loss_falls_on_one_batch(clip):
    torch.manual_seed(0)
    model = compact.Model(compact.Settings())
    compact.initialise(model)
    crops = Crops(load(small().sources, clip), small())
    batch = torch.utils.data.default_collate([crops[i] for i in range(4)])
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    objective = Objective(compact, model)
    losses = [loop.train_step(objective, optimiser, batch, step)["abs_rel"] for step in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_held_out_part_is_never_loaded(clip):
    assert len(load((Source("clip"),), clip)) == 8
    assert len(load((Source("clip", part="all"),), clip)) == 10


def plane_example(camera: Camera, distance: float = 7.0) -> Example:
    shape = (camera.height, camera.width)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    return Example(image, camera, np.full(shape, distance, np.float32), np.ones(shape, np.float32))


def test_crop_keeps_rays_and_depth():
    """A crop of a slanted plane: depth and intrinsics of the crop still describe that plane."""
    from depth_ros.geometry import back_project

    camera = Camera.pinhole(160, 120, 110.0, 112.0, 83.0, 55.0)
    u, v = np.meshgrid(np.arange(160), np.arange(120))
    normal, offset = np.array([0.1, -0.3, 1.0]), 5.0
    rays = np.stack([(u - 83.0) / 110.0, (v - 55.0) / 112.0, np.ones_like(u)], -1)
    depth = (offset / (rays @ normal)).astype(np.float32)
    example = dataclasses.replace(plane_example(camera), depth=depth)
    for seed in range(6):
        item = crop(example, small(zoom=2.0), np.random.default_rng(seed))
        K = item["intrinsics"]
        found = Camera.pinhole(96, 64, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        points = back_project(np.ascontiguousarray(item["depth"]), found)
        mirrored = (
            np.abs(points @ normal - offset).mean() > np.abs(points @ (normal * [-1, 1, 1]) - offset).mean()
        )
        plane = normal * ([-1, 1, 1] if mirrored else [1, 1, 1])
        assert np.abs(points @ plane - offset).max() < 0.06  # nearest pixel of the depth image


def test_roll_turns_about_the_principal_point():
    camera = Camera.pinhole(64, 48, 60.0, 60.0, 30.0, 20.0)
    example = plane_example(camera)
    example.image[:] = 0
    example.image[18:23, 48:53] = 255  # 20 px to the right of the principal point
    turned = rolled(
        example, 90.0
    )  # counter-clockwise: now 20 px above it, outside; the other way it is inside
    assert not turned.image[:, 40:].any()
    turned = rolled(example, -90.0)
    v, u = np.nonzero(turned.image[..., 0] > 127)
    assert [u.mean(), v.mean()] == pytest.approx([30.0, 40.0], abs=0.6)
    assert np.isnan(turned.depth[:, 0]).any() and np.nanmax(turned.depth) == 7.0
    assert (turned.weight[np.isnan(turned.depth)] == 0).all()


def test_items_depend_on_their_number_alone(clip):
    examples = load(small().sources, clip)
    one, other = Crops(examples, small())[5], Crops(examples, small())[5]
    torch.testing.assert_close(one["image"], other["image"])
    assert not torch.equal(one["image"], Crops(examples, small())[4]["image"])


def test_truth_of_the_right_eye():
    """A near square before a wall: in the right eye it stands f B / Z px further left and hides the wall."""
    left, right = (Camera.pinhole(64, 16, 40.0, 40.0, 32, 8, baseline) for baseline in (0.0, 0.5))
    depth = np.full((16, 64), 10.0, np.float32)  # disparity 2
    depth[:, 30:40] = 2.5  # disparity 8
    image = np.zeros((16, 64, 3), np.uint8)
    sample = Sample("0", Frame(0, "l", image, left), Frame(0, "r", image, right), depth)
    found = right_example_of(sample, stereo=0.0)
    np.testing.assert_allclose(found.depth[3, 22:32], 2.5)
    np.testing.assert_allclose(found.depth[3, :22], 10.0)
    assert np.isnan(found.depth[3, 32:38]).all()  # the wall that only the right eye sees
    assert (found.weight[3, 32:38] == 0).all()


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_is_consistent(name):
    made = recipe(name)
    assert made.name == name and made.terms and made.licence
    model = compact.Model if made.family == "compact" else None
    if model:
        assert made.width % model.size_multiple == made.height % model.size_multiple == 0
    assert "kitti" not in str(made.sources) or "non-commercial" in made.terms.lower()


def test_unknown_recipe_lists_the_known():
    with pytest.raises(DepthRosError, match="unknown recipe 'mono'; known are mono_driving"):
        recipe("mono")


def test_monodepth_learns_from_pairs_alone(clip, tmp_path):
    made = small(
        family="monodepth", width=128, height=128, supervision="stereo", steps=1, validate_every=1, batch=1
    )
    card = read_card(loop.train(made, clip, tmp_path / "run"))
    assert card.family == "monodepth"


@pytest.mark.parametrize(
    ("family", "settings", "scale"),
    [("fcrn", {"backbone": "lite0"}, "metric"), ("mannequin", {"narrow": 16}, "up_to_scale")],
)
def test_families_learn_depth_and_say_of_what_scale(clip, tmp_path, family, settings, scale):
    made = small(family=family, settings=settings, scale=scale, steps=2, validate_every=1)
    card = read_card(loop.train(made, clip, tmp_path / "run"))
    assert (card.family, card.scale) == (family, scale)
    load_model(card)
    assert card.curves.read_text() == (tmp_path / "run/training.svg").read_text()
    rows = list(csv.DictReader((tmp_path / "run/training.csv").open()))
    assert 0 < float(rows[-1]["clip abs_rel"]) < 5


def test_a_model_is_refined_as_it_is_deployed(clip, tmp_path):
    """Begins with what the model computes, ends with less of a loss and folded still; the card tells both parts."""
    first = loop.train(small(), clip, tmp_path / "first")
    sources = (Source("others"), Source("world:room", count=1))
    made = on_own_data(small(sources=sources, validation=("others",)), "", ["clip"])
    assert made.sources == (Source("clip"), sources[1]) and made.validation == ("clip",)
    made = on_own_data(small(settings={"max_depth": 50.0}), str(first), ["clip"])
    assert made.name == "small_own" and made.sources == (Source("clip"),)
    learner = loop.learner(compact, made)
    image, K = (
        torch.zeros(1, 64, 96, 3, dtype=torch.uint8),
        torch.tensor([[[80.0, 0, 48], [0, 80, 32], [0, 0, 1]]]),
    )
    shipped = load_model(read_card(first))
    assert torch.equal(learner.log_inverse(image, K), shipped.log_inverse(image, K))
    path = loop.train(dataclasses.replace(made, steps=3), clip, tmp_path / "second")
    card = read_card(path)
    assert card.settings == {"max_depth": 50.0, "folded": True}
    words = "clip: without the held-out part"
    assert card.training_data == [f"{words} (first)", words]
    assert not torch.equal(load_model(card).log_inverse(image, K), shipped.log_inverse(image, K))


def test_a_model_of_another_family_cannot_be_refined(small_model):
    made = small(family="fcrn", start=f"model:{small_model}")
    with pytest.raises(DepthRosError, match="cannot begin with model 'small' of family 'compact'"):
        loop.learner(fcrn, made)


def test_a_pair_in_the_mirror_agrees_with_its_truth():
    """The right eye of a rendered pair, mirrored: what its disparity says is the same point looks the same."""
    sample = World(WorldSettings(kind="street", frames=1, width=256, height=96))[0]
    made = mirrored(sample, stereo=0.1)
    disparity = made.fx_baseline / made.depth
    known = np.isfinite(disparity)
    assert known.mean() > 0.4 and np.array_equal(known, made.weight > 0)
    rows, columns = np.nonzero(known)

    def error(wrong):
        there = np.rint(columns - disparity[known] - wrong).astype(int)
        inside = (there >= 0) & (there < 256)
        seen = made.right[rows[inside], there[inside]].astype(int)
        return np.abs(seen - made.image[rows[inside], columns[inside]]).mean()

    assert error(0) < 0.7 * min(error(-4), error(4))
