"""A clip as effects need it: rectified images with poses, people and depth, from a bag or a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depth_ros.bags import BagReader
from depth_ros.datasets import Sample, open_folder
from depth_ros.datasets.files import Trajectory, images_in
from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.depth import resized
from depth_ros.geometry import rectify

if TYPE_CHECKING:
    from depth_ros.estimators.depth import DepthEstimator


@dataclass(frozen=True)
class Moment:
    """One image of a clip. frame: rectified. people: (H, W) bool, whoever moves. T_world_camera: (4, 4) or None.

    depth: (H, W) float32, NaN = unknown: recorded, or what a model says, or None. joints: (H, W) uint8, number of the
    joint that a disc there stands for (1 to 17), 0 = none; None where nobody looked for joints.
    """

    name: str
    frame: Frame
    people: np.ndarray
    T_world_camera: np.ndarray | None
    depth: np.ndarray | None
    joints: np.ndarray | None = None


def read_clip(
    source: Path,
    poses: Path | None = None,
    masks: Path | None = None,
    limit: int = 0,
    joints: Path | None = None,
) -> list[Moment]:
    """The moments of a bag or folder, at most `limit` (0 = all).

    poses: trajectory of the camera in the TUM format, from any odometry; else those recorded. masks: folder of
    images under the names of the frames, or as many in the same order, not 0 = people; else recorded moving
    objects. joints: likewise, numbers of joints. Raises DepthRosError if there is no image, or a mask is missing or of
    another size.
    """
    trajectory = Trajectory(poses) if poses else None
    moments = [_moment(sample, trajectory) for sample in _samples(source, limit)]
    if not moments:
        raise DepthRosError(f"{source} has no images")
    if masks is not None:
        found = _pictures(masks, moments)
        moments = [replace(moment, people=mask > 0) for moment, mask in zip(moments, found)]
    if joints is not None:
        found = _pictures(joints, moments)
        moments = [replace(moment, joints=numbers) for moment, numbers in zip(moments, found)]
    return moments


def _pictures(folder: Path, moments: list[Moment]) -> list[np.ndarray]:
    """The grey images (H, W) uint8 that belong to the moments, by name, or by order where no name is the same."""
    files = images_in(folder)
    by_order = not files.keys() & {moment.name for moment in moments} and len(files) >= len(moments)
    names = list(files) if by_order else [moment.name for moment in moments]
    return [_picture(folder, files, name, moment) for moment, name in zip(moments, names)]


def _samples(source: Path, limit: int) -> Iterator[Sample]:
    if (
        source.is_dir()
        and not any(source.glob("metadata.yaml"))
        and not any(source.glob("*.mcap"))
        and not any(source.glob("*.db3"))
    ):
        folder = open_folder(source)
        yield from (folder[i] for i in range(min(limit or len(folder), len(folder))))
        return
    with BagReader(source) as bag:
        for i, sample in enumerate(bag):
            if limit and i == limit:
                return
            yield sample


def _moment(sample: Sample, trajectory: Trajectory | None) -> Moment:
    image, camera = rectify(sample.left.image, sample.left.camera)
    frame = replace(sample.left, image=image, camera=camera)
    T = trajectory.at(frame.stamp) if trajectory else sample.T_world_camera
    people = np.zeros(image.shape[:2], bool) if sample.moving is None else sample.moving > 0
    return Moment(sample.name, frame, people, T, sample.depth)


def _picture(folder: Path, files: dict[str, Path], name: str, moment: Moment) -> np.ndarray:
    mask = cv2.imread(str(files[name]), cv2.IMREAD_GRAYSCALE) if name in files else None
    if mask is None:
        raise DepthRosError(f"{folder} has no readable mask for image '{name}': one image a frame is needed")
    if mask.shape != moment.people.shape:
        raise DepthRosError(
            f"{files[name]} is {mask.shape[1]}x{mask.shape[0]}, its image "
            f"{moment.people.shape[1]}x{moment.people.shape[0]}: masks must have the size of the images"
        )
    return mask


def posed(moments: list[Moment], source: Path) -> list[Moment]:
    """Those with a pose. DepthRosError if fewer than two have one."""
    found = [moment for moment in moments if moment.T_world_camera is not None]
    if len(found) < 2:
        raise DepthRosError(
            f"{source} has poses for {len(found)} of {len(moments)} images; two are needed: give --poses, a "
            "trajectory of any odometry (seconds tx ty tz qx qy qz qw, camera in world)"
        )
    return found


def with_depth(moment: Moment, estimator: DepthEstimator) -> Moment:
    """The moment with the model's depth, at the size of its image."""
    height, width = moment.people.shape
    found = estimator.estimate(moment.frame).depth
    return replace(moment, depth=resized(found.astype(np.float64), height, width).astype(np.float32))
