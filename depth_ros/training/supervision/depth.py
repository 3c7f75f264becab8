"""Depth supervision: single images with ground-truth depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import nn

from depth_ros.recordings import Sample
from depth_ros.training.augmentation import crop_example
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.examples import Example, held_out_samples, load_examples, mean_inverse_depth
from depth_ros.training.data.source import Source
from depth_ros.training.depth_validation import validate_depth


@dataclass(frozen=True)
class DepthSupervision:
    """Learn depth from images with ground truth. scale: "metric" or "up_to_scale", see `card.SCALES`.

    Depth up to scale is validated with median scaling.
    """

    scale: str = "metric"
    frames: ClassVar[int] = 1
    evaluation_task: ClassVar[str] = "depth"

    def load_training_data(
        self, sources: Sequence[Source], crop: CropSettings, data: Path
    ) -> Sequence[Example]:
        return load_examples(sources, data)

    def load_held_out_data(
        self, folders: Sequence[str], sources: Sequence[Source], crop: CropSettings, data: Path
    ) -> dict[str, list[Sample]]:
        return held_out_samples(folders, data)

    def crop_item(self, item: Example, crop: CropSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return crop_example(item, crop, rng)[0]

    def validate(
        self, model: nn.Module, held_out: dict[str, list[Sample]], crop: CropSettings
    ) -> dict[str, float]:
        return validate_depth(model, held_out, crop, self.scale)

    def mean_inverse_depth(self, items: Sequence[Example]) -> np.ndarray | None:
        return mean_inverse_depth(items)
