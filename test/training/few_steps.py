"""A few steps of sfmlearner, as every process of a group runs them; the first one writes the losses to a file.

torchrun --nproc-per-node 2 few_steps.py losses.json
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from torch.utils.data import default_collate

from depth_ros.networks import sfmlearner
from depth_ros.training import loop
from depth_ros.training.augment import Crops
from depth_ros.training.clips import load_clips
from depth_ros.training.group import Objective, joined
from depth_ros.training.recipes import Recipe, Source

RECIPE = Recipe(
    name="few", family="sfmlearner", width=64, height=32, sources=(Source("world:street", count=1, frames=5),),
    validation=(), description="a test", licence="Apache-2.0", terms="", supervision="video", batch=2, steps=2,
    least_motion=0.0,
)  # fmt: skip


def losses() -> list[float]:
    """Of every step, over the whole batch."""
    with joined() as group:
        torch.manual_seed(0)
        models = loop.learner(sfmlearner, RECIPE)
        sfmlearner.initialise(models)
        crops = Crops(load_clips(RECIPE, Path()), RECIPE)
        objective = group.shared(Objective(sfmlearner, models))
        optimiser = torch.optim.SGD(models.parameters(), 0.1)
        found = []
        for step in range(RECIPE.steps):
            batch = default_collate([crops[i] for i in group.share(range(step, step + 1), RECIPE.batch)])
            found.append(loop.train_step(objective, optimiser, batch, step, group)["loss"])
        return found


if __name__ == "__main__":
    result = losses()
    if os.environ["RANK"] == "0":
        Path(sys.argv[1]).write_text(json.dumps(result))
