"""The path of images to the engines on a GPU and back, in torch. Runs on any device of torch.

An image is copied into pinned memory and uploaded once per frame, for all engines of the process. Rectification,
resizing, the network and the transfer of its results are queued in one stream, and the CPU waits once, at the end.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.engine.image_path import Run, as_sequence, interpolation
from depth_ros.geometry import Calibration, calibration, rectification_maps

MID_GREY = 128
MAX_RECENT = 8
"""Images kept on the device while the frames or arrays that they belong to exist."""


class TorchPath:
    """The same as OpenCvPath, within 0.5 grey levels in the mean.

    Results are arrays in pinned memory that torch recycles once nobody refers to them, so the next frame overwrites
    none that is in use, and none is copied again. dtype: of the matrix products that resize images.
    """

    def __init__(self, device: str, dtype: torch.dtype | None = None) -> None:
        self._device = torch.device(device)
        is_gpu = self._device.type == "cuda"
        self._dtype = dtype or (torch.float16 if is_gpu else torch.float32)
        self._pinned = is_gpu
        self._stream = torch.cuda.Stream(self._device) if is_gpu else None
        self._lock = threading.RLock()
        self._recent: list[tuple[weakref.ref, Tensor]] = []
        self._grid = functools.lru_cache(maxsize=4)(self._new_grid)
        self._weights = functools.lru_cache(maxsize=16)(self._new_weights)
        self._constant = functools.lru_cache(maxsize=16)(self._new_constant)

    def rectified(self, frame: Frame | Depth) -> Tensor:
        with self._queue():
            image = self._known(frame)
            if image is None:
                image = self._known(frame.image)
                image = self._uploaded(frame.image) if image is None else image
                image = image if frame.camera.is_rectified else self._remapped(image, frame.camera)
                self._remember(frame, image)
            return image

    def resized(self, image: Tensor, width: int, height: int, enlarging: int = cv2.INTER_LINEAR) -> Tensor:
        old_height, old_width = image.shape[:2]
        if (old_width, old_height) == (width, height):
            return image
        method = interpolation(old_width, width, enlarging)
        with self._queue():
            rows = self._weights(old_height, height, method, width > old_width)  # (height, old_height)
            columns = self._weights(old_width, width, method, height > old_height)  # (width, old_width)
            planes = as_planes(image).to(self._dtype) - MID_GREY  # around zero, where float16 is most exact
            return as_pixels((rows @ planes @ columns.T).float() + MID_GREY)

    def padded(self, image: Tensor, width: int, height: int) -> Tensor:
        bottom, right = height - image.shape[0], width - image.shape[1]
        with self._queue():
            image = torch.cat([image, image[-1:].expand(bottom, -1, -1)])
            return torch.cat([image, image[:, -1:].expand(-1, right, -1)], 1)

    def stacked(self, images: Sequence[Tensor]) -> Tensor:
        with self._queue():
            return torch.stack(list(images))

    def run(
        self, run: Run, inputs: Sequence[Tensor | np.ndarray], images: Sequence[Tensor] = ()
    ) -> tuple[np.ndarray, ...]:
        with self._queue():
            found = as_sequence(run(*(self._tensor(each)[None] for each in inputs)))
            arrays = self._downloaded([*(result[0] for result in found), *images])
            for array, image in zip(arrays[len(found) :], images, strict=True):
                self._remember(array, image)
            return arrays

    @contextlib.contextmanager
    def _queue(self) -> Iterator[None]:
        """One thread at a time queues work, in the stream of this path."""
        stream = torch.cuda.stream(self._stream) if self._stream else contextlib.nullcontext()
        with self._lock, torch.inference_mode(), stream:
            yield

    def _tensor(self, value: Tensor | np.ndarray) -> Tensor:
        if isinstance(value, Tensor):
            return value
        if value.dtype == np.uint8:
            return self._uploaded(value)
        if value.ndim > 2:  # other than intrinsics, maps differ from frame to frame
            return self._uploaded(np.asarray(value, np.float32))
        return self._constant(value.shape, np.asarray(value, np.float32).tobytes())

    def _uploaded(self, array: np.ndarray) -> Tensor:
        dtype = torch.uint8 if array.dtype == np.uint8 else torch.float32
        pinned = torch.empty(array.shape, dtype=dtype, pin_memory=self._pinned)
        np.copyto(pinned.numpy(), array)
        return pinned.to(self._device, non_blocking=True)

    def _downloaded(self, tensors: Sequence[Tensor]) -> tuple[np.ndarray, ...]:
        pinned = [torch.empty(each.shape, dtype=each.dtype, pin_memory=self._pinned) for each in tensors]
        for target, source in zip(pinned, tensors, strict=True):
            target.copy_(source, non_blocking=True)
        if self._stream:
            self._stream.synchronize()
        return tuple(each.numpy() for each in pinned)

    def _known(self, owner: object) -> Tensor | None:
        """The image on the device of a frame, or of an array that was downloaded. Frames are compared by identity: a
        driver may reuse the memory of an image, but for another frame."""
        return next((image for reference, image in self._recent if reference() is owner), None)

    def _remember(self, owner: object, image: Tensor) -> None:
        alive = [each for each in self._recent if each[0]() is not None]
        self._recent = [*alive[1 - MAX_RECENT :], (weakref.ref(owner), image)]

    def _remapped(self, image: Tensor, camera: Camera) -> Tensor:
        planes = as_planes(image)[None].float()  # (1, 3, H, W)
        return as_pixels(F.grid_sample(planes, self._grid(calibration(camera)), align_corners=False)[0])

    def _new_grid(self, key: Calibration) -> Tensor:
        """Positions (1, H, W, 2) in the raw image, -1 to 1 from edge to edge."""
        whole, fraction = rectification_maps(key)  # px, and 1/32 px: x + 32 y
        pixels = whole + np.stack([fraction % 32, fraction // 32], -1) / 32
        grid = (2 * pixels + 1) / [key.width, key.height] - 1
        return torch.from_numpy(grid[None].astype(np.float32)).to(self._device)

    def _new_weights(self, size: int, new_size: int, method: int, other_grows: bool) -> Tensor:
        weights = torch.from_numpy(resize_weights(size, new_size, method, other_grows))
        return weights.to(self._device, self._dtype)

    def _new_constant(self, shape: tuple[int, ...], data: bytes) -> Tensor:
        return torch.from_numpy(np.frombuffer(data, np.float32).reshape(shape).copy()).to(self._device)


def as_planes(image: Tensor) -> Tensor:
    """(3, H, W) of an image (H, W, 3)."""
    return image.permute(2, 0, 1).contiguous()


def as_pixels(planes: Tensor) -> Tensor:
    """(H, W, 3) uint8 of colour planes (3, H, W) float32, rounded and saturated as in OpenCV, halves upwards."""
    return (planes + 0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def resize_weights(size: int, new_size: int, method: int, other_grows: bool = False) -> np.ndarray:
    """Weights (new_size, size) float32 of cv2.resize along one axis, found by resizing an identity matrix.

    other_grows: the other axis grows; INTER_AREA then interpolates along both.
    """
    basis = np.eye(size, dtype=np.float32)
    if method == cv2.INTER_AREA and other_grows:  # pairs of equal columns become fours of equal columns
        return cv2.resize(np.repeat(basis, 2, 1), (4 * size, new_size), interpolation=method)[:, 1::4].copy()
    return cv2.resize(basis, (size, new_size), interpolation=method)
