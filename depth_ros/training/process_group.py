"""Training by several processes: `torchrun --nproc-per-node N -m depth_ros.cli train RECIPE`.

One process per GPU over NCCL, or on CPUs over gloo; DistributedDataParallel averages the gradients. Each process takes
an equal part of every batch, so that the steps are those of a single process with the whole batch. The first process
writes the files; the working folder must be visible to all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from depth_ros.errors import DepthRosError


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training run, as seen by one of them. rank: its number. device: torch device it uses."""

    rank: int
    size: int
    device: str

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows the progress."""
        return self.rank == 0

    def sample_indices(self, step: int, batch_size: int) -> range:
        """Indices of the samples that this process takes from the batch of a step, in order."""
        if batch_size % self.size:
            raise DepthRosError(
                f"a batch of {batch_size} cannot be divided among {self.size} processes: start a number of processes "
                f"that divides {batch_size}"
            )
        part = batch_size // self.size
        first = step * batch_size + self.rank * part
        return range(first, first + part)

    def distributed(self, objective: nn.Module) -> nn.Module:
        """The objective with gradients averaged over all processes."""
        if self.size == 1:
            return objective
        return DistributedDataParallel(objective, find_unused_parameters=True)

    def mean(self, terms: dict[str, Tensor]) -> dict[str, float]:
        """Scalars averaged over all processes."""
        values = torch.stack([value.detach().float() for value in terms.values()])
        if self.size > 1:
            distributed.all_reduce(values)
        return dict(zip(terms, (values / self.size).tolist()))

    def barrier(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            distributed.barrier()


SINGLE_PROCESS = ProcessGroup(0, 1, "cpu")


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """The group in which torchrun started this process, or a group of one."""
    size, gpu = int(os.environ.get("WORLD_SIZE", "1")), torch.cuda.is_available()
    if size == 1:
        yield ProcessGroup(0, 1, "cuda" if gpu else "cpu")
        return
    device = "cpu"
    if gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield ProcessGroup(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()
