"""Changes to recipes by --set, and recipe files of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_ros.errors import DepthRosError
from depth_ros.training.optimiser import AdamW, Sgd
from depth_ros.training.recipes import find_recipe
from depth_ros.training.recipes.changes import changed, from_arguments
from depth_ros.training.schedule import PeriodicDecay, StepDecay


def with_set(*arguments: str, name: str = "monodepth_kitti_published"):
    return changed(find_recipe(name), from_arguments(arguments), "--set")


def test_values_have_the_types_of_the_dataclasses():
    recipe = with_set(
        "learning_rate=1e-3", "steps=10", "crop.width=256", "crop.mirror=false", "crop.region=0,0,1,0.8",
        "deployed_size=512,256", "optimiser=sgd", "optimiser.momentum=0.5", "schedule=step_decay",
        "schedule.fractions=0.5,0.9", "settings.encoder=resnet50", "settings.baseline=1",
        "loss_settings.smoothness_weight=1e-2", "description=my own",
    )  # fmt: skip
    assert (recipe.learning_rate, recipe.steps, recipe.description) == (1e-3, 10, "my own")
    assert recipe.crop.width == 256 and recipe.crop.mirror is False
    assert recipe.crop.region == (0.0, 0.0, 1.0, 0.8) and recipe.deployed_size == (512, 256)
    assert recipe.optimiser == Sgd(0.5) and recipe.schedule == StepDecay((0.5, 0.9), 0.5)
    assert recipe.settings == {"encoder": "resnet50", "baseline": 1.0}
    assert recipe.loss_settings == {"smoothness_weight": 0.01}
    unchanged = find_recipe("monodepth_kitti_published")
    assert recipe.sources == unchanged.sources and recipe.batch_size == unchanged.batch_size
    assert with_set("deployed_size=none").deployed_size is None


def test_nested_settings_of_the_supervision():
    recipe = with_set("supervision.clips.min_image_motion=1.5", name="sfmlearner_kitti_published")
    assert recipe.supervision.clips.min_image_motion == 1.5 and recipe.supervision.clips.frames == 3


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("rate=1", "unknown key 'rate'; allowed keys: name, crop,"),
        ("crop.length=1", "unknown key 'crop.length'; allowed keys: crop.width, crop.height"),
        ("crop=1", "no single value; allowed keys: crop.width"),
        ("crop.colours=red", "crop.colours is 'red'; allowed: none, strong"),
        ("steps=ten", "steps is 'ten'; it must be of type int"),
        ("crop.mirror=1", "crop.mirror is '1'; it must be of type bool"),
        ("deployed_size=1,2,3", "must be 2 values"),
        ("settings.depth=1", "unknown key 'depth'; allowed keys: encoder"),
        ("settings.encoder=vg", "'encoder' is 'vg'; allowed: 'vgg'"),
        ("settings.baseline=0", "must be at least 0.001"),
        ("loss_settings.x=1", "unknown key 'x'; allowed keys: ssim_weight"),
        ("optimiser=adagrad", "optimiser is 'adagrad'; allowed: adamw, adam, sgd"),
        ("optimiser.momentum=1", "unknown key 'optimiser.momentum'; allowed keys: optimiser.beta1"),
        ("family=fcrn", "unknown key 'family'"),
        ("steps", "write KEY=VALUE"),
    ],
)
def test_errors_name_what_is_allowed(argument, message):
    with pytest.raises(DepthRosError, match=message):
        with_set(argument)


def test_a_yaml_recipe_is_a_base_and_changes(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(
        "base: mono_indoor\nlearning_rate: 1e-4\ncrop: {width: 160, height: 96}\nschedule: periodic_decay\n"
        "schedule.every: 50\nsources:\n  - hall\n  - {folder: yard, part: all, every: 2, masks: yard_masks}\n"
        "validation: []\n"
    )
    recipe, base = find_recipe(str(file)), find_recipe("mono_indoor")
    assert (recipe.name, recipe.family, recipe.learning_rate) == ("robot", "compact", 1e-4)
    assert recipe.crop.size == (160, 96) and recipe.crop.max_roll == base.crop.max_roll
    assert recipe.schedule == PeriodicDecay(every=50) and recipe.optimiser == AdamW()
    hall, yard = recipe.sources
    assert (hall.folder, hall.part) == ("hall", "training")
    assert (yard.folder, yard.part, yard.every, yard.options.masks) == ("yard", "all", 2, "yard_masks")
    assert recipe.validation == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 3\n", "needs `base: RECIPE`"),
        ("base: mono_indor\n", "unknown recipe 'mono_indor'"),
        ("base: mono_indoor\nrate: 1\n", "own.yaml: unknown key 'rate'"),
        ("base: mono_indoor\nsources: [{folder: a, parts: all}]\n", "unknown key 'parts' of a source"),
        ("base: mono_indoor\nsources: [{folder: a, part: some}]\n", "part is 'some'; allowed: training"),
        ("base: mono_indoor\nsources: [{part: all}]\n", "a source needs `folder`"),
        ("base: [\n", "cannot be read"),
    ],
)
def test_errors_of_yaml_recipes_name_the_file(text, message, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(DepthRosError, match=message):
        find_recipe(str(file))


def test_a_python_recipe_is_what_its_function_returns(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom depth_ros.training.recipes import find_recipe\n\n\n"
        "def recipe():\n    return replace(find_recipe('mono_indoor'), name='mine', steps=7)\n"
    )
    assert (find_recipe(str(file)).name, find_recipe(str(file)).steps) == ("mine", 7)
    file.write_text("recipe = None\n")
    with pytest.raises(DepthRosError, match="TypeError"):
        find_recipe(str(file))
    file.write_text("steps = 7\n")
    with pytest.raises(DepthRosError, match="define `def recipe"):
        find_recipe(str(file))
    with pytest.raises(DepthRosError, match="no recipe file"):
        find_recipe(str(Path("missing.yaml")))
