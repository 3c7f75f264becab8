"""Recorded images that textures of generated pairs are cut from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depth_ros.geometry import rectify
from depth_ros.recordings import DamagedFrame
from depth_ros.recordings.split import part_of
from depth_ros.training.data.source import DataFolders, Source

MAX_TEXTURES = 60
"""Number of images of a source above which only evenly spaced ones are used."""


class RecordedTextures(Sequence[np.ndarray]):
    """Rectified images (H, W, 3) uint8 RGB of all sources, read on access and kept: a pair takes many."""

    def __init__(self, sources: Sequence[Source], folders: DataFolders) -> None:
        self.folders = folders
        self._frames: list[tuple[Source, int]] = []
        for source in sources:
            if not source.is_rendered:
                indices = part_of(source.open(folders), source.part)
                step = max(1, len(indices) // MAX_TEXTURES)
                self._frames += [(source, index) for index in indices[::step]]
        self._images: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int, /) -> np.ndarray:  # type: ignore[override]
        if index not in self._images:
            self._images[index] = self._read(index)
        return self._images[index]

    def _read(self, index: int) -> np.ndarray:
        """The image, or the next one that is not damaged."""
        for source, frame in self._frames[index:] + self._frames[:index]:
            try:
                left = source.open(self.folders)[frame].left
            except DamagedFrame:
                continue
            return rectify(left.image, left.camera)[0]
        raise DamagedFrame("all images that textures are cut from are damaged")
