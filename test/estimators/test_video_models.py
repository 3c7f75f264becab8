"""The models of a video family are found beside the depth model, as training and as the import name them."""

from __future__ import annotations

import pytest
import torch

from depth_ros.card import Card
from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.estimators.refinement import PUBLISHED, ClipRefiner
from depth_ros.estimators.video_models import load_video_models
from depth_ros.networks import family
from depth_ros.training.export import save_model
from depth_ros.world import World, WorldSettings


def save(name: str, task: str, folder, **settings):
    """A random model of a task as `folder`."""
    module = family(name)
    torch.manual_seed(0)
    model = module.MODELS[task](module.Settings(width_divisor=16, **settings)).eval()
    frames = 1 if task == "depth" else settings.get("frames", 3)
    card = Card(
        folder.name, task, name, 64, 32, "up_to_scale", "none", "", frames=frames, path=folder,
        settings={"width_divisor": 16, **settings},
    )  # fmt: skip
    save_model(model, card)
    return model


@pytest.mark.parametrize(
    "names", [("wild", "wild_ego_motion"), ("sfmlearner_depth", "sfmlearner_ego_motion")]
)
def test_each_model_has_its_own_settings(tmp_path, names):
    """As imported: the depth network with TensorFlow's padding, the pose network of five frames with the port's."""
    depth = save("sfmlearner", "depth", tmp_path / names[0], padding="same")
    motion = save("sfmlearner", "ego_motion", tmp_path / names[1], padding="even", frames=5, explain=True)
    loaded = load_video_models(str(tmp_path / names[0]))
    assert loaded.clip_length == 5 and not loaded.has_object_motion
    for task, model in (("depth", depth), ("ego_motion", motion)):
        state = loaded.models[task].state_dict()
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_models_of_three_tasks_share_their_networks(tmp_path):
    for task in ("depth", "ego_motion", "object_motion"):
        save("struct2depth", task, tmp_path / f"struct2depth_{task}")
    loaded = load_video_models(str(tmp_path / "struct2depth_depth"))
    assert loaded.has_object_motion and loaded.clip_length == 3
    assert loaded.models["object_motion"].depth is loaded.models["depth"]
    assert loaded.models["object_motion"].ego_motion is loaded.models["ego_motion"]


@pytest.mark.parametrize("name", ["sfmlearner", "vid2depth", "struct2depth"])
def test_imported_models_of_all_families_can_be_refined(tmp_path, name):
    """Without a model of object motion too: older checkpoints of struct2depth have none."""
    for task in ("depth", "ego_motion"):
        save(name, task, tmp_path / f"{name}_{task}")
    world = World(WorldSettings(kind="street", seed=2, frames=3, width=64, height=32))
    frames: list[Frame] = [world[i].left for i in range(3)]
    settings = PUBLISHED.__class__(**{**vars(PUBLISHED), "steps": 2, "min_translation": 0.0})
    refiner = ClipRefiner(str(tmp_path / f"{name}_depth"), settings)
    refined, trained = refiner.refined_depth(frames).depth, refiner.trained_depth(frames[1]).depth
    assert refiner.outcomes == {"refined": 1} and (refined != trained).mean() > 0.9


def test_a_missing_motion_model_is_named(tmp_path):
    save("sfmlearner", "depth", tmp_path / "sfmlearner_depth")
    with pytest.raises(DepthRosError, match=r"has no model of task 'ego_motion'.*sfmlearner_ego_motion"):
        load_video_models(str(tmp_path / "sfmlearner_depth"))
