"""The training loop: crop -> loss -> step -> checkpoint -> validation -> export.

After a kill at any moment the same command resumes from the last checkpoint, with the same crops in the same order.
`training.csv` holds losses and validation metrics, `training.svg` their curves.
"""

from __future__ import annotations

import csv
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from depth_ros.card import find_card, load_model, read_card
from depth_ros.config import settings_from
from depth_ros.errors import DepthRosError
from depth_ros.networks import Family, family
from depth_ros.training.checkpoint import FILE_NAME, load_initial_weights, resume, save_checkpoint
from depth_ros.training.curves import plot_curves
from depth_ros.training.dataset import CropDataset
from depth_ros.training.export import export
from depth_ros.training.objective import Batch, Objective
from depth_ros.training.optimiser import AdamW, keep_freed_memory
from depth_ros.training.process_group import SINGLE_PROCESS, ProcessGroup, process_group
from depth_ros.training.recipes import Recipe

CHECKPOINT_EVERY = 100
"""Steps between checkpoints."""
MAX_GRADIENT_NORM = 5.0
"""Norm that gradients are clipped to."""

Weights = tuple[Tensor, ...] | list[Tensor]


def train(recipe: Recipe, data: Path, out: Path) -> Path:
    """Train a recipe on the folders below `data` and return the folder of the exported model.

    out: working folder for checkpoint.pt, training.csv, training.svg and, at the end, the model (card and weights).
    """
    with process_group() as group:
        return _train(recipe, data, out, group)


def _train(recipe: Recipe, data: Path, out: Path, group: ProcessGroup) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    module, device, supervision = family(recipe.family), group.device, recipe.supervision
    torch.manual_seed(recipe.seed)
    model = build_model(module, recipe)
    load_initial_weights(model, module, recipe, out)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(model, multi_avg_fn=moving_average(recipe.average_decay), use_buffers=True)
    optimiser = AdamW(model.parameters(), recipe.learning_rate, recipe.weight_decay)
    parts = {"model": model, "average": average, "optimiser": optimiser}
    step = resume(out / FILE_NAME, recipe, parts, device)
    schedule = torch.optim.lr_scheduler.OneCycleLR(  # follows --steps, even if changed since the checkpoint
        optimiser, recipe.learning_rate, total_steps=recipe.steps + 1, pct_start=0.1, last_epoch=step - 1
    )
    items = supervision.load_training_data(recipe.sources, recipe.crop, data)
    held_out = supervision.load_held_out_data(recipe.validation, recipe.sources, recipe.crop, data)
    objective = group.distributed(Objective(module, model, loss_settings(module, recipe)))
    batches = DataLoader(
        CropDataset(items, recipe),
        batch_size=recipe.batch_size // group.size,
        sampler=group.sample_indices(range(step, recipe.steps), recipe.batch_size),
        num_workers=1,
        pin_memory=device != "cpu",
    )
    progress = tqdm(
        batches, recipe.name, recipe.steps, initial=step, mininterval=2.0, disable=not group.is_main
    )
    for batch in progress:
        terms = train_step(objective, optimiser, _to_device(batch, device), step, group)
        schedule.step()
        average.update_parameters(model)
        step += 1
        progress.set_postfix(loss=f"{terms['loss']:.3f}")
        last = step == recipe.steps
        if group.is_main and (step % recipe.validate_every == 0 or last):
            metrics = supervision.validate(average.module, held_out, recipe.crop)
            append_row(out / "training.csv", {"step": step, **terms, **metrics})
            plot_curves(out / "training.csv", out / "training.svg")
        if group.is_main and (step % CHECKPOINT_EVERY == 0 or last):
            save_checkpoint(out / FILE_NAME, recipe, parts, step)
    if group.is_main:
        mean_inverse_depth = supervision.mean_inverse_depth(items)
        model_folder = export(average.module, recipe, out / recipe.name, mean_inverse_depth)
        shutil.copy(out / "training.svg", read_card(model_folder).curves)
    group.barrier()
    return out / recipe.name


def build_model(module: Family, recipe: Recipe) -> nn.Module:
    """The module to train: the model that the recipe fine-tunes, with its weights; else a new model of the family, or
    all its models by task where it has `build_training_model`."""
    if recipe.base_model:
        card = find_card(recipe.base_model)
        if card.family != recipe.family or hasattr(module, "build_training_model"):
            raise DepthRosError(
                f"recipe '{recipe.name}' trains family '{recipe.family}' and cannot start from model '{card.name}' of "
                f"family '{card.family}': use a model of the same family, and a family that trains one model at a time"
            )
        return load_model(dataclasses.replace(card, settings={**card.settings, **recipe.settings}))
    settings = settings_from(module.Settings, recipe.settings, f"recipe {recipe.name}")
    return getattr(module, "build_training_model", module.Model)(settings)


def loss_settings(module: Family, recipe: Recipe) -> object:
    """The `LossSettings` of the family as the recipe sets them; None where it sets none."""
    if not recipe.loss_settings:
        return None
    return settings_from(module.LossSettings, recipe.loss_settings, f"recipe {recipe.name}")


def moving_average(decay: float) -> Callable[[Weights, Weights, Tensor | int], None]:
    """Exponential moving average of weights, with a lower decay at first: initial weights are random."""

    @torch.no_grad()
    def update(averaged: Weights, current: Weights, count: Tensor | int) -> None:
        current_decay = min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - current_decay)
            else:
                mean.copy_(value)

    return update


def train_step(
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    step: int,
    group: ProcessGroup = SINGLE_PROCESS,
) -> dict[str, float]:
    """Do one optimiser step, in bfloat16 where the processor is faster in it, and return the loss terms.

    objective: (batch, seed) -> terms, see `objective.Objective`.
    """
    objective.train()
    device = next(iter(batch.values())).device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=is_bfloat16_faster(device)):
        terms = objective(batch, step * group.size + group.rank)
    optimiser.zero_grad(set_to_none=True)
    terms["loss"].backward()
    norm = nn.utils.clip_grad_norm_(objective.parameters(), MAX_GRADIENT_NORM)
    if not torch.isfinite(norm):
        raise DepthRosError(
            f"the gradient of the loss is not finite at step {step}: lower the learning rate, or look for invalid "
            "depth in the data"
        )
    optimiser.step()
    return group.mean(terms)


def is_bfloat16_faster(device: str) -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported()  # AMX implies it


def append_row(file: Path, row: dict[str, float]) -> None:
    """Append a row to a CSV file; a new file gets a header."""
    new = not file.is_file()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.5g}" for key, value in row.items()})


def _to_device(batch: Batch, device: str) -> Batch:
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}
