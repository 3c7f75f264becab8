"""Supervision kinds: what a network learns from. One file each; recipes name an instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from torch import nn

from depth_ros.training.crop import CropSettings
from depth_ros.training.data.items import Items
from depth_ros.training.data.source import DataFolders, Source

Item = TypeVar("Item")
HeldOut = TypeVar("HeldOut")


class Supervision(Protocol[Item, HeldOut]):
    """Loads training and validation data, crops training items and validates a model.

    Item: one element of the training data. HeldOut: the validation data of one source, read anew in every iteration.
    """

    @property
    def scale(self) -> str:
        """Scale of the predicted depth that the card states, see `card.SCALES`."""

    @property
    def frames(self) -> int:
        """Number of images of one camera in a training item."""

    @property
    def evaluation_task(self) -> str:
        """The task of `depth_ros evaluate` that measures the exported model."""

    def load_training_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> Items[Item]:
        """The training items of all sources, read on access."""

    def load_held_out_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> dict[str, HeldOut]:
        """The validation data of each source by its folder, read whenever it is iterated over."""

    def crop_item(self, item: Item, crop: CropSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A random crop of an item, as the `loss` of the families takes it."""

    def validate(
        self, model: nn.Module, held_out: dict[str, HeldOut], crop: CropSettings
    ) -> dict[str, float]:
        """Metrics of a model, named "FOLDER METRIC"."""

    def mean_inverse_depth(self, items: Items[Item]) -> np.ndarray | None:
        """The mean inverse depth of the training images for the model's card, or None if it has none."""
