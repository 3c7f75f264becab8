"""Disparity supervision: rectified pairs with ground-truth disparity, recorded and generated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from torch import nn

from depth_ros.evaluation.metrics.stereo import validate_pairs
from depth_ros.geometry import rectify
from depth_ros.recordings import Sample
from depth_ros.training.colours import jitter_colours
from depth_ros.training.crop import CropSettings, Window
from depth_ros.training.data.example import Example, right_view_example
from depth_ros.training.data.examples import held_out_samples, load_examples
from depth_ros.training.data.items import Converted, EvenSelection, Items, Joined, UnusableItem
from depth_ros.training.data.matching import Match, match_stereo
from depth_ros.training.data.source import GENERATED_PAIRS, DataFolders, Source
from depth_ros.training.data.textures import RecordedTextures
from depth_ros.world.pair_distortions import vary_photometry, vary_rectification
from depth_ros.world.pairs import Pairs

MIN_CROP_SCALE = 0.8
"""Smallest scale of a crop relative to the recorded pair."""


@dataclass(frozen=True)
class DisparitySupervision:
    """Learn disparity from pairs with ground truth. Generated pairs take textures from all recorded images."""

    scale: ClassVar[str] = "metric"
    frames: ClassVar[int] = 1
    evaluation_task: ClassVar[str] = "depth"

    def load_training_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> Items[Example | Pairs]:
        return load_pairs(sources, folders)

    def load_held_out_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> dict[str, EvenSelection[Sample]]:
        return held_out_samples(sources, folders)

    def crop_item(
        self, item: Example | Pairs, crop: CropSettings, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        if isinstance(item, Pairs):
            left, right, disparity = item.pair(rng, crop.width, crop.height)
            return {"image": left, "right": right, "disparity": disparity}
        return crop_pair(item, crop, rng)

    def validate(
        self, model: nn.Module, held_out: dict[str, EvenSelection[Sample]], crop: CropSettings
    ) -> dict[str, float]:
        """End-point error and outliers of whole pairs at full size, see `validate_pairs`."""
        model.eval()
        result: dict[str, float] = {}
        for name, samples in held_out.items():
            result |= {f"{name} {key}": value for key, value in validate_pairs(model, samples).items()}
        return result

    def mean_inverse_depth(self, items: Items[Example | Pairs]) -> None:
        """None: the baseline of stereo models is semi-global matching."""


def load_pairs(sources: Iterable[Source], folders: DataFolders) -> Items[Example | Pairs]:
    """The pairs with ground truth, recorded and rendered, followed by the generator of pairs once per pair of an
    epoch."""
    sources = tuple(sources)
    recorded = [source for source in sources if not source.is_rendered]
    pairs = [source for source in sources if has_pairs(source, folders)]
    generated = sum(source.count for source in sources if source.folder == GENERATED_PAIRS)
    parts: list[Items[Example | Pairs]] = []
    if pairs:
        examples = load_examples(pairs, folders, right_view=mirrored_pair_example)
        parts.append(Converted(examples, with_disparity))
    if generated:
        generator = Pairs(RecordedTextures(recorded, folders))
        parts.append([generator] * generated)
    return Joined(parts)


def has_pairs(source: Source, folders: DataFolders) -> bool:
    """Whether a source has pairs with ground truth; textures are taken from recordings without them, too."""
    if source.is_rendered:
        return source.folder != GENERATED_PAIRS
    contents = source.open(folders).contents
    return contents.pairs and contents.depth


def with_disparity(example: Example) -> Example:
    """The example, if it is a pair with ground truth."""
    if example.right is not None and example.weight.any():
        return example
    raise UnusableItem("an image without a right image, or without a pixel of known depth")


def mirrored_pair_example(sample: Sample, stereo_weight: float, match: Match = match_stereo) -> Example:
    """The horizontally mirrored pair, in which the right image is the left one, with its measured ground truth.

    Stereo matches are left out. The principal point is not mirrored: pairs teach disparity only.
    """
    assert sample.right is not None
    right = right_view_example(sample, stereo_weight, match)
    measured = right.weight >= 1
    depth = np.where(measured, right.depth, np.float32(np.nan))
    left_image = rectify(sample.left.image, sample.left.camera)[0]
    return Example(
        image=right.image[:, ::-1],
        camera=right.camera,
        depth=depth[:, ::-1],
        weight=measured[:, ::-1].astype(np.float32),
        right=left_image[:, ::-1],
        fx_baseline=float(sample.fx_baseline),
    )


def crop_pair(example: Example, crop: CropSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The same random window of both images, scaled and degraded: image and right (H, W, 3) uint8, and disparity
    (H, W) float32, px of the cropped left image."""
    assert example.right is not None
    window = _random_pair_window(example, crop, rng)
    method = cv2.INTER_AREA if window.width > crop.width else cv2.INTER_LINEAR
    disparity = example.fx_baseline / example.depth[window.pixels] * np.float32(crop.width / window.width)
    state, images = rng.bit_generator.state, []
    for image in (example.image, example.right):
        rng.bit_generator.state = state  # the same colours in both images
        resized = cv2.resize(image[window.pixels], crop.size, interpolation=method)
        images.append(jitter_colours(resized, rng))
    left, right = vary_photometry(images[0], images[1], rng)
    return {
        "image": left,
        "right": vary_rectification(right, rng),
        "disparity": cv2.resize(disparity, crop.size, interpolation=cv2.INTER_NEAREST_EXACT),
    }


def _random_pair_window(example: Example, crop: CropSettings, rng: np.random.Generator) -> Window:
    """The part of a recorded pair that is resized to the crop."""
    height, width = example.image.shape[:2]
    min_scale = max(MIN_CROP_SCALE, crop.height / height, crop.width / width)
    scale = rng.uniform(min_scale, crop.zoom)
    w, h = round(crop.width / scale), round(crop.height / scale)
    return Window(int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h)
