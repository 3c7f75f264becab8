"""Clips to learn from and to validate on, read when they are drawn.

Clips of a stationary camera are left out: they teach a network that everything is far away. Whether the camera moves
is found out when a clip is drawn.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from depth_ros.errors import DepthRosError
from depth_ros.recordings import Recording
from depth_ros.recordings.instances import Masked
from depth_ros.recordings.layouts import kitti_raw
from depth_ros.recordings.split import continuous_parts, sequence_part
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.clip import Clip, ClipSettings, is_moving, recorded_clip
from depth_ros.training.data.items import Converted, EvenSelection, Items, Joined, UnusableItem
from depth_ros.training.data.rendered import RenderedClips
from depth_ros.training.data.source import DataFolders, Source

HELD_OUT_CLIPS = 18
"""Maximum number of validation clips of a source."""


@dataclass(frozen=True)
class RecordedClips:
    """Clips of a recording, reduced to the size that crops need. starts: index of the first frame of each."""

    source: Source
    folders: DataFolders
    crop: CropSettings
    frames: int
    starts: Sequence[int]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int, /) -> Clip:
        (recording, _), start = open_sequence(self.source, self.folders), self.starts[index]
        frames = range(start, start + self.frames)
        clip = recorded_clip([recording[frame] for frame in frames], self.crop)
        if any(frame.image.shape != clip[0].image.shape for frame in clip):
            raise UnusableItem(f"{self.source.folder}: the size of the images changes in frames {frames}")
        return clip


@dataclass(frozen=True)
class MovingOnly:
    """Passes on clips in which the camera moves."""

    settings: ClipSettings

    def __call__(self, clip: Clip) -> Clip:
        if is_moving(clip, self.settings.min_image_motion):
            return clip
        raise UnusableItem(
            f"the camera does not move in a clip of {len(clip)} frames: use recordings in which it moves more, or "
            f"lower min_image_motion of the recipe, now {self.settings.min_image_motion} px"
        )


def load_training_clips(
    sources: Iterable[Source], crop: CropSettings, settings: ClipSettings, folders: DataFolders
) -> Items[Clip]:
    """All training clips. Raises DepthRosError if a source has none."""
    parts: list[Items[Clip]] = []
    for source in sources:
        parts += [clips_of(source, crop, settings, folders)] * source.repeat
    return Joined(parts)


def load_held_out_clips(
    sources: Iterable[Source], crop: CropSettings, settings: ClipSettings, folders: DataFolders
) -> dict[str, EvenSelection[Clip]]:
    """Up to `HELD_OUT_CLIPS` clips of each validation source, evenly spaced, by its folder."""
    return {
        source.folder: EvenSelection(clips_of(source, crop, settings, folders), HELD_OUT_CLIPS)
        for source in sources
    }


def clips_of(source: Source, crop: CropSettings, settings: ClipSettings, folders: DataFolders) -> Items[Clip]:
    """The clips of a source, without gaps in time. Raises DepthRosError if it has none."""
    if source.is_rendered:
        clips: Items[Clip] = RenderedClips(source, crop, settings, folders.cache)
    else:
        starts = clip_starts(source, settings.frames, folders)
        clips = RecordedClips(source, folders, crop, settings.frames, starts)
    if not len(clips):
        raise DepthRosError(
            f"{source.folder} has no {settings.frames} consecutive frames to learn from video: it needs images in time "
            "order, without gaps"
        )
    return Converted(clips, MovingOnly(settings))


def clip_starts(source: Source, frames: int, folders: DataFolders) -> list[int]:
    """Index of the first frame of every clip: those of which all frames belong to the part and follow each other, or
    those around the frames that a split file lists."""
    recording, listed = open_sequence(source, folders)
    part = sequence_part(recording, source.part)
    starts: list[int] = []
    for run in continuous_parts(recording):
        first, stop = max(run.start, part.start), min(run.stop, part.stop)
        starts += range(first, stop - frames + 1)
    if listed is None:
        return starts[:: source.every]
    possible = set(starts)
    return [middle - frames // 2 for middle in listed if middle - frames // 2 in possible]


def open_sequence(source: Source, folders: DataFolders) -> tuple[Recording, list[int] | None]:
    """The recording, and the frames that a split file lists, or None: the recording then has their neighbours, too."""
    return _opened_sequence(source, folders, os.getpid())


@functools.cache
def _opened_sequence(
    source: Source, folders: DataFolders, process: int
) -> tuple[Recording, list[int] | None]:
    options = source.below(folders.recordings)
    if options.image_list:
        listed = replace(source, options=replace(options, masks="")).open(folders)
        if isinstance(listed, kitti_raw.Recording):
            recording, middle = listed.with_neighbours()
            return Masked(recording, Path(options.masks)) if options.masks else recording, middle
    return source.open(folders), None
