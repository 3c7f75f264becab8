"""Weights that people hold become models: card and safetensors, and word of what had no place.

`depth_ros import FAMILY CHECKPOINT` reads TensorFlow checkpoints without TensorFlow, MatConvNet's, and state files of
PyTorch; `depth_ros import hugging_face FOLDER` what the transformers library saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from depth_ros.card import Card, build
from depth_ros.checkpoint_import.calibration import calibrate
from depth_ros.checkpoint_import.mat import read_mat
from depth_ros.checkpoint_import.names import Part, is_slot, parts
from depth_ros.checkpoint_import.npy import read_npy
from depth_ros.checkpoint_import.tensorflow import Checkpoint
from depth_ros.engine.check import check_inputs
from depth_ros.errors import DepthRosError
from depth_ros.networks import families, family
from depth_ros.training.export import save

UNCALIBRATED = "normalises by the images at hand, as released; --calibrate FOLDER gives it statistics instead"
LICENCE = "that of the imported checkpoint: ask whoever trained it"


@dataclass(frozen=True)
class Imported:
    """models: folders written. placed: variables that went into them. left: names of those that did not.

    slots: how many more belong to the optimiser. notes: what the user should know.
    """

    models: tuple[Path, ...]
    placed: int
    left: tuple[str, ...]
    slots: int
    notes: tuple[str, ...]


def import_checkpoint(
    family_name: str, checkpoint: Path, out: Path, calibration: Path | None = None
) -> Imported:
    """Make models of a checkpoint, one folder a task below `out`.

    calibration: a folder of images for those whose batch norms have no statistics of their own (`calibrate`).
    Raises DepthRosError if the checkpoint cannot be read, is of something else, or lacks a part of a model.
    """
    family(family_name)
    variables = read(checkpoint)
    found = parts(family_name, variables)
    if not found:
        raise DepthRosError(_nothing(family_name, checkpoint, variables))
    used: set[str] = set()
    models, notes = [], list[str]()
    for part in found:
        card = _card(family_name, checkpoint, out, part)
        model = build(card).eval()
        used |= fill(model, part, variables) | set(part.facts)
        if card.settings.get("batch_statistics"):
            if calibration:
                card = calibrate(model, card, calibration)
            else:
                notes.append(f"{card.name}: {UNCALIBRATED}")
        save(model, card)
        models.append(card.path)
        notes += [*part.notes, *suspicions(model, card)]
    left = [name for name in variables if name not in used]
    slots = [name for name in left if is_slot(name)]
    rest = tuple(name for name in left if not is_slot(name))
    return Imported(tuple(models), len(used), rest, len(slots), tuple(notes))


def read(checkpoint: Path) -> Mapping[str, Tensor]:
    """The variables of a checkpoint by name, which runs no code: TensorFlow's, MatConvNet's (.mat), a .npy file, or a
    state file of PyTorch."""
    tensorflow = checkpoint.is_dir() or Path(f"{checkpoint}.index").is_file() or ".index" in checkpoint.name
    if tensorflow or ".data-" in checkpoint.name or checkpoint.suffix == ".meta":
        return Checkpoint(checkpoint)
    if checkpoint.suffix == ".npy" and checkpoint.is_file():
        return read_npy(checkpoint)
    if checkpoint.suffix == ".mat" and checkpoint.is_file():
        return read_mat(checkpoint)
    if not checkpoint.is_file():
        raise DepthRosError(
            f"no checkpoint '{checkpoint}': give a PyTorch file, or the prefix of PREFIX.index"
        )
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle raises anything
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DepthRosError(f"{checkpoint} is no state file of PyTorch: {first}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {key.removeprefix("module."): v for key, v in state.items() if isinstance(v, Tensor)}


def fill(model: nn.Module, part: Part, variables: Mapping[str, Tensor]) -> set[str]:
    """Load the variables into the model; returns the names used. Kernels turn from (h, w, in, out), if they are so.

    Raises DepthRosError naming the first that is missing or has another shape.
    """
    state, used = model.state_dict(), set()
    for key, ours in state.items():
        name = "" if key.endswith("num_batches_tracked") else part.theirs(key)
        if not name:
            continue
        if name not in variables:
            raise DepthRosError(f"the checkpoint lacks '{name}', which task {part.task} needs for {key}")
        value = variables[name].float()
        if "/" in name and value.ndim == 4:  # TensorFlow; transposed ones are (h, w, out, in)
            value = value.permute(3, 2, 0, 1)
        if value.shape != ours.shape:
            shapes = f"{tuple(value.shape)}, not {tuple(ours.shape)}"
            raise DepthRosError(f"'{name}' has the shape {shapes}: is it a checkpoint of this family?")
        state[key] = value.contiguous()
        used.add(name)
    model.load_state_dict(state)
    return used


def _card(family_name: str, checkpoint: Path, out: Path, part: Part) -> Card:
    name = f"{family_name}_{part.task}"
    return Card(
        name=name, task=part.task, family=family_name, width=part.size[0], height=part.size[1], scale=part.scale,
        licence=LICENCE, sha256="", description=f"{family_name}, imported from {checkpoint.name}",
        frames=part.frames, settings=part.settings, terms=part.terms,
        recipe=f"depth_ros import {family_name} {checkpoint.name}", path=out / name,
    )  # fmt: skip


@torch.inference_mode()
def suspicions(model: nn.Module, card: Card) -> list[str]:
    """Depth that is the same everywhere: a network that has learned nothing, or weights of another one."""
    if card.task != "depth":
        return []
    depth = model(*check_inputs(card, card.width, card.height, "cpu"))
    low, high = depth.nanquantile(0.05).item(), depth.nanquantile(0.95).item()
    if high - low > 0.01 * high:
        return []
    return [f"{card.name} sees {high:.4g} all over its check image: was the checkpoint trained?"]


def _nothing(family_name: str, checkpoint: Path, variables: Mapping[str, Tensor]) -> str:
    """What to say of a checkpoint that is none of the family: what it holds, and of which family it is."""
    fitting = []
    for other in families():
        try:
            fitting += [other] if parts(other, variables) else []
        except DepthRosError:
            continue  # nothing is known of that one's checkpoints
    some = ", ".join(list(variables)[:4])
    advice = f"; it looks like {' or '.join(fitting)}" if fitting else ""
    return f"{checkpoint} holds nothing of family '{family_name}': {len(variables)} variables, {some}, ...{advice}"
