"""The models of a family that learns from video, loaded together: depth, ego-motion and, if any, object motion.

They are separate models on disk. Training writes NAME, NAME_ego_motion and NAME_object_motion into one folder, the
import of released checkpoints FAMILY_depth, FAMILY_ego_motion and FAMILY_object_motion.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from depth_ros.card import Card, find_card, load_model, read_card
from depth_ros.errors import DepthRosError
from depth_ros.networks import Family, family


@dataclass(frozen=True)
class VideoModels:
    """card: of the depth model. models: by task, as the loss of the family `module` takes them.

    clip_length: number of frames that ego-motion is predicted from. has_object_motion: whether the model of task
    object_motion is a trained one.
    """

    card: Card
    module: Family
    models: nn.ModuleDict
    clip_length: int
    has_object_motion: bool


def load_video_models(model: str) -> VideoModels:
    """The models of a family by task, each with its own settings. model: name or folder of the depth model.

    Raises DepthRosError if it is no depth model of a family that learns from video, or its ego-motion model is missing.
    """
    card = find_card(model)
    module = family(card.family)
    if card.task != "depth" or not hasattr(module, "join_models"):
        raise DepthRosError(
            f"model '{model}' is for task '{card.task}', of family '{card.family}'; only depth models of "
            "families trained on video can be refined"
        )
    cards = cards_by_task(card, module)
    models = module.join_models({task: load_model(each) for task, each in cards.items()})
    return VideoModels(card, module, models, cards["ego_motion"].frames, "object_motion" in cards)


def cards_by_task(card: Card, module: Family) -> dict[str, Card]:
    """The cards of a depth model and of the models beside it, by task; that of object motion may be missing."""
    folder, name = card.path.parent, card.path.name
    cards = {"depth": card}
    for task in module.MODELS:
        names = names_beside(card, task)
        found = [read_card(folder / each) for each in names if (folder / each / "card.yaml").is_file()]
        if found and (found[0].family, found[0].task) == (card.family, task):
            cards[task] = found[0]
    if "ego_motion" not in cards:
        raise DepthRosError(
            f"depth model '{card.path}' has no model of task 'ego_motion' of family '{card.family}' beside it "
            f"({name.removesuffix('_depth')}_ego_motion): import or train both into the same folder"
        )
    return cards


def names_beside(card: Card, task: str) -> list[str]:
    """The names that the model of a task may have that was trained or imported together with that of a card."""
    name = card.path.name
    stem = name.removesuffix(f"_{card.task}")
    names = [f"{name}_{task}", f"{stem}_{task}", *([stem] if task == "depth" else [])]
    return list(dict.fromkeys(names))
