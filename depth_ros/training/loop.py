"""The training loop: sample -> family.loss -> step -> checkpoint -> validation -> export.

Killed at any moment, the same command goes on from the last checkpoint with the same crops in the same
order. `training.csv` holds the losses and the validation figures, `training.svg` their curves.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from depth_ros.card import find_card, load_model, read_card
from depth_ros.config import settings_from
from depth_ros.datasets import Sample, open_folder
from depth_ros.datasets.split import held_out
from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify
from depth_ros.networks import family
from depth_ros.training.augment import Crops
from depth_ros.training.clips import load_clips, unseen_clips
from depth_ros.training.curves import draw
from depth_ros.training.examples import load, load_pairs, load_planes, typical
from depth_ros.training.group import ALONE, Group, Objective, joined
from depth_ros.training.optimiser import AdamW, keep_memory
from depth_ros.training.recipes import Recipe
from depth_ros.training.video import validate_clips

CHECKPOINT_EVERY = 100


def train(recipe: Recipe, data: Path, out: Path) -> Path:
    """Train `recipe` on the folders below `data`; returns the folder of the exported model.

    out: working folder with checkpoint.pt, training.csv and, at the end, the model (card and weights).
    """
    with joined() as group:
        return _train(recipe, data, out, group)


def _train(recipe: Recipe, data: Path, out: Path, group: Group) -> Path:
    from depth_ros.training.export import export

    out.mkdir(parents=True, exist_ok=True)
    keep_memory()
    module, device = family(recipe.family), group.device
    torch.manual_seed(recipe.seed)
    model: Any = learner(module, recipe)
    begin(model, module, recipe, out)
    model = model.to(device, memory_format=torch.channels_last)
    average = AveragedModel(model, multi_avg_fn=moving_average(recipe.average), use_buffers=True)
    optimiser = AdamW(model.parameters(), recipe.learning_rate, recipe.weight_decay)
    parts = {"model": model, "average": average, "optimiser": optimiser}
    step = resume(out / "checkpoint.pt", recipe, parts, device)
    schedule = torch.optim.lr_scheduler.OneCycleLR(  # follows --steps, should they have changed since
        optimiser, recipe.learning_rate, total_steps=recipe.steps + 1, pct_start=0.1, last_epoch=step - 1
    )
    examples, unseen = material(recipe, data)
    weights = (
        settings_from(module.LossSettings, recipe.loss, f"recipe {recipe.name}") if recipe.loss else None
    )
    objective = group.shared(Objective(module, model, weights))
    batches = DataLoader(
        Crops(examples, recipe),
        batch_size=recipe.batch // group.size,
        sampler=group.share(range(step, recipe.steps), recipe.batch),
        num_workers=1,
        pin_memory=device != "cpu",
    )
    progress = tqdm(
        batches, initial=step, total=recipe.steps, desc=recipe.name, mininterval=2.0, disable=not group.writes
    )
    for batch in progress:
        terms = train_step(objective, optimiser, _to(batch, device), step, group)
        schedule.step()
        average.update_parameters(model)
        step += 1
        progress.set_postfix(loss=f"{terms['loss']:.3f}")
        last = step == recipe.steps
        if group.writes and (step % recipe.validate_every == 0 or last):
            measure = validate_clips if recipe.supervision == "video" else validate
            log(out / "training.csv", {"step": step, **terms, **measure(average.module, unseen, recipe)})
            draw(out / "training.csv", out / "training.svg")
        if group.writes and (step % CHECKPOINT_EVERY == 0 or last):
            checkpoint(out / "checkpoint.pt", recipe, parts, step)
    if group.writes:
        mean = None if recipe.supervision in ("video", "disparity") else typical(examples)
        model_folder = export(average.module, recipe, out / recipe.name, mean)
        shutil.copy(out / "training.svg", read_card(model_folder).curves)
    group.wait()
    return out / recipe.name


def material(recipe: Recipe, data: Path) -> tuple[Any, Any]:
    """What is learned from, and the validation folders' part that is not."""
    if recipe.supervision == "video":
        return load_clips(recipe, data), unseen_clips(recipe, data)
    loaders: dict[str, Callable] = {"disparity": load_pairs, "planes": load_planes}
    examples = loaders.get(recipe.supervision, load)(recipe.sources, data)
    return examples, validation_samples(recipe, data)


def learner(module: ModuleType, recipe: Recipe) -> nn.Module:
    """What is trained: the model that the recipe refines, with its weights; else the family's only model, or, where
    it has a `learner`, all of them by task."""
    if recipe.refines:
        card = find_card(recipe.refines)
        if card.family != recipe.family or hasattr(module, "learner"):
            raise DepthRosError(
                f"recipe '{recipe.name}' trains family '{recipe.family}' and cannot begin with model '{card.name}' of "
                f"family '{card.family}': give a model of the same family, and of one whose networks learn alone"
            )
        return load_model(dataclasses.replace(card, settings={**card.settings, **recipe.settings}))
    settings = settings_from(module.Settings, recipe.settings, f"recipe {recipe.name}")
    return getattr(module, "learner", module.Model)(settings)


def moving_average(decay: float) -> Callable:
    """Exponential moving average of weights that forgets its first values quickly: they are random."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        kept = min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - kept)
            else:
                mean.copy_(value)

    return update


def train_step(
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: dict[str, Tensor],
    step: int,
    group: Group = ALONE,
) -> dict[str, float]:
    """One step of the optimiser in bfloat16 where the processor gains from it; returns the loss terms.

    objective: (batch, seed) -> terms, see `group.Objective`.
    """
    objective.train()
    device = next(iter(batch.values())).device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16_pays(device)):
        terms = objective(batch, step * group.size + group.rank)
    optimiser.zero_grad(set_to_none=True)
    terms["loss"].backward()
    norm = nn.utils.clip_grad_norm_(objective.parameters(), 5.0)
    if not torch.isfinite(norm):
        raise DepthRosError(
            "the loss is no longer finite: lower the learning rate, or look for bad depth in the data"
        )
    optimiser.step()
    return group.mean(terms)


def bfloat16_pays(device: str) -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported()  # AMX implies it


def begin(model: nn.Module, module: ModuleType, recipe: Recipe, out: Path) -> None:
    """The weights to start from: the family's, and in their place those that `recipe.start` left beside `out` (a branch
    may be new), or parts of another model, wherever names and shapes are the same. A model that is refined has its
    own already."""
    if recipe.refines:
        return
    if not recipe.start:
        module.initialise(model)
        if recipe.parts_of:
            lent, own = load_model(find_card(recipe.parts_of)).state_dict(), model.state_dict()
            same = {key: lent[key] for key in own if key in lent and lent[key].shape == own[key].shape}
            model.load_state_dict({**own, **same})
        return
    file = out.parent / recipe.start / "checkpoint.pt"
    if not file.is_file():
        raise DepthRosError(f"{file} is missing: first `depth_ros train {recipe.start} --out {file.parent}`")
    average = torch.load(file, map_location="cpu", weights_only=True)["average"]
    prefix = "module."
    learned = {k[len(prefix) :]: v for k, v in average.items() if k.startswith(prefix)}
    held = model.state_dict()
    if surplus := sorted(learned.keys() - held.keys()):
        raise DepthRosError(
            f"'{recipe.name}' cannot begin with '{recipe.start}': that has '{surplus[0]}', which this has not"
        )
    if learned.keys() != held.keys():
        module.initialise(model)
    model.load_state_dict({**model.state_dict(), **learned})


def checkpoint(file: Path, recipe: Recipe, parts: dict, step: int) -> None:
    """Write the whole state beside the old file, then replace it: a kill leaves one or the other whole."""
    state = {key: part.state_dict() for key, part in parts.items()}
    fresh = file.with_suffix(".new")
    torch.save({**state, "step": step, "recipe": recipe.name}, fresh)
    os.replace(fresh, file)


def resume(file: Path, recipe: Recipe, parts: dict, device: str) -> int:
    """Load the state if there is one; returns the step to go on from."""
    if not file.is_file():
        return 0
    try:
        state = torch.load(file, map_location=device, weights_only=True)
        if state["recipe"] != recipe.name:
            raise DepthRosError(
                f"{file} is of recipe '{state['recipe']}', not '{recipe.name}': give another --out"
            )
        for key, part in parts.items():
            part.load_state_dict(state[key])
    except (RuntimeError, KeyError, ValueError, EOFError) as error:
        raise DepthRosError(f"{file} cannot be resumed ({error}): delete it or give another --out") from error
    return int(state["step"])


def validation_samples(recipe: Recipe, data: Path) -> dict[str, list[Sample]]:
    """The samples of each validation folder that training never sees."""
    found = {}
    for name in recipe.validation:
        folder = open_folder(data / name)
        found[name] = [folder[index] for index in held_out(folder)]
    return found


def validate(model: nn.Module, unseen: dict[str, list[Sample]], recipe: Recipe) -> dict[str, float]:
    """abs_rel and delta1 of each validation folder at the recipe's size, scaled only where
    the model has no scale; of pairs epe and d1_all."""
    from depth_ros.evaluation.metrics.depth import Protocol, figures
    from depth_ros.evaluation.metrics.stereo import validate_pairs

    model.eval()
    protocol = Protocol("validation", scaling="none" if recipe.scale == "metric" else "median")
    result: dict[str, float] = {}
    for name, samples in unseen.items():
        if recipe.supervision == "disparity":
            result |= {f"{name} {key}": value for key, value in validate_pairs(model, samples).items()}
            continue
        rows = [
            figures(
                predict(model, *rectify(sample.left.image, sample.left.camera), recipe),
                sample.depth,
                protocol,
            )
            for sample in samples
            if sample.depth is not None
        ]
        for key in ("abs_rel", "delta1"):
            result[f"{name} {key}"] = float(np.mean([row[key] for row in rows]))
    return result


@torch.inference_mode()
def predict(model: nn.Module, image: np.ndarray, camera: Camera, recipe: Recipe) -> np.ndarray:
    """Depth (H, W) m of a rectified image, computed at the recipe's size."""
    small = cv2.resize(image, (recipe.width, recipe.height), interpolation=cv2.INTER_AREA)
    K = camera.resized(recipe.width, recipe.height).K.astype(np.float32)
    device = next(model.parameters()).device
    result = model(torch.from_numpy(small)[None].to(device), torch.from_numpy(K)[None].to(device))
    depth = (result if isinstance(result, Tensor) else result[0])[0]
    height, width = image.shape[:2]
    return 1 / cv2.resize(1 / depth.cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)


def log(file: Path, row: dict[str, float]) -> None:
    """Append one row to a CSV file; the first row brings the header."""
    new = not file.is_file()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.5g}" for key, value in row.items()})


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with another number of steps."""
    return dataclasses.replace(recipe, steps=steps, validate_every=min(recipe.validate_every, steps))


def _to(batch: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}
