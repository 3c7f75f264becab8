"""Initial weights of a training run, and checkpoints that cannot be resumed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_recipes import depth_recipe
from torch import nn

from depth_ros.card import load_model, read_card
from depth_ros.errors import DepthRosError
from depth_ros.networks import compact, planenet, sfmlearner
from depth_ros.training import loop
from depth_ros.training.checkpoint import load_initial_weights, resume, save_checkpoint
from depth_ros.training.export import export
from depth_ros.training.recipes import CropSettings, Recipe, find_recipe


def sfmlearner_recipe(name: str, explain: bool, start_recipe: str = "") -> Recipe:
    return Recipe(
        name=name, family="sfmlearner", crop=CropSettings(64, 32), sources=(), validation=(), description="",
        licence="", terms="", settings={"width_divisor": 8, "explain": explain}, start_recipe=start_recipe,
    )  # fmt: skip


def save_trained(folder: Path, explain: bool) -> nn.Module:
    """Random weights as `train first` would have left them below `folder`."""
    model = loop.build_model(sfmlearner, sfmlearner_recipe("first", explain))
    sfmlearner.initialise(model)
    average = torch.optim.swa_utils.AveragedModel(model)
    (folder / "first").mkdir()
    torch.save({"average": average.state_dict()}, folder / "first" / "checkpoint.pt")
    return model


@pytest.mark.parametrize("explain", [False, True])
def test_all_trained_weights_of_the_start_recipe_are_kept(tmp_path, explain):
    first = save_trained(tmp_path, explain).state_dict()
    recipe = sfmlearner_recipe("second", explain=True, start_recipe="first")
    second = loop.build_model(sfmlearner, recipe)
    load_initial_weights(second, sfmlearner, recipe, tmp_path / "second")
    state = second.state_dict()
    assert all(torch.equal(state[key], value) for key, value in first.items())
    assert (set(state) == set(first)) is explain


def test_a_new_branch_is_initialised_by_the_family(tmp_path):
    save_trained(tmp_path, explain=False)
    recipe = sfmlearner_recipe("second", explain=True, start_recipe="first")
    second = loop.build_model(sfmlearner, recipe)
    with torch.no_grad():
        for value in second.parameters():
            value.fill_(torch.nan)
    load_initial_weights(second, sfmlearner, recipe, tmp_path / "second")
    assert all(value.isfinite().all() for value in second.parameters())


def test_a_start_recipe_with_another_branch_is_an_error(tmp_path):
    save_trained(tmp_path, explain=True)
    recipe = sfmlearner_recipe("second", explain=False, start_recipe="first")
    model = loop.build_model(sfmlearner, recipe)
    with pytest.raises(
        DepthRosError, match=r"'second' cannot start from 'first', whose 'ego_motion\.network"
    ):
        load_initial_weights(model, sfmlearner, recipe, tmp_path / "second")


def test_a_start_recipe_that_was_not_trained_is_an_error(tmp_path):
    recipe = sfmlearner_recipe("second", explain=False, start_recipe="first")
    model = loop.build_model(sfmlearner, recipe)
    with pytest.raises(DepthRosError, match=r"checkpoint.pt is missing: run `depth_ros train first --out"):
        load_initial_weights(model, sfmlearner, recipe, tmp_path / "second")


def test_weights_of_the_same_name_and_shape_are_taken_from_another_model(tmp_path):
    torch.manual_seed(0)
    path = export(compact.Model(compact.Settings()), depth_recipe(), tmp_path / "given")
    given = load_model(read_card(path)).state_dict()
    recipe = replace(find_recipe("planes_indoor"), matching_weights_from=str(path))
    model = loop.build_model(planenet, recipe)
    load_initial_weights(model, planenet, recipe, tmp_path / "run")
    state = model.state_dict()
    shared = {key for key in state if key in given and given[key].shape == state[key].shape}
    assert len(shared) > 100 and set(state) - shared
    assert all(torch.equal(state[key], given[key]) for key in shared)


def saved_checkpoint(file: Path) -> dict[str, nn.Module]:
    parts = {"model": nn.Linear(2, 3)}
    save_checkpoint(file, depth_recipe(), parts, 4)
    return parts


def test_a_checkpoint_restores_state_and_step(tmp_path):
    parts, fresh = saved_checkpoint(tmp_path / "checkpoint.pt"), {"model": nn.Linear(2, 3)}
    assert resume(tmp_path / "checkpoint.pt", depth_recipe(), fresh, "cpu") == 4
    assert torch.equal(fresh["model"].weight, parts["model"].weight)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_without_a_checkpoint_a_run_starts_at_step_zero(tmp_path):
    assert resume(tmp_path / "checkpoint.pt", depth_recipe(), {}, "cpu") == 0


def test_a_checkpoint_of_another_recipe_is_an_error(tmp_path):
    parts = saved_checkpoint(tmp_path / "checkpoint.pt")
    with pytest.raises(DepthRosError, match="belongs to recipe 'small', not 'other'"):
        resume(tmp_path / "checkpoint.pt", depth_recipe(name="other"), parts, "cpu")


def test_a_checkpoint_of_another_model_is_an_error(tmp_path):
    saved_checkpoint(tmp_path / "checkpoint.pt")
    with pytest.raises(
        DepthRosError, match=r"(?s)checkpoint\.pt cannot be resumed.*size mismatch.*delete it"
    ):
        resume(tmp_path / "checkpoint.pt", depth_recipe(), {"model": nn.Linear(5, 3)}, "cpu")


def test_a_damaged_checkpoint_is_an_error(tmp_path):
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(b"half")
    with pytest.raises(DepthRosError, match=r"checkpoint\.pt cannot be resumed.*delete it"):
        resume(file, depth_recipe(), {}, "cpu")
