"""Depth images with the images they belong to, from two topics: the newest depth wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node

from depth_ros.datatypes import Camera, Depth
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify
from depth_ros.messages import stamp_ns
from depth_ros.nodes.inputs.camera import CameraInput

KEPT = 30
"""Images that wait for their depth, which comes later than they: one second at 30 Hz."""
SAME_CAMERA = 0.01
"""Of the width: depth and image may disagree by so much on where a pixel looks."""


class RgbdInput:
    """`depth/image_rect`, `depth/camera_info`, `image`, `camera_info` of `node`.

    Each depth with an image whose stamp differs by at most `tolerance` seconds goes to `on_pair`, as (image, depth);
    `depth` decodes both. A depth without an image is counted in `unpaired`. Complaints go to `complain`.
    """

    def __init__(
        self,
        node: Node,
        transport: str,
        rectified: bool,
        tolerance: float,
        on_pair: Callable[[Any, Any], None],
        complain: Callable[[str], None],
    ) -> None:
        self.on_pair, self.pairs, self.unpaired = on_pair, 0, 0
        self._tolerance = round(tolerance * 1e9)
        self._images: dict[int, Any] = {}  # by stamp, oldest first
        self._waiting: Any = None
        self._gap: float | None = None
        self.image = CameraInput(node, transport, rectified, self._on_image, complain, kept=4)
        self.depth_image = CameraInput(
            node, "raw", rectified, self._on_depth, complain, "depth", "image_rect"
        )

    def destroy(self) -> None:
        self.image.destroy()
        self.depth_image.destroy()

    @property
    def dropped(self) -> int:
        """Depth images that the middleware replaced by newer ones, and those that found no image."""
        return self.depth_image.dropped + self.unpaired

    def depth(self, image: Any, depth: Any) -> Depth:
        """Both decoded, the image at the size of the depth. Raises DepthRosError where they do not fit."""
        frame = self.image.frame(image)
        if depth.header.frame_id != frame.frame_id:
            raise DepthRosError(
                f"depth is in frame '{depth.header.frame_id}' and the image in '{frame.frame_id}': give depth that is "
                "registered to the image (depth_image_proc's register node; align_depth of a RealSense driver)"
            )
        pixels, camera = rectify(frame.image, frame.camera)
        return self.depth_image.depth(depth, resized(pixels, camera, self.depth_image.usable_camera()))

    def _on_image(self, message: Any) -> None:
        stamp = stamp_ns(message.header)
        if self._images and stamp < next(reversed(self._images)):  # time went back
            self._images.clear()
        self._images[stamp] = message
        while len(self._images) > KEPT:
            del self._images[next(iter(self._images))]
        if self._waiting is not None:
            self._on_depth(self._waiting)

    def _on_depth(self, message: Any) -> None:
        if self._waiting is not None and self._waiting is not message:
            self.unpaired += 1
        self._waiting = message
        stamp = stamp_ns(message.header)
        best = min(self._images, key=lambda each: abs(each - stamp), default=None)
        if best is None:
            return
        self._gap = abs(best - stamp) / 1e9
        if abs(best - stamp) > self._tolerance:
            return
        image, self._waiting = self._images[best], None
        for older in [each for each in self._images if each < best]:
            del self._images[older]
        self.pairs += 1
        self.on_pair(image, message)

    def silence(self) -> str:
        """Why no pairs come, as far as can be seen from here, for when none came for some time."""
        quiet = [each for each in (self.image, self.depth_image) if not (each.received and each.ready)]
        if quiet or self._gap is None:
            return " and ".join(each.silence() for each in quiet or (self.image, self.depth_image))
        if self._gap * 1e9 <= self._tolerance:
            return f"nothing more on '{self.depth_image.topic}' and '{self.image.topic}'"
        return (
            f"the stamps of '{self.depth_image.topic}' and '{self.image.topic}' do not agree: they differ by "
            f"{1000 * self._gap:.1f} ms at best, and {self._tolerance / 1e6:g} ms are allowed (sync_tolerance)"
        )


def resized(image: np.ndarray, camera: Camera, wanted: Camera) -> np.ndarray:
    """The rectified image of `camera` at the size of `wanted`, the camera of a depth image.

    Raises DepthRosError where the two do not look the same way: pixels of one would not be pixels of the other.
    """
    here = camera.resized(wanted.width, wanted.height)
    if np.abs(here.K - wanted.K).max() > SAME_CAMERA * wanted.width:
        of = [f"fx {c.fx:.1f} fy {c.fy:.1f} cx {c.cx:.1f} cy {c.cy:.1f}" for c in (wanted, here)]
        raise DepthRosError(
            f"depth has {of[0]} and the image, at {wanted.width}x{wanted.height}, {of[1]}: they are not of one camera; "
            "give depth that is registered to the image"
        )
    if (camera.width, camera.height) == (wanted.width, wanted.height):
        return image
    method = cv2.INTER_AREA if wanted.width < camera.width else cv2.INTER_LINEAR
    return cv2.resize(image, (wanted.width, wanted.height), interpolation=method)
