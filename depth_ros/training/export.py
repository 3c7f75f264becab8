"""Export of trained modules as models: card, safetensors and check image, compared with the trained module."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from depth_ros.card import Card, checksum, extra_inputs, find_card, load_model, write_card
from depth_ros.engine.check import check_inputs, disagreement
from depth_ros.errors import DepthRosError
from depth_ros.networks import family
from depth_ros.training.recipes import Recipe, find_recipe
from depth_ros.training.recipes.recipe import OWN_LICENCE
from depth_ros.world import World, WorldSettings

CHECK_IMAGE_SEED = 1_000_000
"""Seed of the rendered check image."""


def export(
    model: nn.Module, recipe: Recipe, path: Path, mean_inverse_depth: np.ndarray | None = None
) -> Path:
    """Write a trained module into the folder `path`. Of several by task, the one for depth is written there and the
    others into `path`_TASK beside it.

    mean_inverse_depth: mean f / (width Z) of the training images, 1/m. Raises DepthRosError if the written model
    computes a different result.
    """
    if not isinstance(model, nn.ModuleDict):
        task = getattr(model, "task", family(recipe.family).TASK)
        _export_task(model, task, recipe, path, mean_inverse_depth)
        return path
    for task, part in model.items():
        folder = path if task == "depth" else path.with_name(f"{path.name}_{task}")
        _export_task(part, task, recipe, folder, mean_inverse_depth)
    return path


def _export_task(
    model: nn.Module, task: str, recipe: Recipe, path: Path, mean_inverse_depth: np.ndarray | None
) -> None:
    model = deployable(model, recipe)
    width, height = recipe.deployed_size or recipe.crop.size
    card = Card(
        name=path.name,
        task=task,
        family=recipe.family,
        width=width,
        height=height,
        scale=recipe.supervision.scale,
        licence=licence(recipe),
        fit=recipe.crop.fit,
        region=list(recipe.crop.region),
        sha256="",
        description=recipe.description,
        frames=recipe.supervision.frames if task in ("ego_motion", "object_motion") else 1,
        extra_inputs=extra_inputs(model),
        settings=dataclasses.asdict(model.settings),  # type: ignore[call-overload]
        training_data=training_data(recipe),
        terms=terms(recipe),
        recipe=recipe.command or f"depth_ros train {recipe.name} --steps {recipe.steps}",
        path=path,
    )
    scene_kind = "room" if any(source.folder == "world:room" for source in recipe.sources) else "street"
    save_model(model, card, scene_kind)
    if mean_inverse_depth is not None:
        np.save(card.mean_inverse_depth, (card.width * mean_inverse_depth).astype(np.float16))


def save_model(model: nn.Module, card: Card, scene_kind: str = "street") -> None:
    """Write weights, card with their checksum, and a check image rendered of that kind of scene into `card.path`.

    Raises DepthRosError if the written model computes a different result.
    """
    card.path.mkdir(parents=True, exist_ok=True)
    state = {key: shrunk(value) for key, value in model.state_dict().items() if "num_batches" not in key}
    save_file(state, card.weights)
    card = dataclasses.replace(card, sha256=checksum(card.weights))
    write_card(card)
    size = {"width": card.width, "height": card.height}
    frame = World(WorldSettings(kind=scene_kind, seed=CHECK_IMAGE_SEED, frames=1, **size))[0].left
    cv2.imwrite(str(card.check_image), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
    inputs = check_inputs(card, card.width, card.height, "cpu")
    problem = disagreement(model, load_model(card), inputs)
    if problem:
        raise DepthRosError(
            f"the model written to {card.path} does not compute what the trained module computes: {problem}"
        )


def deployable(model: nn.Module, recipe: Recipe) -> nn.Module:
    """The module on the CPU in evaluation mode, in the form that the `finish` of its family gives it."""
    finish = getattr(family(recipe.family), "finish", lambda model: model)
    return finish(model.to("cpu").eval()).eval()


def shrunk(value: Tensor) -> Tensor:
    """The tensor as bfloat16 where that is lossless, which halves the size of the file."""
    short = value.bfloat16()
    return (short if torch.equal(short.float(), value) else value).contiguous()


def licence(recipe: Recipe) -> str:
    """The licence of the weights: that of the model that the recipe fine-tunes, and that of its own data."""
    if not recipe.base_model:
        return recipe.licence
    base = find_card(recipe.base_model).licence
    return base if recipe.licence in (base, OWN_LICENCE) else f"{base}; {recipe.licence}"


def terms(recipe: Recipe) -> str:
    """The terms of the model that the recipe fine-tunes, of its own data, and the note of the family."""
    inherited = find_card(recipe.base_model).terms if recipe.base_model else ""
    own = [recipe.terms, getattr(family(recipe.family), "LICENCE_NOTE", "")]
    return " ".join(filter(None, [inherited, *(each for each in own if each not in inherited)]))


def training_data(recipe: Recipe) -> list[str]:
    """One line per source for the card, after those of the model or recipe that this recipe starts from."""
    if recipe.base_model:
        earlier = find_card(recipe.base_model).training_data
    elif recipe.start_recipe:
        earlier = training_data(find_recipe(recipe.start_recipe))
    else:
        earlier = []
    first = [line if line.endswith("(first)") else f"{line} (first)" for line in earlier]
    calibration = [f"{each.description}: factor of standard deviations" for each in recipe.calibration]
    return [*first, *(source.description for source in recipe.sources), *calibration]
