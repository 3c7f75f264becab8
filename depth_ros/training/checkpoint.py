"""Initial weights of a training run, and checkpoints to resume it from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from depth_ros.card import find_card, load_model
from depth_ros.errors import DepthRosError
from depth_ros.training.recipes import Recipe

FILE_NAME = "checkpoint.pt"


class InitialisableFamily(Protocol):
    """What `load_initial_weights` needs of a module of `networks`."""

    def initialise(self, model: nn.Module) -> None: ...


class Stateful(Protocol):
    """A part of the training state: a model, an average of its weights, an optimiser."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> object: ...


def load_initial_weights(model: nn.Module, family: InitialisableFamily, recipe: Recipe, out: Path) -> None:
    """Set the weights of a new model as the recipe asks, see `Recipe`.

    out: working folder of the recipe; that of `recipe.start_recipe` is beside it.
    """
    if recipe.base_model:
        return  # loaded with its weights
    if recipe.start_recipe:
        _load_trained(model, family, recipe, out.parent / recipe.start_recipe / FILE_NAME)
        return
    family.initialise(model)
    if recipe.matching_weights_from:
        given, own = load_model(find_card(recipe.matching_weights_from)).state_dict(), model.state_dict()
        matching = {key: given[key] for key in own if key in given and given[key].shape == own[key].shape}
        model.load_state_dict({**own, **matching})
    if recipe.initial_weights:
        _load_part(model, Path(recipe.initial_weights))


def _load_part(model: nn.Module, file: Path) -> None:
    """Replace part of the weights by those of a safetensors file. Raises DepthRosError if one does not fit."""
    given, own = load_file(file), model.state_dict()
    for key, value in given.items():
        if key not in own or own[key].shape != value.shape:
            shape = tuple(own[key].shape) if key in own else "no such tensor"
            raise DepthRosError(
                f"{file}: '{key}' of shape {tuple(value.shape)} does not fit the model: {shape}"
            )
    model.load_state_dict({**own, **given})


def _load_trained(model: nn.Module, family: InitialisableFamily, recipe: Recipe, file: Path) -> None:
    """Load the averaged weights of a checkpoint; branches that it lacks are initialised by the family."""
    if not file.is_file():
        raise DepthRosError(
            f"{file} is missing: run `depth_ros train {recipe.start_recipe} --out {file.parent}` first"
        )
    average = torch.load(file, map_location="cpu", weights_only=True)["average"]
    prefix = "module."
    trained = {key[len(prefix) :]: value for key, value in average.items() if key.startswith(prefix)}
    own = model.state_dict()
    if surplus := sorted(trained.keys() - own.keys()):
        raise DepthRosError(
            f"recipe '{recipe.name}' cannot start from '{recipe.start_recipe}', whose '{surplus[0]}' the model of "
            f"'{recipe.name}' lacks: both recipes need the same family and settings"
        )
    if trained.keys() != own.keys():
        family.initialise(model)
    model.load_state_dict({**model.state_dict(), **trained})


def save_checkpoint(file: Path, recipe: Recipe, parts: Mapping[str, Stateful], step: int) -> None:
    """Write the whole state into a temporary file that then replaces `file`: a kill leaves a complete file."""
    state = {key: part.state_dict() for key, part in parts.items()}
    temporary = file.with_suffix(".new")
    torch.save({**state, "step": step, "recipe": recipe.name}, temporary)
    os.replace(temporary, file)


def resume(file: Path, recipe: Recipe, parts: Mapping[str, Stateful], device: str) -> int:
    """Load the state of a checkpoint, if there is one, and return the number of steps done."""
    if not file.is_file():
        return 0
    try:
        state = torch.load(file, map_location=device, weights_only=True)
        if state["recipe"] != recipe.name:
            raise DepthRosError(
                f"{file} belongs to recipe '{state['recipe']}', not '{recipe.name}': use another --out"
            )
        for key, part in parts.items():
            part.load_state_dict(state[key])
    except (RuntimeError, KeyError, ValueError, EOFError) as error:
        raise DepthRosError(f"{file} cannot be resumed ({error}): delete it or use another --out") from error
    return int(state["step"])
