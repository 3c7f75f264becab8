"""Sources of training data: recordings, rendered scenes and generated stereo pairs."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from depth_ros.errors import DepthRosError
from depth_ros.recordings import Recording, RecordingOptions, open_recording
from depth_ros.recordings.options import DEFAULTS
from depth_ros.recordings.split import Part
from depth_ros.recordings.two_view_inputs import TwoViewInputs
from depth_ros.training.data.cache import ArrayCache

RENDERED_PREFIX = "world:"
"""First part of `Source.folder` for data of the built-in renderer."""
GENERATED_PAIRS = "world:pairs"
PARTS = {
    "training": "without the held-out part",
    "held_out": "the held-out part",
    "calibration": "the first half of the held-out part",
    "test": "the second half of the held-out part",
    "all": "all frames",
}
HELD_OUT_SEED = 2_000_000
"""Seed of the first rendered scene for validation; those for training have seeds from 0."""


@dataclass(frozen=True)
class DataFolders:
    """Where data is. recordings: the folder that the sources are below. cache: for what takes long to compute."""

    recordings: Path
    cache: ArrayCache = field(default_factory=ArrayCache)


@dataclass(frozen=True)
class Source:
    """One source of training or validation data.

    folder: a recording below the data folder, or anywhere; a pattern such as "scans/*", or a .txt file with the names
    of recordings, one a line, relative to its folder, for all of these; "world:street" or "world:room" for `count`
    rendered scenes; or "world:pairs" for `count` generated stereo pairs per epoch, new ones in every epoch.
    part: "training" leaves out the held-out samples (see `recordings.split`), "held_out" uses these alone,
    "calibration" and "test" their halves, "all" uses every sample. options: how the recording is read. extra_inputs:
    names of inputs that a network takes beside the image; if there are any, those of a recording are made, as far as
    they can be.
    right_view: also learn from the right image. stereo_weight: loss weight of depth from stereo matching where there
    is no ground truth; 0 disables it. stereo_model: the model that matches; empty for semi-global matching. frames:
    length of a rendered clip. rate: frame rate of a rendered clip, Hz; 0 for the renderer's default. repeat: how often
    each example occurs per epoch. every: use every n-th sample.
    """

    folder: str
    part: Part = "training"
    right_view: bool = False
    stereo_weight: float = 0.0
    stereo_model: str = ""
    count: int = 0
    frames: int = 5
    rate: float = 0.0
    repeat: int = 1
    every: int = 1
    options: RecordingOptions = DEFAULTS
    extra_inputs: tuple[str, ...] = ()

    @property
    def is_rendered(self) -> bool:
        """Whether the built-in renderer makes the data, so that no recording is needed."""
        return self.folder.startswith(RENDERED_PREFIX)

    @property
    def scene_kind(self) -> str:
        """Kind of rendered scene: "street" or "room"."""
        return self.folder.removeprefix(RENDERED_PREFIX)

    @property
    def seeds(self) -> range:
        """Seeds of the rendered scenes."""
        first = HELD_OUT_SEED if self.part == "held_out" else 0
        return range(first, first + self.count)

    @property
    def description(self) -> str:
        """One line for the card of a model that learned from this source."""
        if self.folder == GENERATED_PAIRS:
            return f"{self.count} generated stereo pairs per epoch, new in every epoch (exact disparity)"
        if self.is_rendered:
            return f"{self.count} {self.scene_kind} scenes of the built-in renderer (exact depth)"
        parts = [PARTS[self.part]]
        if self.options.image_list:
            parts[0] = f"the images that {self.options.image_list.name} lists"
        if self.right_view:
            parts.append("both views")
        if self.stereo_weight:
            matches = (
                f"disparities of {self.stereo_model}" if self.stereo_model else "semi-global stereo matches"
            )
            parts.append(f"{matches}, weight {self.stereo_weight}, where there is no ground truth")
        if self.every > 1:
            parts.append(f"one in {self.every}")
        return f"{self.folder}: {', '.join(parts)}"

    def path(self, recordings: Path) -> Path:
        """The path of the recording: below the data folder, or else as it is."""
        below = recordings / self.folder
        return below if below.exists() else Path(self.folder)

    def below(self, recordings: Path) -> RecordingOptions:
        """The options, with the split file and the masks below the data folder, or else as they are."""
        images, masks = self.options.image_list, self.options.masks
        if images and (recordings / images).exists():
            images = recordings / images
        if masks and (recordings / masks).exists():
            masks = str(recordings / masks)
        return replace(self.options, image_list=images, masks=masks)

    def open(self, folders: DataFolders) -> Recording:
        """The recording, opened once in every process: files that are open cannot be used by two."""
        path = self.path(folders.recordings)
        if not path.exists():
            raise DepthRosError(
                f"no recording '{self.folder}', neither here nor below {folders.recordings}: give its path to --on, or "
                "the folder that holds it to --data"
            )
        opened = _opened_two_views if self.extra_inputs else _opened
        recording = opened(path, self.below(folders.recordings), os.getpid())
        if recording.contents.predicted_depth:
            raise DepthRosError(
                f"{self.folder} holds depth that a model predicted: it is no ground truth; train on measured depth"
            )
        return recording


def each_recording(sources: Iterable[Source], folders: DataFolders) -> tuple[Source, ...]:
    """The sources, with one for each recording in place of a pattern or a list of them.

    Raises DepthRosError if there is none, or one that a file lists is missing.
    """
    found: list[Source] = []
    for source in sources:
        path = source.path(folders.recordings)
        if source.is_rendered or not (path.suffix == ".txt" or "*" in source.folder):
            found.append(source)
            continue
        is_pattern = "*" in source.folder
        paths = sorted(folders.recordings.glob(source.folder)) if is_pattern else _listed(path)
        if not paths:
            raise DepthRosError(f"no recording '{source.folder}' below {folders.recordings}")
        found += [replace(source, folder=str(each)) for each in paths]
    return tuple(found)


def _listed(file: Path) -> list[Path]:
    """The recordings that a file lists. Raises DepthRosError if one of them does not exist."""
    if not file.is_file():
        raise DepthRosError(
            f"no file '{file}' with the names of recordings: each line names one, relative to it"
        )
    paths = [file.parent / line.strip() for line in file.read_text().splitlines() if line.strip()]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise DepthRosError(
            f"{file} lists {missing[0].name}, which is not beside it ({len(missing)} of {len(paths)} are missing)"
        )
    return paths


def held_out(folder: str) -> Source:
    """The held-out part of a recording, for validation."""
    return Source(folder, part="held_out")


@functools.cache
def _opened(path: Path, options: RecordingOptions, process: int) -> Recording:
    return open_recording(path, options)


@functools.cache
def _opened_two_views(path: Path, options: RecordingOptions, process: int) -> Recording:
    return TwoViewInputs(_opened(path, options, process))
