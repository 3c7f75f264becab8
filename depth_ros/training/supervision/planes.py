"""Plane supervision: single images with ground-truth depth and the planes in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import nn

from depth_ros.datatypes import Planes
from depth_ros.plane_fitting import fit_planes, visible_planes
from depth_ros.recordings import Sample
from depth_ros.training.augmentation import crop_example
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.examples import Example, held_out_samples, load_examples, mean_inverse_depth
from depth_ros.training.data.source import Source
from depth_ros.training.depth_validation import validate_depth
from depth_ros.training.parallel import parallel_map

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
        self, sources: Sequence[Source], crop: CropSettings, data: Path
    ) -> Sequence[Example]:
        return load_plane_examples(sources, data)

    def load_held_out_data(
        self, folders: Sequence[str], sources: Sequence[Source], crop: CropSettings, data: Path
    ) -> dict[str, list[Sample]]:
        return held_out_samples(folders, data)

    def crop_item(self, item: Example, crop: CropSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
        cropped, planes = crop_example(item, crop, rng)
        if planes is None:
            raise ValueError("plane supervision needs examples with planes, as `load_training_data` returns")
        return cropped | plane_targets(planes, self.max_planes)

    def validate(
        self, model: nn.Module, held_out: dict[str, list[Sample]], crop: CropSettings
    ) -> dict[str, float]:
        return validate_depth(model, held_out, crop, self.scale)

    def mean_inverse_depth(self, items: Sequence[Example]) -> np.ndarray | None:
        return mean_inverse_depth(items)


def load_plane_examples(sources: Iterable[Source], data: Path) -> list[Example]:
    """Load the examples of the sources with their planes; those without enough planes are left out."""
    examples = load_examples(sources, data)
    planes_of_examples = parallel_map(planes_of, examples)
    return [
        replace(example, planes=planes)
        for example, planes in zip(examples, planes_of_examples, strict=True)
        if planes is not None
    ]


def planes_of(example: Example) -> Planes | None:
    """The exact planes of an example, or planes fitted to its depth; None where too little of it is planar."""
    if example.planes is not None:
        return example.planes
    planes = fit_planes(example.depth, example.camera)
    valid = np.isfinite(example.depth).sum()
    is_planar = (planes.labels >= 0).sum() >= MIN_PLANAR_FRACTION * max(valid, 1)
    return planes if is_planar else None


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
