"""A trained module becomes a model: card, safetensors and check image, compared with the trained module."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from depth_ros.card import Card, checksum, find_card, load_model, write_card
from depth_ros.engine.check import check_inputs, disagreement
from depth_ros.errors import DepthRosError
from depth_ros.networks import family
from depth_ros.training.recipes import Recipe, Source
from depth_ros.training.recipes import recipe as by_name


def export(model: nn.Module, recipe: Recipe, path: Path, typical: np.ndarray | None = None) -> Path:
    """Write the model into `path`, with it `typical` (see card.Card); of several by task, the one for depth, and
    every other beside it, into `path`_TASK.

    Raises DepthRosError if what was written computes anything else than the model.
    """
    if not isinstance(model, nn.ModuleDict):
        task = getattr(model, "task", family(recipe.family).TASK)
        return _export(model, task, recipe, path, typical)
    for task, part in model.items():
        folder = path if task == "depth" else path.with_name(f"{path.name}_{task}")
        _export(part, task, recipe, folder, typical)
    return path


def _export(
    model: nn.Module, task: str, recipe: Recipe, path: Path, typical: np.ndarray | None = None
) -> Path:
    module = family(recipe.family)
    model = finished(model, recipe)
    width, height = recipe.deployed or (recipe.width, recipe.height)
    card = Card(
        name=path.name,
        task=task,
        family=recipe.family,
        width=width,
        height=height,
        scale="up_to_scale" if recipe.supervision == "video" else recipe.scale,
        licence=recipe.licence,
        sha256="",
        description=recipe.description,
        frames=recipe.frames if task in ("ego_motion", "object_motion") else 1,
        settings=dataclasses.asdict(model.settings),  # type: ignore[call-overload]
        training_data=training_data(recipe),
        terms=" ".join(filter(None, [recipe.terms, getattr(module, "LICENCE_NOTE", "")])),
        recipe=f"depth_ros train {recipe.name} --steps {recipe.steps}",
        path=path,
    )
    kind = "room" if any(source.folder == "world:room" for source in recipe.sources) else "street"
    save(model, card, kind)
    if typical is not None:
        np.save(card.typical, typical)
    return path


def save(model: nn.Module, card: Card, kind: str = "street") -> None:
    """Write weights, card (with their checksum) and a rendered check image of that kind into `card.path`.

    Raises DepthRosError if what was written computes anything else than the model.
    """
    from depth_ros.world import World, WorldSettings

    card.path.mkdir(parents=True, exist_ok=True)
    state = {key: stored(value) for key, value in model.state_dict().items() if "num_batches" not in key}
    save_file(state, card.weights)
    card = dataclasses.replace(card, sha256=checksum(card.weights))
    write_card(card)
    size = {"width": card.width, "height": card.height}
    frame = World(WorldSettings(kind=kind, seed=1_000_000, frames=1, **size))[0].left
    cv2.imwrite(str(card.check_image), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
    inputs = check_inputs(card, card.width, card.height, "cpu")
    problem = disagreement(model, load_model(card), inputs)
    if problem:
        raise DepthRosError(
            f"what was written to {card.path} does not compute what the model does: {problem}"
        )


def finished(model: nn.Module, recipe: Recipe) -> nn.Module:
    """The module in the form that is deployed, on the CPU, in evaluation mode."""
    finish = getattr(family(recipe.family), "finish", lambda model: model)
    return finish(model.to("cpu").eval()).eval()


def stored(value: Tensor) -> Tensor:
    """A tensor as bfloat16 where that loses nothing: half the size of the file."""
    short = value.bfloat16()
    return (short if torch.equal(short.float(), value) else value).contiguous()


def training_data(recipe: Recipe) -> list[str]:
    """One line a source, those of the recipe that it began with included."""
    if recipe.refines:
        first = find_card(recipe.refines).training_data
    else:
        first = training_data(by_name(recipe.start)) if recipe.start else []
    earlier = [line if line.endswith("(first)") else f"{line} (first)" for line in first]
    return [*earlier, *(describe(source) for source in recipe.sources)]


def describe(source: Source) -> str:
    """One line about a source for the card."""
    if source.folder == "world:pairs":
        return f"{source.count} in each epoch, always new, of generated stereo pairs (exact disparity)"
    if source.folder.startswith("world:"):
        return (
            f"{source.count} {source.folder.partition(':')[2]} scenes of the built-in renderer (exact depth)"
        )
    part = "all frames" if source.part == "all" else "without the held-out part"
    kinds = [part]
    if source.right_eye:
        kinds.append("both eyes")
    if source.stereo:
        kinds.append(f"semi-global stereo matches, weight {source.stereo}, where there is no truth")
    return f"{source.folder}: {', '.join(kinds)}"
