"""The training loop: the loss falls, a killed run resumes, the run ends with a model."""

import csv
from dataclasses import replace

import pytest
import torch
from small_recipes import depth_recipe, video_recipe
from torch.utils.data import default_collate

from depth_ros.card import load_model, read_card
from depth_ros.errors import DepthRosError
from depth_ros.networks import compact, fcrn
from depth_ros.training import loop
from depth_ros.training.data.examples import load_examples
from depth_ros.training.data.source import DataFolders
from depth_ros.training.dataset import CropDataset
from depth_ros.training.objective import Objective
from depth_ros.training.recipes import CropSettings, Recipe, Source, find_recipe
from depth_ros.training.supervision.depth import DepthSupervision
from depth_ros.training.supervision.stereo_pairs import StereoPairSupervision


@pytest.fixture(scope="module")
def finished_run(data, tmp_path_factory):
    """Working folder of an uninterrupted run of `depth_recipe`."""
    out = tmp_path_factory.mktemp("runs") / "run"
    loop.train(depth_recipe(), data, out)
    return out


def last_row(run) -> dict[str, str]:
    return list(csv.DictReader((run / "training.csv").open()))[-1]


def train_with_interruption(recipe: Recipe, data, out, monkeypatch, step: int):
    """Train until a kill in the given step, with a checkpoint every second step, then train again."""
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    train_step, steps = loop.train_step, []

    def interrupted(*arguments):
        steps.append(arguments)
        if len(steps) == step:
            raise KeyboardInterrupt
        return train_step(*arguments)

    monkeypatch.setattr(loop, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.train(recipe, data, out)
    count = len(steps)
    path = loop.train(recipe, data, out)
    assert len(steps) - count == recipe.steps - 2 * ((step - 1) // 2), (
        "did not resume from the last checkpoint"
    )
    return path


def assert_same_weights(one, other):
    one, other = (load_model(read_card(path)).state_dict() for path in (one, other))
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-3, atol=1e-4, msg=key)


def test_a_run_ends_with_a_model_and_its_curves(finished_run):
    card = read_card(finished_run / "small")
    assert card.training_data == ["clip: without the held-out part"]
    load_model(card)
    assert card.mean_inverse_depth.is_file()
    assert card.curves.read_text() == (finished_run / "training.svg").read_text()
    rows = list(csv.DictReader((finished_run / "training.csv").open()))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert 0 <= float(rows[-1]["clip delta1"]) <= 1 and float(rows[-1]["clip abs_rel"]) > 0


def test_a_killed_run_resumes_with_the_result_of_an_uninterrupted_one(
    finished_run, data, tmp_path, monkeypatch
):
    resumed = train_with_interruption(depth_recipe(), data, tmp_path / "run", monkeypatch, step=5)
    assert_same_weights(finished_run / "small", resumed)
    assert last_row(tmp_path / "run") == pytest.approx(last_row(finished_run))


def test_a_killed_run_from_video_resumes_and_ends_with_a_model_per_task(tmp_path, monkeypatch):
    whole = loop.train(video_recipe(), tmp_path, tmp_path / "whole")
    resumed = train_with_interruption(video_recipe(), tmp_path, tmp_path / "run", monkeypatch, step=3)
    rows = [last_row(tmp_path / run) for run in ("whole", "run")]
    assert float(rows[0]["loss"]) == pytest.approx(float(rows[1]["loss"]), rel=1e-3)
    assert {"world:street abs_rel", "world:street photometric", "world:street abs_rel moving"} <= set(rows[0])
    for suffix, task in (("", "depth"), ("_ego_motion", "ego_motion"), ("_object_motion", "object_motion")):
        paths = [path.with_name(f"small{suffix}") for path in (whole, resumed)]
        card = read_card(paths[0])
        assert card.task == task and card.scale == "up_to_scale"
        assert card.frames == (1 if task == "depth" else 3)
        assert not card.mean_inverse_depth.exists()
        assert_same_weights(*paths)


def test_a_damaged_checkpoint_stops_the_run(data, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(DepthRosError, match=r"checkpoint\.pt cannot be resumed.*delete it"):
        loop.train(depth_recipe(), data, tmp_path)


def first_batch(data, size: int) -> dict[str, torch.Tensor]:
    crops = CropDataset(load_examples((Source("clip"),), DataFolders(data)), depth_recipe())
    return default_collate([crops[i] for i in range(size)])


def test_a_loss_that_is_not_finite_stops_the_run(data):
    model = compact.Model(compact.Settings())
    with torch.no_grad():
        model.network.head.bias.fill_(torch.nan)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(DepthRosError, match="not finite at step 7: lower the learning rate"):
        loop.train_step(Objective(compact, model), optimiser, first_batch(data, 2), 7)


def test_the_loss_of_one_batch_falls(data):
    torch.manual_seed(0)
    model = compact.Model(compact.Settings())
    compact.initialise(model)
    batch = first_batch(data, 4)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    objective = Objective(compact, model)
    losses = [loop.train_step(objective, optimiser, batch, step)["abs_rel"] for step in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_monodepth_learns_from_pairs_alone(data, tmp_path):
    recipe = depth_recipe(
        family="monodepth", crop=CropSettings(128, 128), supervision=StereoPairSupervision(), steps=1,
        batch_size=1,
    )  # fmt: skip
    card = read_card(loop.train(recipe, data, tmp_path / "run"))
    assert card.family == "monodepth" and card.scale == "metric"


@pytest.mark.parametrize(
    ("family", "settings", "scale"),
    [("fcrn", {"backbone": "lite0"}, "metric"), ("mannequin", {"width_divisor": 16}, "up_to_scale")],
)
def test_families_learn_depth_of_the_scale_that_their_card_states(data, tmp_path, family, settings, scale):
    supervision = DepthSupervision(scale)
    recipe = depth_recipe(
        family=family, settings=settings, supervision=supervision, steps=2, validate_every=1
    )
    card = read_card(loop.train(recipe, data, tmp_path / "run"))
    assert (card.family, card.scale) == (family, scale)
    load_model(card)
    assert 0 < float(last_row(tmp_path / "run")["clip abs_rel"]) < 5


def test_fine_tuning_starts_from_the_deployed_model_and_keeps_it_folded(finished_run, data, tmp_path):
    model = finished_run / "small"
    recipe = replace(depth_recipe(settings={"max_depth": 50.0}, steps=3), sources=(Source("clip"),))
    recipe = recipe.fine_tuning(str(model))
    module = loop.build_model(compact, recipe)
    image = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    K = torch.tensor([[[80.0, 0, 48], [0, 80, 32], [0, 0, 1]]])
    shipped = load_model(read_card(model))
    assert torch.equal(module.outputs(image, K)[0], shipped.outputs(image, K)[0])
    card = read_card(loop.train(recipe, data, tmp_path / "second"))
    assert card.settings == {"max_depth": 50.0, "folded": True, "std": False, "std_scale": 1.0}
    line = "clip: without the held-out part"
    assert card.training_data == [f"{line} (first)", line]
    assert not torch.equal(load_model(card).outputs(image, K)[0], shipped.outputs(image, K)[0])


def test_a_model_of_another_family_cannot_be_fine_tuned(small_model):
    recipe = depth_recipe(family="fcrn", base_model=str(small_model))
    with pytest.raises(DepthRosError, match="cannot start from model 'small' of family 'compact'"):
        loop.build_model(fcrn, recipe)


def test_only_the_parameters_that_a_recipe_names_are_trained():
    model = torch.nn.ModuleDict({"trunk": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 1)})
    loop.freeze_others(model, "head")
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    with pytest.raises(DepthRosError, match="train_only is 'tail', with which no parameter starts"):
        loop.freeze_others(model, "tail")


def test_a_fraction_of_the_start_is_kept(small_model):
    recipe = replace(find_recipe("mono").fine_tuning(str(small_model)), settings={}, start_fraction=0.25)
    start, trained = loop.build_model(compact, recipe), loop.build_model(compact, recipe)
    torch.nn.init.ones_(trained.network.head.weight)
    loop.mix_with_start(trained, compact, recipe)
    torch.testing.assert_close(trained.network.head.weight, 0.75 + 0.25 * start.network.head.weight)
    with pytest.raises(DepthRosError, match="start_fraction needs a model to start from"):
        loop.mix_with_start(trained, compact, replace(recipe, base_model=""))
