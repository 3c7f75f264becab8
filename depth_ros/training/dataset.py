"""The data set of a training run: random crops in random order, reproducible by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from depth_ros.training.recipes import Recipe

Item = TypeVar("Item")


class CropDataset(Dataset, Generic[Item]):
    """A seeded sequence of crops. Crop i depends on (recipe.seed, i) alone, so that runs can be resumed."""

    def __init__(self, items: Sequence[Item], recipe: Recipe) -> None:
        self.items, self.recipe = items, recipe

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        recipe, count = self.recipe, len(self.items)
        epoch, position = divmod(index, count)
        order = np.random.default_rng((recipe.seed, epoch)).permutation(count)
        rng = np.random.default_rng((recipe.seed, epoch, position))
        arrays = recipe.supervision.crop_item(self.items[order[position]], recipe.crop, rng)
        return {key: torch.from_numpy(np.ascontiguousarray(array)) for key, array in arrays.items()}
