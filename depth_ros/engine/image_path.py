"""From camera images to inputs of an engine, and from its outputs to arrays: with OpenCV, or with torch on a GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast

import cv2
import numpy as np

from depth_ros.datatypes import Depth, Frame
from depth_ros.geometry import rectify

if TYPE_CHECKING:
    from torch import Tensor

Pixels: TypeAlias = "np.ndarray | Tensor"
"""An image (H, W, 3) uint8 RGB, or several (N, H, W, 3), on the device of an engine; arrays on the CPU."""
Run: TypeAlias = "Callable[..., Tensor | Sequence[Tensor]]"
"""Tensors with a batch of 1 on the device to tensors, as the contract of the task defines them."""


DeviceImage = TypeVar("DeviceImage")


class ImagePath(Protocol[DeviceImage]):
    """Preparation of images on one device, and the transfers from and to it. Thread-safe."""

    def rectified(self, frame: Frame | Depth) -> DeviceImage:
        """The rectified image, at the size of the camera. Raises DepthRosError for an unsupported distortion model."""
        ...

    def resized(
        self, image: DeviceImage, width: int, height: int, enlarging: int = cv2.INTER_LINEAR
    ) -> DeviceImage:
        """The image at width x height px: averaged by area where it gets narrower, else interpolated as `enlarging`."""
        ...

    def padded(self, image: DeviceImage, width: int, height: int) -> DeviceImage:
        """The image extended to width x height px at the right and the bottom; the last pixels are repeated."""
        ...

    def stacked(self, images: Sequence[DeviceImage]) -> DeviceImage:
        """(N, H, W, 3) of images of one size."""
        ...

    def run(
        self, run: Run, inputs: Sequence[DeviceImage | np.ndarray], images: Sequence[DeviceImage] = ()
    ) -> tuple[np.ndarray, ...]:
        """The results of a network for inputs without the batch dimension, then `images`, as arrays.

        Arrays of uint8 are images and labels; those of other types become float32.
        """
        ...


class OpenCvPath:
    """The path of engines on the CPU."""

    def rectified(self, frame: Frame | Depth) -> np.ndarray:
        return rectify(frame.image, frame.camera)[0]

    def resized(
        self, image: np.ndarray, width: int, height: int, enlarging: int = cv2.INTER_LINEAR
    ) -> np.ndarray:
        return cv2.resize(
            image, (width, height), interpolation=interpolation(image.shape[1], width, enlarging)
        )

    def padded(self, image: np.ndarray, width: int, height: int) -> np.ndarray:
        bottom, right = height - image.shape[0], width - image.shape[1]
        return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)

    def stacked(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(images)

    def run(
        self, run: Run, inputs: Sequence[np.ndarray], images: Sequence[np.ndarray] = ()
    ) -> tuple[np.ndarray, ...]:
        import torch

        with torch.inference_mode():
            found = as_sequence(run(*(torch.from_numpy(_contiguous(array))[None] for array in inputs)))
            return (*(result[0].numpy() for result in found), *images)


@functools.cache
def image_path(device: str) -> ImagePath[Pixels]:
    """The path of all engines of this process on a device. It takes the images that it has returned."""
    if device == "cpu":
        return cast("ImagePath[Pixels]", OpenCvPath())
    from depth_ros.engine.torch_path import TorchPath

    return cast("ImagePath[Pixels]", TorchPath(device))


def interpolation(width: int, new_width: int, enlarging: int) -> int:
    """OpenCV's interpolation for images of `width` px that become `new_width` px wide."""
    return cv2.INTER_AREA if new_width < width else enlarging


def _contiguous(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array if array.dtype == np.uint8 else np.asarray(array, np.float32))


Result = TypeVar("Result")


def as_sequence(results: Result | Sequence[Result]) -> Sequence[Result]:
    """The results of a network that returns one or several."""
    return results if isinstance(results, (tuple, list)) else (results,)
