"""A recipe that begins with another's weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from depth_ros.errors import DepthRosError
from depth_ros.networks import sfmlearner
from depth_ros.training import loop
from depth_ros.training.recipes import Recipe


def made(name: str, explain: bool, start: str = "") -> Recipe:
    return Recipe(
        name=name, family="sfmlearner", width=64, height=32, sources=(), validation=(), description="", licence="",
        terms="", settings={"narrow": 8, "explain": explain}, start=start,
    )  # fmt: skip


def trained(folder: Path, explain: bool) -> nn.Module:
    """Random weights as `train first` would have left them below `folder`."""
    model = loop.learner(sfmlearner, made("first", explain))
    sfmlearner.initialise(model)
    average = torch.optim.swa_utils.AveragedModel(model)
    (folder / "first").mkdir()
    torch.save({"average": average.state_dict()}, folder / "first" / "checkpoint.pt")
    return model


@pytest.mark.parametrize("explain", [False, True])
def test_all_that_the_first_recipe_learned_is_kept(tmp_path, explain):
    first = trained(tmp_path, explain).state_dict()
    recipe = made("second", explain=True, start="first")
    second = loop.learner(sfmlearner, recipe)
    loop.begin(second, sfmlearner, recipe, tmp_path / "second")
    state = second.state_dict()
    assert all(torch.equal(state[key], value) for key, value in first.items())
    assert (set(state) == set(first)) is explain


def test_a_new_branch_begins_as_the_family_initialises_it(tmp_path):
    trained(tmp_path, explain=False)
    recipe = made("second", explain=True, start="first")
    second = loop.learner(sfmlearner, recipe)
    with torch.no_grad():
        for value in second.parameters():
            value.fill_(torch.nan)
    loop.begin(second, sfmlearner, recipe, tmp_path / "second")
    assert all(value.isfinite().all() for value in second.parameters())


def test_a_branch_that_the_second_lacks_is_no_start(tmp_path):
    trained(tmp_path, explain=True)
    recipe = made("second", explain=False, start="first")
    with pytest.raises(DepthRosError, match=r"'first'.*has 'ego_motion\.network"):
        loop.begin(loop.learner(sfmlearner, recipe), sfmlearner, recipe, tmp_path / "second")
