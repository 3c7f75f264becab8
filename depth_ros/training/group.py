"""Several processes that train one model: `torchrun --nproc-per-node N -m depth_ros.cli train RECIPE`.

One process a GPU over NCCL, or on processors over gloo; gradients are DistributedDataParallel's. Every process takes
its share of every batch, so that the steps are those of one process with the whole batch. The first one writes; the
working folder has to be there for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from depth_ros.errors import DepthRosError


@dataclass(frozen=True)
class Group:
    """The processes of a training run, as one of them sees it. rank: its number. device: what it computes on."""

    rank: int
    size: int
    device: str

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes files and shows the progress."""
        return self.rank == 0

    def share(self, steps: range, batch: int) -> list[int]:
        """The numbers of the samples that this process takes of the batches of these steps, in order."""
        if batch % self.size:
            raise DepthRosError(
                f"a batch of {batch} cannot be shared by {self.size} processes: start one, or a number that divides it"
            )
        part = batch // self.size
        return [step * batch + self.rank * part + place for step in steps for place in range(part)]

    def shared(self, objective: Objective) -> nn.Module:
        """The objective whose gradients are means over all processes."""
        if self.size == 1:
            return objective
        return DistributedDataParallel(objective, find_unused_parameters=True)

    def mean(self, terms: dict[str, Tensor]) -> dict[str, float]:
        """Scalars, averaged over all processes."""
        values = torch.stack([value.detach().float() for value in terms.values()])
        if self.size > 1:
            distributed.all_reduce(values)
        return dict(zip(terms, (values / self.size).tolist()))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()


ALONE = Group(0, 1, "cpu")


@contextmanager
def joined() -> Iterator[Group]:
    """The group that torchrun started this process in, or a group of one."""
    size, gpu = int(os.environ.get("WORLD_SIZE", "1")), torch.cuda.is_available()
    if size == 1:
        yield Group(0, 1, "cuda" if gpu else "cpu")
        return
    device = "cpu"
    if gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Group(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()


class Objective(nn.Module):
    """A family's loss of a model as one module, augmentation included: (batch, seed) -> terms.

    weights: the family's `LossSettings`, None = as they are.
    """

    def __init__(self, family: ModuleType, model: nn.Module, weights: Any = None) -> None:
        super().__init__()
        self.family, self.model, self.weights = family, model, weights

    def forward(self, batch: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
        if hasattr(self.family, "augment"):
            batch = self.family.augment(batch, torch.Generator().manual_seed(seed))
        return self.family.loss(self.model, batch, *([] if self.weights is None else [self.weights]))
