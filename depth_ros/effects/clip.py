"""Clips for effects: rectified images with poses, masks of people and depth, from a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.protocols import resize_depth
from depth_ros.recordings import Recording, RecordingOptions, Sample, open_recording, readable
from depth_ros.recordings.instances import movable_objects
from depth_ros.recordings.two_view_inputs import rectified

if TYPE_CHECKING:
    from depth_ros.estimators.depth import DepthEstimator


@dataclass(frozen=True)
class ClipOptions:
    """recording: how it is read, poses and masks included. limit: maximum number of images, 0 = all."""

    recording: RecordingOptions = field(default_factory=RecordingOptions)
    limit: int = 0


@dataclass(frozen=True)
class ClipImage:
    """One image of a clip. index: in the recording. frame: rectified.

    people: (H, W) bool, people and other moving objects. T_world_camera: (4, 4) or None. depth: (H, W) float32, NaN =
    invalid, recorded or estimated, or None.
    """

    name: str
    frame: Frame
    people: np.ndarray
    T_world_camera: np.ndarray | None
    depth: np.ndarray | None
    index: int = 0


def open_clip(source: Path, options: ClipOptions = ClipOptions()) -> tuple[Recording, list[ClipImage]]:
    """A recording, and its images. Raises DepthRosError if there are none."""
    recording = open_recording(source, options.recording)
    count = min(options.limit or len(recording), len(recording))
    clip = [clip_image(index, sample) for index, sample in readable(recording, range(count))]
    if not clip:
        raise DepthRosError(f"{source} has no images")
    return recording, clip


def clip_image(index: int, sample: Sample) -> ClipImage:
    """The image of a sample, which is the one at `index` of its recording."""
    sample = rectified(sample)
    labels, shape = movable_objects(sample), sample.left.image.shape[:2]
    people = np.zeros(shape, bool) if labels is None else labels > 0
    return ClipImage(sample.name, sample.left, people, sample.T_world_camera, sample.depth, index)


def read_clip(source: Path, options: ClipOptions = ClipOptions()) -> list[ClipImage]:
    """The images of a recording. Raises DepthRosError if there are none."""
    return open_clip(source, options)[1]


def require_poses(clip: Sequence[ClipImage], source: Path) -> list[ClipImage]:
    """The images that have a pose. Raises DepthRosError if fewer than two have one."""
    posed = [image for image in clip if image.T_world_camera is not None]
    if len(posed) < 2:
        raise DepthRosError(
            f"{source} has poses for {len(posed)} of {len(clip)} images; at least two are required: give --poses, "
            "a trajectory of any odometry (seconds tx ty tz qx qy qz qw, camera in world)"
        )
    return posed


def estimated_depth(frame: Frame, estimator: DepthEstimator) -> np.ndarray:
    """Depth (H, W) float32 of a rectified frame by a model, at the size of the image."""
    height, width = frame.image.shape[:2]
    return resize_depth(estimator.estimate(frame).depth.astype(np.float64), height, width).astype(np.float32)
