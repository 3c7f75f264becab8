"""Depth supervision: single images with ground-truth depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from torch import nn

from depth_ros.errors import DepthRosError
from depth_ros.recordings import Sample
from depth_ros.training.augmentation import crop_example
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.example import Example
from depth_ros.training.data.examples import held_out_samples, load_examples, mean_inverse_depth
from depth_ros.training.data.items import Converted, EvenSelection, Items, UnusableItem
from depth_ros.training.data.source import DataFolders, Source
from depth_ros.training.depth_validation import validate_depth


@dataclass(frozen=True)
class DepthSupervision:
    """Learn depth from images with ground truth. scale: "metric" or "up_to_scale", see `card.SCALES`.

    Depth up to scale is validated with median scaling. extra_inputs: names of what the network takes beside the image,
    in its order; images without one of them are left out.
    """

    scale: str = "metric"
    extra_inputs: tuple[str, ...] = ()
    frames: ClassVar[int] = 1
    evaluation_task: ClassVar[str] = "depth"

    def load_training_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> Items[Example]:
        if self.scale == "metric":
            _require_metres(sources, folders)
        examples = Converted(load_examples(self._with_inputs(sources), folders), with_depth)
        return Converted(examples, self._ordered) if self.extra_inputs else examples

    def load_held_out_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> dict[str, EvenSelection[Sample]]:
        return held_out_samples(self._with_inputs(sources), folders)

    def _with_inputs(self, sources: Sequence[Source]) -> list[Source]:
        return [replace(source, extra_inputs=self.extra_inputs) for source in sources]

    def _ordered(self, example: Example) -> Example:
        """The example with the inputs of the network in its order. Raises UnusableItem if one is missing."""
        known = example.extra_inputs
        missing = [name for name in self.extra_inputs if name not in known]
        if missing:
            raise UnusableItem(
                f"an image without {', '.join(missing)}: people need masks (--masks), keypoints need images of joints "
                "(--keypoints), all others poses (--poses) and a moving camera"
            )
        return replace(example, extra_inputs={name: known[name] for name in self.extra_inputs})

    def crop_item(self, item: Example, crop: CropSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return crop_example(item, crop, rng)[0]

    def validate(
        self, model: nn.Module, held_out: dict[str, EvenSelection[Sample]], crop: CropSettings
    ) -> dict[str, float]:
        return validate_depth(model, held_out, crop, self.scale)

    def mean_inverse_depth(self, items: Items[Example]) -> np.ndarray | None:
        return mean_inverse_depth(items)


def _require_metres(sources: Sequence[Source], folders: DataFolders) -> None:
    """Raise DepthRosError if the depth of a recording has an unknown scale."""
    for source in sources:
        if not source.is_rendered and not source.open(folders).contents.metric:
            raise DepthRosError(
                f"{source.folder} has depth of unknown scale, from which metric depth cannot be learned: use a "
                "recipe that learns disparity, or depth up to scale"
            )


def with_depth(example: Example) -> Example:
    """The example, if it has any depth."""
    if example.weight.any():
        return example
    raise UnusableItem("an image without a pixel of known depth")
