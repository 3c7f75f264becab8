"""Examples to learn from and samples to validate on, read when they are drawn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.evaluation.baselines.mean_inverse_depth import MeanInverseDepth
from depth_ros.recordings import Recording, Sample
from depth_ros.recordings.sample import with_common_principal_point
from depth_ros.recordings.split import Part, part_of
from depth_ros.training.data.example import Example, left_view_example, right_view_example
from depth_ros.training.data.items import EvenSelection, Items, Joined, UnusableItem
from depth_ros.training.data.matching import CachedMatching, Match
from depth_ros.training.data.rendered import RenderedExamples
from depth_ros.training.data.rendered_two_views import RenderedTwoViews
from depth_ros.training.data.source import DataFolders, Source

MAX_HELD_OUT = 60
"""Maximum number of validation samples of a recording."""
MAX_AVERAGED = 100
"""Maximum number of examples that the mean inverse depth is computed from."""

RightView = Callable[[Sample, float, Match], Example]
"""(sample, stereo weight, matcher) -> example of the right view."""
Split = Callable[[Recording, Part], Sequence[int]]
"""(recording, part) -> indices of its samples."""


@dataclass(frozen=True)
class RecordedExamples:
    """Examples of a recording: of every sample the left view and, where the source asks for it, the right one.

    indices: samples of the recording. right_view: makes the example of a right view.
    """

    source: Source
    folders: DataFolders
    indices: Sequence[int]
    right_view: RightView = right_view_example

    def __len__(self) -> int:
        return len(self.indices) * (2 if self.source.right_view else 1)

    def __getitem__(self, index: int, /) -> Example:
        number, is_right = divmod(index, 2) if self.source.right_view else (index, 0)
        sample = with_common_principal_point(self.source.open(self.folders)[self.indices[number]])
        match = CachedMatching(self.folders.cache, self.source.stereo_model)
        if not is_right:
            return left_view_example(sample, self.source.stereo_weight, match)
        if sample.right is None or sample.depth is None:
            raise UnusableItem(f"{self.source.folder}, {sample.name} has no right image, or no depth")
        return self.right_view(sample, self.source.stereo_weight, match)


def load_examples(
    sources: Iterable[Source],
    folders: DataFolders,
    split: Split = part_of,
    right_view: RightView = right_view_example,
) -> Items[Example]:
    """All examples of the sources, each `Source.repeat` times. Raises DepthRosError if a recording has none."""
    parts: list[Items[Example]] = []
    for source in sources:
        if source.is_rendered:
            render = RenderedTwoViews if source.extra_inputs else RenderedExamples
            found: Items[Example] = render(source.scene_kind, source.seeds, folders.cache)
        else:
            indices = training_indices(source, folders, split)
            found = RecordedExamples(source, folders, indices, right_view)
        parts += [found] * source.repeat
    if not parts:
        raise DepthRosError("no training data: the recipe has no sources; name recordings with --on")
    return Joined(parts)


def training_indices(source: Source, folders: DataFolders, split: Split) -> Sequence[int]:
    """The samples of a recording that training uses. Raises DepthRosError if there are none."""
    recording = source.open(folders)
    indices = split(recording, source.part)
    if len(indices):
        return indices[:: source.every]
    if recording.contents.depth:
        problem = f"has {len(recording)} frames, too few to learn from"
    else:
        problem = (
            "has no measured depth to learn from: name its topic with --depth-topic if it is a bag, or learn from "
            "video alone with a recipe such as sfmlearner_kitti"
        )
    raise DepthRosError(f"{source.folder} {problem}")


@dataclass(frozen=True)
class HeldOutSamples:
    """Samples of a recording for validation."""

    source: Source
    folders: DataFolders
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Sample:
        return self.source.open(self.folders)[self.indices[index]]


def held_out_samples(sources: Iterable[Source], folders: DataFolders) -> dict[str, EvenSelection[Sample]]:
    """Up to `MAX_HELD_OUT` samples, evenly spaced, of each validation source, by its folder."""
    return {
        source.folder: EvenSelection(
            HeldOutSamples(source, folders, part_of(source.open(folders), source.part)), MAX_HELD_OUT
        )
        for source in sources
    }


def mean_inverse_depth(examples: Items[Example]) -> np.ndarray | None:
    """Mean of f / (width Z), 1/m, (24, 80) float64, over the measured pixels of up to `MAX_AVERAGED` evenly spaced
    examples, whose sizes may differ; None if there are none."""
    measured = (
        np.where(example.weight >= 1, example.depth, np.nan) / (example.camera.fx / example.camera.width)
        for example in EvenSelection(examples, MAX_AVERAGED)
    )
    valid = (depth for depth in measured if np.isfinite(depth).any())
    first = next(valid, None)
    if first is None:
        return None
    mean = MeanInverseDepth.from_depths(itertools.chain([first], valid)).predict(24, 80)
    return None if mean is None else 1 / mean.astype(np.float64)
