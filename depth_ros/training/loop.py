"""The training loop: crop -> loss -> step -> checkpoint -> validation -> export.

After a kill at any moment the same command resumes from the last checkpoint, with the same crops in the same order.
`training.csv` holds losses and validation metrics, `training.svg` their curves.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from depth_ros.card import read_card
from depth_ros.config import settings_from
from depth_ros.errors import DepthRosError
from depth_ros.networks import Family, family
from depth_ros.training.base_model import load_base_model
from depth_ros.training.checkpoint import FILE_NAME, load_initial_weights, resume, save_checkpoint
from depth_ros.training.data.cache import ArrayCache
from depth_ros.training.data.examples import held_out_samples
from depth_ros.training.data.source import DataFolders, each_recording
from depth_ros.training.dataset import CropDataset, load_batches
from depth_ros.training.export import export
from depth_ros.training.objective import Batch, Objective
from depth_ros.training.optimiser import build_optimiser, keep_freed_memory
from depth_ros.training.process_group import SINGLE_PROCESS, ProcessGroup, process_group
from depth_ros.training.recipes import Recipe
from depth_ros.training.std_calibration import std_factor
from depth_ros.training.table import CURVES, TrainingTable

CHECKPOINT_EVERY = 100
"""Steps between checkpoints."""
MAX_GRADIENT_NORM = 5.0
"""Norm that gradients are clipped to."""

Weights = tuple[Tensor, ...] | list[Tensor]


def train(recipe: Recipe, data: Path, out: Path, workers: int | None = None) -> Path:
    """Train a recipe on the recordings below `data` and return the folder of the exported model.

    out: working folder for checkpoint.pt, training.csv, training.svg, cache/ (rendered scenes and stereo matches) and,
    at the end, the model (card and weights). workers: processes that load data; None: see `dataset.default_workers`.
    """
    with process_group() as group:
        return _train(recipe, DataFolders(data, ArrayCache(out / "cache")), out, group, workers)


def _train(recipe: Recipe, folders: DataFolders, out: Path, group: ProcessGroup, workers: int | None) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    module, device, supervision = family(recipe.family), group.device, recipe.supervision
    items = supervision.load_training_data(each_recording(recipe.sources, folders), recipe.crop, folders)
    held_out = supervision.load_held_out_data(
        each_recording(recipe.validation, folders), recipe.crop, folders
    )
    torch.manual_seed(recipe.seed)
    model = build_model(module, recipe)
    load_initial_weights(model, module, recipe, out)
    freeze_others(model, recipe.train_only)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(model, multi_avg_fn=moving_average(recipe.average_decay), use_buffers=True)
    optimiser = build_optimiser(
        recipe.optimiser, model.parameters(), recipe.learning_rate, recipe.weight_decay
    )
    parts = {"model": model, "average": average, "optimiser": optimiser}
    step = resume(out / FILE_NAME, recipe, parts, device)
    # follows --steps, even if changed since the checkpoint
    schedule = recipe.schedule.build(optimiser, recipe.learning_rate, recipe.steps, step)
    objective = group.distributed(Objective(module, model, loss_settings(module, recipe)))
    table = TrainingTable(out, supervision, held_out, recipe.crop)
    if group.is_main and step == 0 and recipe.base_model:
        table.add(average.module, {"step": 0})
    batches = load_batches(CropDataset(items, recipe), range(step, recipe.steps), group, workers)
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
            table.add(average.module, {"step": step, **terms})
        if group.is_main and (step % CHECKPOINT_EVERY == 0 or last):
            save_checkpoint(out / FILE_NAME, recipe, parts, step)
    if group.is_main:
        mix_with_start(average.module, module, recipe)
        calibrate(average.module, recipe, folders)
        mean_inverse_depth = supervision.mean_inverse_depth(items)
        model_folder = export(average.module, recipe, out / recipe.name, mean_inverse_depth)
        shutil.copy(out / CURVES, read_card(model_folder).curves)
    group.barrier()
    return out / recipe.name


def build_model(module: Family, recipe: Recipe) -> nn.Module:
    """The module to train: the model that the recipe fine-tunes, with its weights; else a new model of the family, or
    all its models by task where it has `build_training_model`."""
    if recipe.base_model:
        return load_base_model(module, recipe)
    settings = settings_from(module.Settings, recipe.settings, f"recipe {recipe.name}")
    return getattr(module, "build_training_model", module.Model)(settings)


def freeze_others(model: nn.Module, start: str) -> None:
    """Exclude the parameters whose names start otherwise from training. Raises DepthRosError if that leaves none."""
    if not start:
        return
    names = [name for name, _ in model.named_parameters()]
    if not any(name.startswith(start) for name in names):
        raise DepthRosError(f"train_only is '{start}', with which no parameter starts, e.g. {names[-1]}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name.startswith(start))


@torch.no_grad()
def mix_with_start(model: nn.Module, module: Family, recipe: Recipe) -> None:
    """Move the weights of a trained model towards those that it started from, by `Recipe.start_fraction`."""
    if not recipe.start_fraction:
        return
    if not recipe.base_model:
        raise DepthRosError("start_fraction needs a model to start from: name one with --start")
    start = build_model(module, recipe).state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.lerp_(start[name].to(value.device), recipe.start_fraction)


def calibrate(model: nn.Module, recipe: Recipe, folders: DataFolders) -> None:
    """Set the factor on the standard deviations of the model, if it predicts them and the recipe has data for it."""
    if recipe.calibration and getattr(model, "deviations", ()):
        samples = held_out_samples(each_recording(recipe.calibration, folders), folders)
        settings = dataclasses.replace(model.settings, std_scale=1.0)  # type: ignore[type-var]
        model.settings = settings
        factor = std_factor(model, samples, recipe.crop)
        model.settings = dataclasses.replace(settings, std_scale=round(factor, 3))  # type: ignore[type-var]


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
    objective.zero_grad(set_to_none=True)
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


def _to_device(batch: Batch, device: str) -> Batch:
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}
