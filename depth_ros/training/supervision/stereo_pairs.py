"""Stereo pair supervision: rectified pairs without ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from torch import nn

from depth_ros.evaluation.metrics.stereo import validate_pairs
from depth_ros.networks.blocks.fit import Fit
from depth_ros.networks.blocks.fitted import fitted
from depth_ros.recordings import Recording, Sample
from depth_ros.recordings.split import Part, part_of, sequence_part
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.example import Example
from depth_ros.training.data.examples import held_out_samples, load_examples, mean_inverse_depth
from depth_ros.training.data.items import Converted, EvenSelection, Items, UnusableItem
from depth_ros.training.data.source import DataFolders, Source
from depth_ros.training.depth_validation import validate_depth


@dataclass(frozen=True)
class StereoPairSupervision:
    """Learn metric depth, from one image or from both, from the photometric consistency of rectified pairs.

    Pairs are resized as a whole; the `augment` of the family varies them.
    """

    scale: ClassVar[str] = "metric"
    frames: ClassVar[int] = 1
    evaluation_task: ClassVar[str] = "depth"

    def load_training_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> Items[Example]:
        return Converted(load_examples(sources, folders, pairs_of), with_right_image)

    def load_held_out_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> dict[str, EvenSelection[Sample]]:
        return held_out_samples(sources, folders)

    def crop_item(self, item: Example, crop: CropSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return resize_pair(item, crop)

    def validate(
        self, model: nn.Module, held_out: dict[str, EvenSelection[Sample]], crop: CropSettings
    ) -> dict[str, float]:
        if getattr(model, "task", "depth") == "depth":
            return validate_depth(model, held_out, crop, self.scale)
        model.eval()
        whole = fitted(model, "stereo_depth", Fit("stretch", *crop.size))
        return {
            f"{name} {key}": value
            for name, samples in held_out.items()
            for key, value in validate_pairs(whole, samples).items()
        }

    def mean_inverse_depth(self, items: Items[Example]) -> np.ndarray | None:
        return mean_inverse_depth(items)


def pairs_of(recording: Recording, part: Part) -> Sequence[int]:
    """Indices of the samples of a part: of a recording without depth, too, the last fifth is held out."""
    return part_of(recording, part) if recording.contents.depth else sequence_part(recording, part)


def with_right_image(example: Example) -> Example:
    """The example, if it has a right image."""
    if example.right is not None:
        return example
    raise UnusableItem(
        "an image without a right image cannot be learned from: a recipe that learns from stereo pairs needs sources "
        "with two cameras"
    )


def resize_pair(example: Example, crop: CropSettings) -> dict[str, np.ndarray]:
    """image and right, (H, W, 3) uint8 at the size of the crop, and intrinsics (3, 3) float32 px."""
    assert example.right is not None
    left, right = (
        cv2.resize(image, crop.size, interpolation=cv2.INTER_AREA) for image in (example.image, example.right)
    )
    intrinsics = example.camera.resized(*crop.size).K.astype(np.float32)
    return {"image": left, "right": right, "intrinsics": intrinsics}
