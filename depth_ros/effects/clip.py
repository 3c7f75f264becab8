"""Clips for effects: rectified images with poses, masks of people and depth, from a recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.protocols import resize_depth
from depth_ros.geometry import rectify
from depth_ros.recordings import Sample, open_recording, readable
from depth_ros.recordings.files import Trajectory, images_in

if TYPE_CHECKING:
    from depth_ros.estimators.depth import DepthEstimator


@dataclass(frozen=True)
class ClipOptions:
    """Additional inputs of a clip.

    poses: trajectory of the camera in the TUM format, from any odometry; default: recorded poses. masks: folder of
    images, nonzero = people; default: recorded moving objects. joints: folder of images with joint numbers. Masks and
    joints belong to the images of the same name or, if no name matches, to the images in the same order. limit:
    maximum number of images, 0 = all.
    """

    poses: Path | None = None
    masks: Path | None = None
    joints: Path | None = None
    limit: int = 0


@dataclass(frozen=True)
class ClipImage:
    """One image of a clip. frame: rectified. people: (H, W) bool, people and other moving objects.

    T_world_camera: (4, 4) or None. depth: (H, W) float32, NaN = invalid, recorded or estimated, or None. joints:
    (H, W) uint8, number (1 to 17) of the joint marked by a disc, 0 = none; None without joint detection.
    """

    name: str
    frame: Frame
    people: np.ndarray
    T_world_camera: np.ndarray | None
    depth: np.ndarray | None
    joints: np.ndarray | None = None


def read_clip(source: Path, options: ClipOptions = ClipOptions()) -> list[ClipImage]:
    """Read the images of a recording.

    Raises DepthRosError if there is no image, or if a mask or joint image is missing or has another size.
    """
    trajectory = Trajectory.read_tum(options.poses) if options.poses else None
    clip = [_clip_image(sample, trajectory) for sample in _samples(source, options.limit)]
    if not clip:
        raise DepthRosError(f"{source} has no images")
    if options.masks is not None:
        masks = _read_masks(options.masks, clip)
        clip = [replace(image, people=mask > 0) for image, mask in zip(clip, masks)]
    if options.joints is not None:
        joints = _read_masks(options.joints, clip)
        clip = [replace(image, joints=numbers) for image, numbers in zip(clip, joints)]
    return clip


def _samples(source: Path, limit: int) -> Iterator[Sample]:
    recording = open_recording(source)
    count = min(limit or len(recording), len(recording))
    yield from (sample for _, sample in readable(recording, range(count)))


def _clip_image(sample: Sample, trajectory: Trajectory | None) -> ClipImage:
    image, camera = rectify(sample.left.image, sample.left.camera)
    frame = replace(sample.left, image=image, camera=camera)
    T = trajectory.at(frame.stamp) if trajectory else sample.T_world_camera
    labels = sample.moving_objects
    people = np.zeros(image.shape[:2], bool) if labels is None else labels > 0
    return ClipImage(sample.name, frame, people, T, sample.depth)


def _read_masks(folder: Path, clip: Sequence[ClipImage]) -> list[np.ndarray]:
    """The grey images (H, W) uint8 of a folder that belong to a clip: by name, or by order if no name matches."""
    files = images_in(folder)
    by_order = not files.keys() & {image.name for image in clip} and len(files) >= len(clip)
    names = list(files) if by_order else [image.name for image in clip]
    return [_read_mask(folder, files, name, image) for image, name in zip(clip, names)]


def _read_mask(folder: Path, files: dict[str, Path], name: str, image: ClipImage) -> np.ndarray:
    mask = cv2.imread(str(files[name]), cv2.IMREAD_GRAYSCALE) if name in files else None
    if mask is None:
        raise DepthRosError(
            f"{folder} has no readable mask for image '{name}': one mask per image is required"
        )
    if mask.shape != image.people.shape:
        raise DepthRosError(
            f"{files[name]} is {mask.shape[1]}x{mask.shape[0]}, its image "
            f"{image.people.shape[1]}x{image.people.shape[0]}: masks must have the size of the images"
        )
    return mask


def require_poses(clip: Sequence[ClipImage], source: Path) -> list[ClipImage]:
    """The images that have a pose. Raises DepthRosError if fewer than two have one."""
    posed = [image for image in clip if image.T_world_camera is not None]
    if len(posed) < 2:
        raise DepthRosError(
            f"{source} has poses for {len(posed)} of {len(clip)} images; at least two are required: give --poses, "
            "a trajectory of any odometry (seconds tx ty tz qx qy qz qw, camera in world)"
        )
    return posed


def with_estimated_depth(image: ClipImage, estimator: DepthEstimator) -> ClipImage:
    """The image with the depth of a model, resized to the image."""
    height, width = image.people.shape
    depth = estimator.estimate(image.frame).depth.astype(np.float64)
    return replace(image, depth=resize_depth(depth, height, width).astype(np.float32))
