"""Every recipe fits its family, and its data fits the loss of the family."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_recipes import DEPTH_ANYTHING
from torch.utils.data import default_collate

from depth_ros.card import SCALES, TASKS, find_card
from depth_ros.config import settings_from
from depth_ros.errors import DepthRosError
from depth_ros.networks import families, family
from depth_ros.training import export, loop
from depth_ros.training.data.source import DataFolders, held_out
from depth_ros.training.dataset import CropDataset
from depth_ros.training.objective import Objective
from depth_ros.training.recipes import CropSettings, Recipe, Source, find_recipe, recipe_names
from depth_ros.training.supervision.disparity import DisparitySupervision
from depth_ros.training.supervision.planes import PlaneSupervision
from depth_ros.training.supervision.stereo_pairs import StereoPairSupervision
from depth_ros.training.supervision.video import VideoSupervision

every_recipe = pytest.mark.parametrize("name", recipe_names())


def with_imported_settings(recipe: Recipe) -> Recipe:
    """The recipe with the settings of an imported model, if it is for such models only."""
    if recipe.family != "hugging_face":
        return recipe
    pytest.importorskip("transformers", reason="optional: pip install transformers")
    return replace(recipe, settings={"config": DEPTH_ANYTHING})


def build_on_meta(recipe: Recipe) -> torch.nn.Module:
    """The model of a recipe without memory for its weights. Raises DepthRosError if its settings are not allowed."""
    with torch.device("meta"):
        recipe = with_imported_settings(recipe)
        return loop.build_model(family(recipe.family), recipe)


@every_recipe
def test_a_recipe_states_name_licence_and_terms(name):
    recipe = find_recipe(name)
    assert recipe.name == name and recipe.description and recipe.licence
    data, start = str(recipe.sources), recipe
    while start.start_recipe:
        start = find_recipe(start.start_recipe)
        data += str(start.sources)
    restricted = any(each in data for each in ("kitti", "cityscapes", "scannet"))
    assert restricted == ("non-commercial" in recipe.terms.lower())


@every_recipe
def test_settings_and_loss_settings_are_those_of_the_family(name):
    recipe = find_recipe(name)
    assert recipe.family in families()
    module = family(recipe.family)
    settings_from(module.Settings, recipe.settings, name)
    loop.loss_settings(module, recipe)


@every_recipe
def test_sizes_are_multiples_of_those_of_the_family(name):
    recipe = find_recipe(name)
    model = build_on_meta(recipe)
    for part in model.values() if isinstance(model, torch.nn.ModuleDict) else [model]:
        for width, height in (recipe.crop.size, recipe.deployed_size or recipe.crop.size):
            assert width % part.size_multiple == height % part.size_multiple == 0


@every_recipe
def test_the_supervision_fits_the_task_of_the_family(name):
    recipe = find_recipe(name)
    module, supervision = family(recipe.family), recipe.supervision
    assert supervision.scale in SCALES and supervision.evaluation_task in TASKS
    assert isinstance(supervision, VideoSupervision) == hasattr(module, "build_training_model")
    assert isinstance(supervision, DisparitySupervision) == (module.TASK == "stereo_depth")
    assert isinstance(supervision, StereoPairSupervision) == (recipe.family == "monodepth")
    assert isinstance(supervision, PlaneSupervision) == (module.TASK == "planes")
    if isinstance(supervision, PlaneSupervision):
        assert supervision.max_planes == recipe.settings["planes"]


@every_recipe
def test_a_recipe_starts_from_weights_that_exist_and_fit(name):
    recipe = find_recipe(name)
    if recipe.matching_weights_from:
        find_card(recipe.matching_weights_from)
    if recipe.start_recipe:
        start = find_recipe(recipe.start_recipe)
        assert start.family == recipe.family
        trained, own = (build_on_meta(each).state_dict() for each in (start, recipe))
        assert {key: own[key].shape for key in trained} == {key: v.shape for key, v in trained.items()}


@every_recipe
def test_validation_folders_are_among_the_sources_or_whole_recordings(name):
    recipe = find_recipe(name)
    sources = {source.folder: source for source in recipe.sources}
    for each in recipe.validation:
        trained_on = sources.get(each.folder)
        assert (
            trained_on is None
            or (each.part == "held_out" and trained_on.part == "training")
            or each.is_rendered
            or each.options.image_list != trained_on.options.image_list
        )


def smallest(recipe: Recipe) -> Recipe:
    """The recipe on one rendered example, at a small size and, where its family can, with few channels."""
    module, recipe = family(recipe.family), with_imported_settings(recipe)
    settings = dict(recipe.settings)
    if hasattr(module.Settings, "width_divisor"):
        settings["width_divisor"] = 8
    if recipe.family == "monodepth":
        settings["encoder"] = "resnet50"
    kind = {DisparitySupervision: "pairs", VideoSupervision: "street", StereoPairSupervision: "street"}
    source = Source(f"world:{kind.get(type(recipe.supervision), 'room')}", count=1, frames=3)
    side = {"monodepth": 128, "hugging_face": 56}.get(recipe.family, 64)
    return replace(
        recipe, settings=settings, sources=(source,), crop=CropSettings(2 * side, side), batch_size=1
    )


ONE_RECIPE_PER_FAMILY = {find_recipe(name).family: name for name in recipe_names()}


@pytest.mark.parametrize("name", ONE_RECIPE_PER_FAMILY.values())
def test_the_loss_of_the_family_takes_the_crops_of_the_supervision(name):
    recipe = smallest(find_recipe(name))
    module = family(recipe.family)
    torch.manual_seed(0)
    objective = Objective(module, loop.build_model(module, recipe), loop.loss_settings(module, recipe))
    items = recipe.supervision.load_training_data(recipe.sources, recipe.crop, DataFolders(Path()))
    batch = default_collate([CropDataset(items, recipe)[0]] * 2)
    terms = objective(batch, 0)
    assert terms["loss"].isfinite() and terms["loss"].requires_grad


def test_an_unknown_recipe_is_an_error_that_lists_the_known():
    with pytest.raises(DepthRosError, match="unknown recipe 'depth'; known are mono, mono_driving"):
        find_recipe("depth")


def test_a_recipe_on_other_folders_keeps_its_rendered_data():
    sources, validation = (Source("hall"), Source("yard")), (held_out("hall"),)
    recipe = find_recipe("mono_indoor").on_recordings(sources, validation)
    assert recipe.name == "mono_indoor_own" and recipe.validation == validation
    own = find_recipe("mono").on_recordings([Source("hall")], [held_out("hall")])
    assert own.calibration == (Source("hall", part="calibration"),)
    assert recipe.sources == (Source("hall"), Source("yard"), Source("world:room", count=240))


def test_fine_tuning_replaces_the_other_initial_weights():
    recipe = find_recipe("planes_indoor").fine_tuning("mine").on_recordings([Source("hall")], [])
    assert recipe.name == "planes_indoor_own" and recipe.base_model == "mine"
    assert not recipe.matching_weights_from and not recipe.start_recipe


def test_fewer_steps_validate_at_least_once():
    recipe = find_recipe("mono_indoor").with_steps(20)
    assert recipe.steps == recipe.validate_every == 20


def test_the_card_of_a_recipe_on_other_recordings_names_these_alone():
    recipe = find_recipe("mono_indoor").on_recordings([Source("bags/robot.mcap")], [])
    assert recipe.description == "Metric depth from one camera in rooms, trained on robot.mcap"
    assert "hololens" not in recipe.terms and "robot.mcap" in recipe.terms
    assert recipe.licence == "as the recordings that it was trained on"


def test_terms_of_initial_weights_are_kept():
    recipe = find_recipe("mono_driving").on_recordings([Source("hall")], [])
    assert "Non-commercial" in recipe.terms and "hall" in recipe.terms and "CC BY-NC-SA" in recipe.licence


def test_a_fine_tuned_model_inherits_licence_and_terms():
    own = find_recipe("mono_indoor").fine_tuning("mono_driving").on_recordings([Source("hall")], [])
    assert export.licence(own) == find_card("mono_driving").licence
    assert export.terms(own).startswith(find_card("mono_driving").terms) and "hall" in export.terms(own)
    recipe = find_recipe("mono_indoor").fine_tuning("mono_driving")
    assert export.licence(recipe) == f"{find_card('mono_driving').licence}; Apache-2.0"
