"""Depth and disparity that were recorded, for instance from a node, matched by their stamps to a recorded folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np

from depth_ros import geometry
from depth_ros.datatypes import Depth, Disparity, Frame, StereoFrame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Recording


class Stamped(Protocol):
    """Anything with a stamp, ns."""

    @property
    def stamp(self) -> int: ...


class Recorded(Protocol):
    """A recorded depth or disparity image.

    stamp: ns, of its frame or pair. image: (H, W) depth in m, NaN = invalid; or disparity in px, NaN = invalid, 0 =
    infinitely far. latency: s from publishing the frame to receiving the image.
    """

    @property
    def stamp(self) -> int: ...

    @property
    def image(self) -> np.ndarray: ...

    @property
    def latency(self) -> float: ...


S = TypeVar("S", bound=Stamped)


def match_by_stamp(recorded: Iterable[S], folder: Recording, data: Path, what: str) -> dict[int, S]:
    """Recorded results by the index in the folder of the image with the same stamp, in order.

    data: path of the folder. what: kind of the results, for the DepthRosError that is raised if none matches.
    """
    by_stamp = {each.stamp: each for each in recorded}
    matches = {index: by_stamp[stamp] for index, stamp in enumerate(folder.stamps) if stamp in by_stamp}
    if not matches:
        raise DepthRosError(
            f"none of {len(by_stamp)} {what} has the stamp of an image in {data}; do they belong to another recording?"
        )
    return matches


def depth_of_frame(depth: np.ndarray, frame: Frame) -> Depth:
    """A recorded depth (h, w) m of a frame, with the camera and the pixels that belong to it."""
    height, width = depth.shape
    image, camera = geometry.rectify(frame.image, frame.camera)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return Depth(frame.stamp, frame.frame_id, depth, camera.resized(width, height), small)


def disparity_of_pair(disparity: np.ndarray, pair: StereoFrame) -> Disparity:
    """A recorded disparity (H, W) px, 0 = infinitely far, of a pair."""
    left, offset = pair.left, pair.left.camera.cx - pair.right.camera.cx
    return Disparity(
        left.stamp,
        left.frame_id,
        disparity + np.float32(offset),
        left.camera,
        left.image,
        pair.baseline,
        offset,
    )


class RecordedDepths:
    """Estimator that looks up recorded depth by the stamp of a frame."""

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        self._by_stamp = {each.stamp: each.image for each in recorded}

    def estimate(self, frame: Frame) -> Depth:
        """The depth recorded for this frame. Raises KeyError if there is none."""
        return depth_of_frame(self._by_stamp[frame.stamp], frame)


class RecordedDisparities:
    """Estimator that looks up recorded disparity by the stamp of a pair."""

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        self._by_stamp = {each.stamp: each.image for each in recorded}

    def estimate(self, pair: StereoFrame) -> Disparity:
        """The disparity recorded for this pair. Raises KeyError if there is none."""
        return disparity_of_pair(self._by_stamp[pair.left.stamp], pair)
