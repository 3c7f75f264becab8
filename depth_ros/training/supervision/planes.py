"""Plane supervision: single images with ground-truth depth and the planes in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from torch import nn

from depth_ros.datatypes import Planes
from depth_ros.plane_fitting import fit_planes, visible_planes
from depth_ros.recordings import Sample
from depth_ros.training.augmentation import crop_example
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.example import Example
from depth_ros.training.data.examples import held_out_samples, load_examples, mean_inverse_depth
from depth_ros.training.data.items import Converted, EvenSelection, Items, UnusableItem
from depth_ros.training.data.source import DataFolders, Source
from depth_ros.training.depth_validation import validate_depth

MIN_PLANAR_FRACTION = 0.5
"""Fraction of the valid pixels that planes must cover, or the image is not used (PlaneNet, section 5)."""
MIN_PLANE_AREA = 0.01
"""Area of the smallest plane that is learned, as a fraction of the image."""


@dataclass(frozen=True)
class PlaneSupervision:
    """Learn planes and metric depth. max_planes: planes per image, as many as the family predicts.

    Planes are exact for rendered images and fitted to the ground-truth depth for recorded ones.
    """

    max_planes: int
    scale: ClassVar[str] = "metric"
    frames: ClassVar[int] = 1
    evaluation_task: ClassVar[str] = "planes"

    def load_training_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> Items[Example]:
        return Converted(load_examples(sources, folders), with_planes)

    def load_held_out_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> dict[str, EvenSelection[Sample]]:
        return held_out_samples(sources, folders)

    def crop_item(self, item: Example, crop: CropSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
        cropped, planes = crop_example(item, crop, rng)
        if planes is None:
            raise ValueError("plane supervision needs examples with planes, as `load_training_data` returns")
        return cropped | plane_targets(planes, self.max_planes)

    def validate(
        self, model: nn.Module, held_out: dict[str, EvenSelection[Sample]], crop: CropSettings
    ) -> dict[str, float]:
        return validate_depth(model, held_out, crop, self.scale)

    def mean_inverse_depth(self, items: Items[Example]) -> np.ndarray | None:
        return mean_inverse_depth(items)


def with_planes(example: Example) -> Example:
    """The example with its exact planes, or with planes fitted to its depth, if enough of it is planar."""
    if example.planes is not None:
        return example
    planes = fit_planes(example.depth, example.camera)
    valid = np.isfinite(example.depth).sum()
    if (planes.labels >= 0).sum() < MIN_PLANAR_FRACTION * max(valid, 1):
        raise UnusableItem(f"planes cover less than {MIN_PLANAR_FRACTION:.0%} of the depth of an image")
    return replace(example, planes=planes)


def plane_targets(planes: Planes, max_planes: int) -> dict[str, np.ndarray]:
    """Ground truth for the loss: labels (H, W) int32, -1 = no plane, and planes (max_planes, 3) float32.

    A plane is its unit normal pointing away from the camera times its distance, m; the largest planes come first,
    missing ones are NaN. Pixels of further planes count as no plane.
    """
    planes = visible_planes(planes.labels, planes.equations, MIN_PLANE_AREA)
    vectors = np.full((max_planes, 3), np.nan, np.float32)
    kept = planes.equations[:max_planes]
    vectors[: len(kept)] = -kept[:, :3] * kept[:, 3:]
    return {"labels": np.where(planes.labels < max_planes, planes.labels, -1), "planes": vectors}
