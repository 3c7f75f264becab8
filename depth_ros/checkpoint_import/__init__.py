"""Import released checkpoints as models; report every variable that was not used.

`depth_ros import FAMILY CHECKPOINT` reads TensorFlow checkpoints (without TensorFlow), MatConvNet files, .npy files and
state dicts of PyTorch; `depth_ros import hugging_face FOLDER` reads folders saved by the transformers library.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from depth_ros.card import Card, build, extra_inputs
from depth_ros.checkpoint_import.calibration import calibrate
from depth_ros.checkpoint_import.mat import read_mat
from depth_ros.checkpoint_import.names import importable_families, is_optimizer_slot, released_models
from depth_ros.checkpoint_import.npy import read_npy
from depth_ros.checkpoint_import.pytorch import read_pytorch
from depth_ros.checkpoint_import.released_model import ReleasedModel
from depth_ros.checkpoint_import.tensorflow import Checkpoint
from depth_ros.checkpoint_import.training_data import trained_on
from depth_ros.engine.check import check_inputs
from depth_ros.errors import DepthRosError
from depth_ros.networks import family
from depth_ros.training.export import save_model

UNCALIBRATED = (
    "batch norms use the statistics of the current batch, as released; "
    "--calibrate FOLDER computes fixed statistics instead"
)
LICENCE = "that of the imported checkpoint: ask its authors"


@dataclass(frozen=True)
class ImportResult:
    """models: folders of the models written. assigned: number of variables used by them. optimizer_slots: number
    of variables of the optimiser, which are skipped. unused: names of all other variables. notes: what the user should
    know."""

    models: tuple[Path, ...]
    assigned: int
    unused: tuple[str, ...]
    optimizer_slots: int
    notes: tuple[str, ...]


def import_checkpoint(
    family_name: str, checkpoint: Path, out: Path, calibration: Path | None = None, data: str = ""
) -> ImportResult:
    """Import the models of a checkpoint, one folder per task below `out`.

    calibration: a folder of images for models whose batch norms have no statistics of their own (see `calibrate`).
    data: the training data, one of TRAINING_DATA, where it is not that of most checkpoints of the family.
    Raises DepthRosError if the checkpoint cannot be read, is of another family, or lacks variables of a model.
    """
    family(family_name)
    variables = read_variables(checkpoint)
    contained = released_models(family_name, variables)
    if not contained:
        raise DepthRosError(_no_models_text(family_name, checkpoint, variables))
    used: set[str] = set()
    folders, notes = [], list[str]()
    for released in (trained_on(data, family_name, each) for each in contained):
        card = _card(family_name, checkpoint, out, released)
        model = build(card).eval()
        card = dataclasses.replace(card, extra_inputs=extra_inputs(model))
        used |= load_variables(model, released, variables) | set(released.settings_variables)
        if card.settings.get("batch_statistics"):
            if calibration:
                card = calibrate(model, card, calibration)
            else:
                notes.append(f"{card.name}: {UNCALIBRATED}")
        save_model(model, card)
        folders.append(card.path)
        if card.extra_inputs:
            notes.append(
                f"{card.name} takes {', '.join(card.extra_inputs)} beside the image: docs/recordings.md"
            )
        notes += [*released.notes, *constant_depth_notes(model, card)]
    remaining = [name for name in variables if name not in used]
    unused = tuple(name for name in remaining if not is_optimizer_slot(name))
    return ImportResult(tuple(folders), len(used), unused, len(remaining) - len(unused), tuple(notes))


def read_variables(checkpoint: Path) -> Mapping[str, Tensor]:
    """The variables of a checkpoint by name, without running code from it.

    checkpoint: of TensorFlow (prefix, file or folder), a .mat file of MatConvNet, a .npy file, or a PyTorch file.
    """
    tensorflow = checkpoint.is_dir() or Path(f"{checkpoint}.index").is_file() or ".index" in checkpoint.name
    if tensorflow or ".data-" in checkpoint.name or checkpoint.suffix == ".meta":
        return Checkpoint(checkpoint)
    if checkpoint.suffix == ".npy" and checkpoint.is_file():
        return read_npy(checkpoint)
    if checkpoint.suffix == ".mat" and checkpoint.is_file():
        return read_mat(checkpoint)
    if not checkpoint.is_file():
        raise DepthRosError(
            f"no checkpoint '{checkpoint}': give a .pth, .npy or .mat file, or the PREFIX of a TensorFlow PREFIX.index"
        )
    return read_pytorch(checkpoint)


def load_variables(model: nn.Module, released: ReleasedModel, variables: Mapping[str, Tensor]) -> set[str]:
    """Load the variables into the model; returns the names of those used.

    TensorFlow's kernels are transposed from (h, w, in, out), those of transposed convolutions from (h, w, out, in),
    those of fully connected layers from (in, out).
    Raises DepthRosError naming the first variable that is missing or has another shape.
    """
    state, used = model.state_dict(), set()
    for key, own in state.items():
        name = "" if key.endswith("num_batches_tracked") else released.variable_name(key)
        if not name:
            continue
        if name not in variables:
            raise DepthRosError(
                f"the checkpoint lacks '{name}', which the model for task '{released.task}' needs for '{key}'"
            )
        value = variables[name].float()
        if "/" in name and value.ndim == 4:  # TensorFlow
            value = value.permute(3, 2, 0, 1)
        elif name.endswith("/weights") and value.ndim == 2:
            value = value.T
        if value.shape != own.shape:
            raise DepthRosError(
                f"'{name}' has shape {tuple(value.shape)}, but the model needs {tuple(own.shape)}: check that the "
                "checkpoint is of this family"
            )
        state[key] = value.contiguous()
        used.add(name)
    model.load_state_dict(state)
    return used


def _card(family_name: str, checkpoint: Path, out: Path, released: ReleasedModel) -> Card:
    name = f"{family_name}_{released.task}"
    width, height = released.size
    return Card(
        name=name, task=released.task, family=family_name, width=width, height=height, scale=released.scale,
        licence=LICENCE, sha256="", description=f"{family_name}, imported from {checkpoint.name}",
        fit=released.fit, region=list(released.region), frames=released.frames, settings=released.settings,
        terms=released.terms, recipe=f"depth_ros import {family_name} {checkpoint.name}", path=out / name,
    )  # fmt: skip


@torch.inference_mode()
def constant_depth_notes(model: nn.Module, card: Card) -> list[str]:
    """A note if the model predicts the same depth everywhere: untrained, or with the weights of another network."""
    if card.task != "depth":
        return []
    depth = model(*check_inputs(card, card.width, card.height, "cpu"))
    low, high = depth.nanquantile(0.05).item(), depth.nanquantile(0.95).item()
    if high - low > 0.01 * high:
        return []
    return [
        f"{card.name} predicts nearly the same depth, {high:.4g}, at every pixel of its check image: "
        "check that the checkpoint is of a trained network"
    ]


def _no_models_text(family_name: str, checkpoint: Path, variables: Mapping[str, Tensor]) -> str:
    """The error for a checkpoint without a model of the family: what it contains, and which families it fits."""
    fitting = [other for other in importable_families() if released_models(other, variables)]
    first = ", ".join(list(variables)[:4])
    advice = f"; try {' or '.join(fitting)}" if fitting else ""
    return (
        f"{checkpoint} contains no model of family '{family_name}'. "
        f"It has {len(variables)} variables ({first}, ...){advice}"
    )
