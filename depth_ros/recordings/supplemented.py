"""A recording with poses and key points from other files than its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify_labels
from depth_ros.parallax import keypoints_input
from depth_ros.recordings.files import NS, Trajectory, images_in
from depth_ros.recordings.imu import Imu, imu_of
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import Contents, Recording, Sample


class Supplemented:
    """The frames of another recording with what the files of the options give in place of its own.

    Key points become the extra input `keypoints`.
    """

    def __init__(self, recording: Recording, options: RecordingOptions) -> None:
        self._recording = recording
        self._trajectory = Trajectory.read_tum(options.poses) if options.poses else None
        if self._trajectory and len(recording) and not self._trajectory.covers(recording.stamps):
            own, images = _seconds(self._trajectory.stamps), _seconds(recording.stamps)
            raise DepthRosError(
                f"{options.poses} has poses from {own}, the images are from {images}: give the trajectory of this "
                "recording"
            )
        self._joints = LabelImages(options.keypoints, recording.names) if options.keypoints else None
        self.layout, self.rate, self.camera_source = recording.layout, recording.rate, recording.camera_source
        self.names, self.stamps, self.note = recording.names, recording.stamps, getattr(recording, "note", "")

    @property
    def damage(self) -> Sequence[str]:
        return self._recording.damage  # of some kinds it is known only once all frames were read

    @property
    def contents(self) -> Contents:
        own = self._recording.contents
        return replace(own, poses=own.poses or self._trajectory is not None)

    def imu(self) -> Imu | None:
        return imu_of(self._recording)

    def __len__(self) -> int:
        return len(self._recording)

    def __getitem__(self, index: int) -> Sample:
        sample = self._recording[index]
        size = sample.left.image.shape[:2]
        if self._trajectory:
            sample = replace(sample, T_world_camera=self._trajectory.at(sample.left.stamp))
        if self._joints:
            joints = rectify_labels(self._joints.read(index, size), sample.left.camera)
            inputs = {**sample.left.extra_inputs, **keypoints_input(joints)}
            sample = replace(sample, left=replace(sample.left, extra_inputs=inputs))
        return sample


def _seconds(stamps: Sequence[int] | np.ndarray) -> str:
    return f"{stamps[0] / NS:.3f} to {stamps[-1] / NS:.3f} s"


class LabelImages:
    """Label images of a folder that belong to the frames of a recording: those of the same name or, if no name matches,
    those in the same order."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._files, self._names = folder, images_in(folder), list(names)
        if not self._files.keys() & set(names) and len(self._files) >= len(names):
            self._names = list(self._files)

    def read(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """(H, W) uint8 of a frame of size (height, width). Raises DepthRosError if it has none, or of another size."""
        name = self._names[index]
        file = self._files.get(name)
        labels = None if file is None else cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if labels is None:
            raise DepthRosError(
                f"{self._folder} has no readable image for frame '{name}': one per frame is required"
            )
        if labels.shape != size:
            raise DepthRosError(
                f"{file} is {labels.shape[1]}x{labels.shape[0]}, its frame {size[1]}x{size[0]}: they must have the "
                "same size"
            )
        return labels
