"""One frame of a recording, and what every recording offers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame, Planes
from depth_ros.errors import DepthRosError

log = logging.getLogger("depth_ros.recordings")
MIN_SHIFT = 0.01
"""Difference of principal points, px, that is corrected."""


class DamagedFrame(DepthRosError):
    """A frame that cannot be decoded. The other frames of the recording can be used, see `readable`."""


@dataclass(frozen=True)
class Sample:
    """One frame of a recording with its ground truth.

    name: identifier of the frame in the recording. left: the image of the left or only camera.
    right: the image of the right camera or None; the pair is rectified if `left.camera.is_rectified`.
    depth: (H, W) float32 m of `left`, NaN = invalid, or None if the recording has no depth for it.
    T_world_camera: (4, 4) pose of the left camera (of the rectified one), or None.
    moving_objects: (H, W) int32 instance ids of moving objects, 0 = static, or None.
    instances: (H, W) int32 ids of objects that may move, category * 1000 + number as in Cityscapes, 0 = background, or
    None. The ids of different frames are independent, see `recordings.instances`.
    velocities: {instance id: (3,) m/s relative to the ground, in the camera frame}, or None.
    planes: those of the rectified left image, or None.
    """

    name: str
    left: Frame
    right: Frame | None = None
    depth: np.ndarray | None = None
    T_world_camera: np.ndarray | None = None
    moving_objects: np.ndarray | None = None
    velocities: dict[int, np.ndarray] | None = None
    instances: np.ndarray | None = None
    planes: Planes | None = None

    @property
    def fx_baseline(self) -> float:
        """fx * baseline of the rectified pair, px m. 0 without a right image.

        Depth times disparity, if both principal points have the same x; see `with_common_principal_point`.
        """
        return 0.0 if self.right is None else self.left.camera.rectified().fx * self.right.camera.baseline


def with_common_principal_point(sample: Sample) -> Sample:
    """The sample with the right image moved along its rows so that disparity is `fx_baseline` / depth.

    Rectified pairs of Middlebury are published with different principal points. Others are returned as they are.
    """
    if sample.right is None or not sample.right.camera.is_rectified:
        return sample
    left, right = sample.left.camera, sample.right.camera
    shift = left.cx - right.cx
    if abs(shift) < MIN_SHIFT:
        return sample
    image = cv2.warpAffine(
        sample.right.image, np.array([[1, 0, shift], [0, 1, 0]]), (right.width, right.height)
    )
    size = right.width, right.height
    camera = Camera.pinhole(*size, right.fx, right.fy, left.cx, right.cy, right.baseline)
    return replace(sample, right=replace(sample.right, image=image, camera=camera))


@dataclass(frozen=True)
class Contents:
    """What most frames of a recording have.

    depth: measured or exact depth, not depth that a model predicted. predicted_depth: depth is what a model predicted,
    which must not be taken for ground truth. consecutive: frames of a moving camera in time order, not independent
    images. exact: rendered images, with exact poses and without errors of a lens, a shutter or a clock. instances:
    masks of objects that may move. metric: depth and poses are in metres; otherwise they have an unknown scale, as
    those of structure from motion. imu: measurements of an IMU, see `recordings.imu`. test_split: indices of the
    published test images, which training leaves out; empty if there is no published split.
    """

    pairs: bool = False
    depth: bool = False
    poses: bool = False
    moving_objects: bool = False
    predicted_depth: bool = False
    consecutive: bool = True
    exact: bool = False
    instances: bool = False
    imu: bool = False
    planes: bool = False
    metric: bool = True
    test_split: tuple[int, ...] = ()


class Recording(Protocol):
    """A recording. Samples are in time order and are read on access; `DamagedFrame` is raised where one cannot be.

    layout: name of its kind, such as "tum" or "bag". rate: frames per second; stamps are generated from it where none
    are recorded. stamps: ns of every frame. camera_source: where the calibration comes from. damage: what of it cannot
    be read, and how to repair it, one line each.
    """

    @property
    def layout(self) -> str: ...

    @property
    def rate(self) -> float: ...

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def stamps(self) -> Sequence[int]: ...

    @property
    def contents(self) -> Contents: ...

    @property
    def camera_source(self) -> str: ...

    @property
    def damage(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def readable(
    recording: Recording, indices: Iterable[int] | None = None, damaged: list[str] | None = None
) -> Iterator[tuple[int, Sample]]:
    """Index and sample of the given frames (None: of all), without the damaged ones.

    Each damaged one is logged, and its problem is added to `damaged`.
    """
    for index in range(len(recording)) if indices is None else indices:
        try:
            sample = recording[index]
        except DamagedFrame as error:
            log.warning("skipped a damaged frame: %s", error)
            if damaged is not None:
                damaged.append(str(error))
            continue
        yield index, sample
