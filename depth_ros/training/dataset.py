"""The data set of a training run: random crops in random order, reproducible by index, loaded by worker processes."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from depth_ros.errors import DepthRosError
from depth_ros.recordings import DamagedFrame
from depth_ros.training.data.items import UNUSABLE, Items
from depth_ros.training.objective import Batch
from depth_ros.training.process_group import ProcessGroup
from depth_ros.training.recipes import Recipe

MAX_ATTEMPTS = 100
"""Maximum number of items that are drawn for one crop."""
MAX_WORKERS = 8
"""Maximum number of worker processes that are started without being asked for."""

log = logging.getLogger("depth_ros.training")
Item = TypeVar("Item")


class CropDataset(Dataset, Generic[Item]):
    """A seeded sequence of crops. Crop i depends on (recipe.seed, i) alone, so that runs can be resumed.

    In place of an unusable item the next one in the order of the epoch is taken.
    """

    def __init__(self, items: Items[Item], recipe: Recipe) -> None:
        self.items, self.recipe = items, recipe

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        recipe = self.recipe
        epoch, position = divmod(index, len(self.items))
        rng = np.random.default_rng((recipe.seed, epoch, position))
        arrays = recipe.supervision.crop_item(self._usable_item(epoch, position), recipe.crop, rng)
        return {key: torch.from_numpy(np.ascontiguousarray(array)) for key, array in arrays.items()}

    def _usable_item(self, epoch: int, position: int) -> Item:
        count = len(self.items)
        order, problem = epoch_order(self.recipe.seed, epoch, count), ""
        for attempt in range(min(MAX_ATTEMPTS, count)):
            try:
                return self.items[int(order[(position + attempt) % count])]
            except UNUSABLE as error:
                problem = str(error)
                if isinstance(error, DamagedFrame):
                    _warn_once(problem)
        raise DepthRosError(
            f"nothing can be learned from {min(MAX_ATTEMPTS, count)} training items drawn one after the other; the "
            f"last: {problem}"
        )


@functools.lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of the items in an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


@functools.lru_cache(maxsize=1000)
def _warn_once(problem: str) -> None:
    log.warning("skipped a damaged frame: %s", problem)


class _Batches(Dataset):
    """Batches of a data set by the indices of their samples. A `DepthRosError` is returned instead of raised: raised
    in a worker process it would lose its text among those of the process."""

    def __init__(self, crops: CropDataset, batches: Sequence[Sequence[int]]) -> None:
        self.crops, self.batches = crops, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch | DepthRosError:
        try:
            return default_collate([self.crops[i] for i in self.batches[index]])
        except DepthRosError as error:
            return error


def load_batches(
    crops: CropDataset, steps: range, group: ProcessGroup, workers: int | None = None
) -> Iterator[Batch]:
    """The batches of these steps, loaded by `workers` processes (None: see `default_workers`; 0: by this one)."""
    loader = DataLoader(
        _Batches(crops, [group.sample_indices(step, crops.recipe.batch_size) for step in steps]),
        batch_size=None,
        num_workers=default_workers(group) if workers is None else workers,
        pin_memory=group.device != "cpu",
        worker_init_fn=_start_worker,
    )
    for batch in _with_serial_opencv(lambda: iter(loader)):
        if isinstance(batch, DepthRosError):
            raise batch
        yield batch


def default_workers(group: ProcessGroup) -> int:
    """One worker per processor that this machine has beyond those that train, at least one, at most `MAX_WORKERS`."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MAX_WORKERS, processors // group.size - 1))


def _with_serial_opencv(start: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """What `start` returns, which may fork processes: without threads of OpenCV, which do not survive a fork (the
    processes would wait for them for ever)."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return start()
    finally:
        cv2.setNumThreads(threads)


def _start_worker(worker: int) -> None:
    logging.getLogger("depth_ros.recordings").setLevel(logging.ERROR)  # warned of when they were first opened
