"""The model that a recipe fine-tunes: any model of its family, trained or imported."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from depth_ros.card import Card, find_card, load_model, read_card
from depth_ros.config import settings_from
from depth_ros.errors import DepthRosError
from depth_ros.estimators.video_models import names_beside
from depth_ros.networks import Family, family
from depth_ros.training.recipes import Recipe
from depth_ros.training.supervision.planes import PlaneSupervision
from depth_ros.training.supervision.video import VideoSupervision

log = logging.getLogger("depth_ros.training")


def fine_tuning(recipe: Recipe, model: str) -> Recipe:
    """The recipe applied to the weights and settings of a model of its family.

    model: name or folder of a model or, of a family that trains several models together, a folder that holds them, such
    as the one that `depth_ros import` wrote. The settings of the recipe do not apply: `--set settings.NAME=VALUE`
    changes those of the model. Raises DepthRosError if there is no such model.
    """
    card = base_card(recipe, model)
    changes: dict[str, Any] = {"supervision": recipe.supervision, "settings": {}}
    if not family(recipe.family).NETWORKS:  # built by a library: runs at the size of its import
        changes["deployed_size"] = (card.width, card.height)
    if isinstance(recipe.supervision, PlaneSupervision):
        changes["supervision"] = PlaneSupervision(int(_settings(card)["planes"]))
    if isinstance(recipe.supervision, VideoSupervision):
        motion = base_cards(card).get("ego_motion", card)
        frames = int(_settings(motion).get("frames", recipe.supervision.frames))
        clips = dataclasses.replace(recipe.supervision.clips, frames=frames)
        changes["supervision"] = dataclasses.replace(recipe.supervision, clips=clips)
    return dataclasses.replace(recipe.fine_tuning(str(card.path)), **changes)


def base_card(recipe: Recipe, model: str) -> Card:
    """The card of a model of the recipe's family, that for depth if there are several."""
    folder = Path(model)
    if folder.is_dir() and not (folder / "card.yaml").is_file():
        cards = [read_card(file.parent) for file in sorted(folder.glob("*/card.yaml"))]
        fitting = [card for card in cards if card.family == recipe.family]
        if not fitting:
            names = ", ".join(f"{card.name} ({card.family})" for card in cards) or "no model"
            raise DepthRosError(
                f"recipe '{recipe.name}' needs a model of family '{recipe.family}'; {folder} holds {names}"
            )
        return next((card for card in fitting if card.task == "depth"), fitting[0])
    card = find_card(model)
    if card.family != recipe.family:
        raise DepthRosError(
            f"recipe '{recipe.name}' trains family '{recipe.family}' and cannot start from model '{card.name}' of "
            f"family '{card.family}': use a recipe of that family"
        )
    return card


def base_cards(card: Card) -> dict[str, Card]:
    """The card and those of the other tasks beside it, by task."""
    module, found = family(card.family), {card.task: card}
    for task in getattr(module, "MODELS", {}):
        for name in names_beside(card, task):
            folder = card.path.parent / name
            if task not in found and (folder / "card.yaml").is_file():
                other = read_card(folder)
                if (other.family, other.task) == (card.family, task):
                    found[task] = other
    return found


def load_base_model(module: Family, recipe: Recipe) -> nn.Module:
    """The module to train, with the weights of `recipe.base_model` and of the models beside it.

    Settings of the recipe replace those of the models. Tasks that no model beside it has get initial weights, which is
    logged.
    """
    card = base_card(recipe, recipe.base_model)
    if not hasattr(module, "build_training_model"):
        return load_model(_with_settings(card, recipe.settings))
    cards = base_cards(card)
    new = [task for task in module.MODELS if task not in cards]
    models = {task: load_model(_with_settings(each, recipe.settings)) for task, each in cards.items()}
    if new:
        log.warning("%s: no model for %s beside it: initial weights", card.path, " and ".join(new))
        settings = settings_from(
            module.Settings, {**card.settings, **recipe.settings}, f"recipe {recipe.name}"
        )
        fresh = module.build_training_model(settings)
        module.initialise(fresh)
        models |= {task: fresh[task] for task in new if task in fresh}
    return module.join_models(models)


def _settings(card: Card) -> Mapping[str, Any]:
    """All settings of a model, also those that its card leaves at their defaults."""
    return dataclasses.asdict(settings_from(family(card.family).Settings, card.settings, str(card.path)))


def _with_settings(card: Card, settings: Mapping[str, Any]) -> Card:
    return dataclasses.replace(card, settings={**card.settings, **settings})
