"""Fine-tuning of any model of a family: settings and weights of the model, of all its tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_recipes import DEPTH_ANYTHING, video_recipe
from torch import nn

from depth_ros.card import Card, load_model, read_card
from depth_ros.errors import DepthRosError
from depth_ros.networks import family, sfmlearner
from depth_ros.training.base_model import fine_tuning, load_base_model
from depth_ros.training.export import save_model
from depth_ros.training.loop import build_model, train
from depth_ros.training.recipes import find_recipe

SIZE = (64, 64)


def save(
    folder: Path, family_name: str, task: str, model: nn.Module, settings: dict, frames: int = 1
) -> Card:
    """A model as an import writes it."""
    scale = "metric" if family_name in ("fcrn", "planenet", "hugging_face") else "up_to_scale"
    card = Card(
        folder.name,
        task,
        family_name,
        *SIZE,
        scale,
        "test",
        "",
        settings=settings,
        frames=frames,
        path=folder,
    )
    save_model(model.eval(), card)
    return read_card(folder)


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    """SfMLearner's models as imported, with settings that differ from those of the recipes."""
    folder = tmp_path_factory.mktemp("imported")
    settings = {"padding": "even", "frames": 5, "width_divisor": 16}
    torch.manual_seed(1)
    models = sfmlearner.build_training_model(sfmlearner.Settings(**settings))
    sfmlearner.initialise(models)
    for task, model in models.items():
        save(
            folder / f"sfmlearner_{task}",
            "sfmlearner",
            task,
            model,
            settings,
            frames=5 if task != "depth" else 1,
        )
    return folder


@pytest.mark.parametrize("given", ["", "sfmlearner_depth", "sfmlearner_ego_motion"])
def test_models_of_all_tasks_and_their_settings_are_taken(imported, given):
    recipe = fine_tuning(find_recipe("sfmlearner_street"), str(imported / given))
    assert recipe.supervision.frames == 5 and not recipe.settings and not recipe.start_recipe
    models = build_model(family("sfmlearner"), recipe)
    assert isinstance(models, nn.ModuleDict) and set(models) == {"depth", "ego_motion"}
    for task, model in models.items():
        expected = load_model(read_card(imported / f"sfmlearner_{task}")).state_dict()
        assert (model.settings.padding, model.settings.width_divisor) == ("even", 16)
        for key, value in model.state_dict().items():
            assert torch.equal(value, expected[key])


def test_a_missing_task_gets_initial_weights_and_a_warning(imported, tmp_path, caplog):
    (tmp_path / "alone").mkdir()
    for file in (imported / "sfmlearner_depth").iterdir():
        (tmp_path / "alone" / file.name).write_bytes(file.read_bytes())
    recipe = fine_tuning(find_recipe("sfmlearner_street"), str(tmp_path / "alone"))
    models = load_base_model(family("sfmlearner"), recipe)
    assert models["ego_motion"].settings.frames == 5 and "no model for ego_motion" in caplog.text


def test_a_recipe_of_another_family_is_refused(imported):
    with pytest.raises(
        DepthRosError, match="trains family 'vid2depth' and cannot start from model 'sfmlearner_depth'"
    ):
        fine_tuning(find_recipe("vid2depth_street"), str(imported / "sfmlearner_depth"))
    with pytest.raises(DepthRosError, match=r"needs a model of family 'fcrn'; .* holds sfmlearner_depth"):
        fine_tuning(find_recipe("fcrn_indoor"), str(imported))


def test_training_from_imported_models_writes_models_of_all_tasks(imported, tmp_path):
    recipe = replace(video_recipe(family="sfmlearner", steps=1), sources=video_recipe().sources)
    recipe = replace(recipe, sources=tuple(replace(each, frames=5) for each in recipe.sources), validation=())
    # cnv7 gets 1/64 of the width: with 1 px, oneDNN returns undefined gradients in bfloat16 (torch 2.13)
    recipe = replace(fine_tuning(recipe, str(imported)), crop=replace(recipe.crop, width=128))
    path = train(recipe, tmp_path, tmp_path / "run", workers=0)
    assert read_card(path).settings["padding"] == "even"
    assert read_card(path.with_name(f"{path.name}_ego_motion")).frames == 5


def test_the_settings_of_a_supervised_model_replace_those_of_the_recipe(tmp_path):
    module = family("planenet")
    settings = {"network": "lite", "planes": 7, "crf_iterations": 0}
    card = save(tmp_path / "mine", "planenet", "planes", module.Model(module.Settings(**settings)), settings)
    recipe = fine_tuning(find_recipe("planes_indoor"), str(card.path))
    assert recipe.supervision.max_planes == 7
    model = build_model(module, recipe)
    assert (model.settings.planes, model.settings.fitted) == (7, False)
    recipe = replace(recipe, settings={"matching": "hungarian"})
    assert build_model(module, recipe).settings.matching == "hungarian"


def test_networks_of_libraries_keep_the_size_of_their_import(tmp_path):
    pytest.importorskip("transformers", reason="optional: pip install transformers")
    module = family("hugging_face")
    settings = {"config": DEPTH_ANYTHING}
    card = save(tmp_path / "da", "hugging_face", "depth", module.Model(module.Settings(**settings)), settings)
    recipe = fine_tuning(find_recipe("depth_anything"), str(card.path))
    assert recipe.deployed_size == (card.width, card.height) != recipe.crop.size
    assert not any(p.requires_grad for p in build_model(module, recipe).network.backbone.parameters())
