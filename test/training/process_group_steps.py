"""A few steps of sfmlearner, run by every process of a group; the first one writes the losses to a file.

torchrun --nproc-per-node 2 process_group_steps.py losses.json
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
from depth_ros.training.data.clip import ClipSettings
from depth_ros.training.data.source import DataFolders
from depth_ros.training.dataset import CropDataset
from depth_ros.training.objective import Objective
from depth_ros.training.process_group import process_group
from depth_ros.training.recipes import CropSettings, Recipe, Source
from depth_ros.training.supervision.video import VideoSupervision

RECIPE = Recipe(
    name="few", family="sfmlearner", crop=CropSettings(64, 32), sources=(Source("world:street", count=1, frames=5),),
    validation=(), description="a test", licence="Apache-2.0", terms="", batch_size=2, steps=2,
    supervision=VideoSupervision(ClipSettings(min_image_motion=0.0)),
)  # fmt: skip


def losses() -> list[float]:
    """The loss of each step, over the whole batch."""
    with process_group() as group:
        torch.manual_seed(0)
        models = loop.build_model(sfmlearner, RECIPE)
        sfmlearner.initialise(models)
        supervision = RECIPE.supervision
        crops = CropDataset(
            supervision.load_training_data(RECIPE.sources, RECIPE.crop, DataFolders(Path())), RECIPE
        )
        objective = group.distributed(Objective(sfmlearner, models))
        optimiser = torch.optim.SGD(models.parameters(), 0.1)
        found = []
        for step in range(RECIPE.steps):
            indices = group.sample_indices(step, RECIPE.batch_size)
            batch = default_collate([crops[i] for i in indices])
            found.append(loop.train_step(objective, optimiser, batch, step, group)["loss"])
        return found


if __name__ == "__main__":
    result = losses()
    if os.environ["RANK"] == "0":
        Path(sys.argv[1]).write_text(json.dumps(result))
