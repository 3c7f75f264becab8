"""The loss of a family as one module, as DistributedDataParallel needs it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]


class TrainableFamily(Protocol):
    """What training needs of a module of `networks`; `augment` is optional."""

    def loss(self, model: nn.Module, batch: Batch, *settings: object) -> dict[str, Tensor]: ...


class Objective(nn.Module):
    """(batch, seed) -> terms of the family's loss of a model, augmentation included.

    loss_settings: the family's `LossSettings`; None for its defaults.
    """

    def __init__(self, family: TrainableFamily, model: nn.Module, loss_settings: object = None) -> None:
        super().__init__()
        self.family, self.model, self.loss_settings = family, model, loss_settings

    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        augment = getattr(self.family, "augment", None)
        if augment is not None:
            batch = augment(batch, torch.Generator().manual_seed(seed))
        settings = () if self.loss_settings is None else (self.loss_settings,)
        return self.family.loss(self.model, batch, *settings)
