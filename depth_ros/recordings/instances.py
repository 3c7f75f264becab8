"""Instance masks of objects that may move, from a folder of label images, and their ids over the frames of a clip.

Segmentation networks number the instances of every image anew; `align_instances` gives an object one id in all frames.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.recordings.files import read_single_channel
from depth_ros.recordings.sample import Contents, Recording, Sample

CATEGORY_FACTOR = 1000
"""An id is category * 1000 + number of the instance, as in Cityscapes; ids below 1000 have category 0."""
MIN_IOU = 0.3
"""Intersection over union above which masks of consecutive frames are those of one object (Casser et al. 2019)."""
MAX_OBJECTS = 255
_CITYSCAPES = "_instanceIds"
"""End of the names of the label images of Cityscapes, where ids below 1000 are regions without instances."""


@dataclass(frozen=True)
class AlignedInstances:
    """Objects that are in all N frames of a clip. labels: (N, H, W) uint8, 0 = background, one id per object.

    categories: (256,) uint8, category of every id.
    """

    labels: np.ndarray
    categories: np.ndarray


class Masked:
    """Another recording with instance masks from a folder.

    A mask is a PNG of one channel, of the size of its image, with ids as `CATEGORY_FACTOR` says and 0 = background. Its
    name is that of the image, or begins with it and `_`; where the name of a frame has a folder (the drive in raw
    KITTI), so must the path of the mask. Raises DepthRosError if no mask belongs to an image.
    """

    def __init__(self, recording: Recording, folder: Path) -> None:
        self._recording, self._folder = recording, folder
        self.layout, self.rate = recording.layout, recording.rate
        self.names, self.stamps, self.damage = recording.names, recording.stamps, recording.damage
        self.camera_source, self.note = recording.camera_source, getattr(recording, "note", "")
        self._files = _files_by_name(folder)
        if not any(self._file(name) for name in self.names):
            raise DepthRosError(
                f"no mask in {folder} belongs to an image of the recording: name them {self.names[0]}.png"
            )

    @property
    def contents(self) -> Contents:
        return replace(self._recording.contents, instances=True)

    def __len__(self) -> int:
        return len(self._recording)

    def __getitem__(self, index: int) -> Sample:
        sample = self._recording[index]
        file = self._file(sample.name)
        if file is None:
            return sample
        ids = read_single_channel(file, sample.left.camera).astype(np.int32)
        if file.stem.endswith(_CITYSCAPES):
            ids[ids < CATEGORY_FACTOR] = 0
        return replace(sample, instances=ids)

    def _file(self, name: str) -> Path | None:
        """The mask of the frame of that name. Raises DepthRosError if there are several."""
        *folders, stem = name.split("/")
        found = [file for file in self._files.get(stem, ()) if set(folders) <= set(file.parts)]
        found = [file for file in found if file.stem.endswith(_CITYSCAPES)] or found
        if len(found) > 1:
            raise DepthRosError(f"{self._folder} has several masks of '{name}': {found[0]} and {found[1]}")
        return found[0] if found else None


def _files_by_name(folder: Path) -> dict[str, list[Path]]:
    """The PNG files below a folder by every name of a frame that they may belong to."""
    files = defaultdict(list)
    for file in sorted(folder.rglob("*.png")):
        ends = [len(file.stem), *(match.start() for match in re.finditer("_", file.stem))]
        for end in ends:
            files[file.stem[:end]].append(file)
    return files


def align_instances(frames: Sequence[np.ndarray]) -> AlignedInstances:
    """The objects of a clip by the overlap of their masks, as published: those that match through all frames.

    frames: ids (H, W) of every frame, oldest first, 0 = background. An object of the first frame, in the order of the
    ids, is matched with the mask of largest IoU in the second one, this with one of the third, and so on; each IoU must
    exceed `MIN_IOU`, and masks that are matched through all frames are taken. Other objects become background.
    """
    ids = [np.unique(frame) for frame in frames]
    overlaps = [_overlaps(frames[k : k + 2], ids[k : k + 2]) for k in range(len(frames) - 1)]
    labels, categories = np.zeros((len(frames), *frames[0].shape), np.uint8), np.zeros(256, np.uint8)
    taken = [each == 0 for each in ids]
    for first in np.flatnonzero(ids[0]):
        chain = [int(first)]
        for overlap, used in zip(overlaps, taken[1:]):
            row = np.where(used, 0.0, overlap[chain[-1]])
            chain.append(int(row.argmax()))
            if row[chain[-1]] <= MIN_IOU:
                break
        else:
            number = int(labels.max()) + 1
            if number > MAX_OBJECTS:
                break
            categories[number] = ids[0][first] // CATEGORY_FACTOR
            for k, index in enumerate(chain):
                labels[k][frames[k] == ids[k][index]] = number
                taken[k][index] = True
    return AlignedInstances(labels, categories)


class InstanceIds:
    """Ids that instances keep from frame to frame while their masks overlap."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._count = 0

    def update(self, frame: np.ndarray) -> np.ndarray:
        """(H, W) int32 ids, from 1, of the masks (H, W) of the next frame; 0 = background."""
        ids, labels = np.unique(frame), np.zeros(frame.shape, np.int32)
        kept: dict[int, int] = {}
        if self._last is not None and self._last.shape == frame.shape:
            older = np.unique(self._last)
            overlap = _overlaps((self._last, frame), (older, ids))
            overlap[:, ids == 0] = 0.0
            for row in np.flatnonzero(older):
                column = int(overlap[row].argmax())
                if overlap[row, column] > MIN_IOU:
                    kept[column] = int(older[row])
                    overlap[:, column] = 0.0
        for column in np.flatnonzero(ids):
            if column not in kept:
                self._count += 1
            labels[frame == ids[column]] = kept.get(int(column), self._count)
        self._last = labels
        return labels


def _overlaps(frames: Sequence[np.ndarray], ids: Sequence[np.ndarray]) -> np.ndarray:
    """(A, B) intersection over union of the masks of A ids in one frame and B ids in another one."""
    a, b = (np.searchsorted(each, frame) for each, frame in zip(ids, frames))
    shape = (len(ids[0]), len(ids[1]))
    common = np.bincount((a * shape[1] + b).ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    return common / (common.sum(1, keepdims=True) + common.sum(0, keepdims=True) - common)


def movable_objects(sample: Sample) -> np.ndarray | None:
    """(H, W) labels of what moves or may move: instance masks, else moving objects, 0 = static; None without both."""
    return sample.moving_objects if sample.instances is None else sample.instances


def clip_instances(samples: Sequence[Sample]) -> AlignedInstances | None:
    """The objects of consecutive samples: of their instance masks, aligned, else their moving objects; else None."""
    instances = [sample.instances for sample in samples if sample.instances is not None]
    if len(instances) == len(samples):
        return align_instances(instances)
    moving = [sample.moving_objects for sample in samples if sample.moving_objects is not None]
    if len(moving) == len(samples):
        return AlignedInstances(np.stack(moving).astype(np.uint8), np.zeros(256, np.uint8))
    return None
