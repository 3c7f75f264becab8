"""Stereo pair supervision: rectified pairs without ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from torch import nn

from depth_ros.errors import DepthRosError
from depth_ros.recordings import Sample
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.examples import Example, held_out_samples, load_examples, mean_inverse_depth
from depth_ros.training.data.source import Source
from depth_ros.training.depth_validation import validate_depth


@dataclass(frozen=True)
class StereoPairSupervision:
    """Learn metric depth from the photometric consistency of rectified pairs.

    Pairs are resized as a whole; the `augment` of the family varies them.
    """

    scale: ClassVar[str] = "metric"
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
        return resize_pair(item, crop)

    def validate(
        self, model: nn.Module, held_out: dict[str, list[Sample]], crop: CropSettings
    ) -> dict[str, float]:
        return validate_depth(model, held_out, crop, self.scale)

    def mean_inverse_depth(self, items: Sequence[Example]) -> np.ndarray | None:
        return mean_inverse_depth(items)


def resize_pair(example: Example, crop: CropSettings) -> dict[str, np.ndarray]:
    """image and right, (H, W, 3) uint8 at the size of the crop, and intrinsics (3, 3) float32 px."""
    if example.right is None:
        raise DepthRosError(
            "an image without a right image cannot be learned from: a recipe that learns from stereo pairs needs "
            "sources with two cameras"
        )
    left, right = (
        cv2.resize(image, crop.size, interpolation=cv2.INTER_AREA) for image in (example.image, example.right)
    )
    intrinsics = example.camera.resized(*crop.size).K.astype(np.float32)
    return {"image": left, "right": right, "intrinsics": intrinsics}
