"""RGB-D input: depth images and the colour images that they belong to, paired by their stamps."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from sensor_msgs.msg import Image

from depth_ros.datatypes import Camera, Depth
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify
from depth_ros.messages.decode import stamp_ns
from depth_ros.nodes.inputs.camera import CameraInput, CameraSettings, ImageMessage, Warn

MAX_PENDING = 30
"""Images that wait for their depth image, which arrives later: 1 s at 30 Hz."""
INTRINSICS_TOLERANCE = 0.01
"""Maximum difference between the intrinsics of depth and colour image, as a fraction of the width."""


class RgbdCallback(Protocol):
    """Callback for an image and its depth image."""

    def __call__(self, image: ImageMessage, depth: Image, /) -> None: ...


class RgbdInput(ManagedEntity):
    """Pairs of `image` and `depth/image_rect`, with `camera_info` and `depth/camera_info`.

    Each depth image is passed to `on_pair` with the nearest image if their stamps differ by at most `tolerance`
    seconds; `depth` decodes both, in any thread. Only the newest depth image waits for an image; those that found none
    are counted in `unpaired`. Problems are passed to `warn`.
    """

    def __init__(
        self, node: Node, settings: CameraSettings, tolerance: float, on_pair: RgbdCallback, warn: Warn
    ) -> None:  # fmt: skip
        self._on_pair, self._tolerance = on_pair, round(tolerance * 1e9)
        depth_settings = CameraSettings("raw", settings.rectified)
        self.image = CameraInput(node, settings, self._on_image, warn, queue_depth=4)
        self.depth_image = CameraInput(node, depth_settings, self._on_depth, warn, "depth", "image_rect")
        self._reset()

    def _reset(self) -> None:
        self.pairs = self.unpaired = 0
        self._images: dict[int, ImageMessage] = {}  # by stamp, oldest first
        self._pending_depth: Image | None = None
        self._stamp_difference: int | None = None  # ns, of the last depth image and the image nearest to it

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._reset()
        self.image.on_activate(state)
        return self.depth_image.on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.image.on_deactivate(state)
        return self.depth_image.on_deactivate(state)

    @property
    def dropped(self) -> int:
        """Number of depth images replaced by newer ones in the middleware, plus those that found no image."""
        return self.depth_image.dropped + self.unpaired

    def depth(self, image: ImageMessage, depth: Image) -> Depth:
        """Decode both, the image resized to the depth image. Raises DepthRosError if they do not match."""
        frame, result = self.image.frame(image), self.depth_image.depth(depth)
        if result.frame_id != frame.frame_id:
            raise DepthRosError(
                f"the depth image is in frame '{result.frame_id}' and the image in '{frame.frame_id}': use depth "
                "registered to the image (register node of depth_image_proc, or align_depth of a RealSense driver)"
            )
        pixels, camera = rectify(frame.image, frame.camera)
        return replace(result, image=resized(pixels, camera, result.camera))

    def _on_image(self, message: ImageMessage) -> None:
        stamp = stamp_ns(message.header)
        if self._images and stamp < next(reversed(self._images)):  # time went back
            self._images.clear()
        self._images[stamp] = message
        while len(self._images) > MAX_PENDING:
            del self._images[next(iter(self._images))]
        if self._pending_depth is not None:
            self._on_depth(self._pending_depth)

    def _on_depth(self, message: Image) -> None:
        if self._pending_depth is not None and self._pending_depth is not message:
            self.unpaired += 1
        self._pending_depth = message
        stamp = stamp_ns(message.header)
        nearest = min(self._images, key=lambda each: abs(each - stamp), default=None)
        if nearest is None:
            return
        self._stamp_difference = abs(nearest - stamp)
        if self._stamp_difference > self._tolerance:
            return
        image, self._pending_depth = self._images[nearest], None
        for older in [each for each in self._images if each < nearest]:
            del self._images[older]
        self.pairs += 1
        self._on_pair(image, message)

    def no_input_reason(self) -> str:
        """Reason why no pairs arrive, as far as this node can see; for use after some time without any."""
        inputs = (self.image, self.depth_image)
        missing = [each for each in inputs if not (each.received and each.has_camera_info)]
        if missing or self._stamp_difference is None:
            return " and ".join(each.no_input_reason() for each in missing or inputs)
        topics = f"'{self.depth_image.topic}' and '{self.image.topic}'"
        if self._stamp_difference <= self._tolerance:
            return f"no new messages on {topics}"
        return (
            f"the stamps of {topics} do not match: they differ by at least {self._stamp_difference / 1e6:.1f} ms and "
            f"{self._tolerance / 1e6:g} ms are allowed (parameter approximate_sync_tolerance_seconds)"
        )


def resized(image: np.ndarray, camera: Camera, depth_camera: Camera) -> np.ndarray:
    """Resize the rectified image of `camera` to the size of `depth_camera`.

    Raises DepthRosError if the intrinsics differ, so that pixels of one image would not be pixels of the other.
    """
    size = (depth_camera.width, depth_camera.height)
    scaled = camera.resized(*size)
    if np.abs(scaled.K - depth_camera.K).max() > INTRINSICS_TOLERANCE * depth_camera.width:
        depth_text, image_text = (
            f"fx {c.fx:.1f} fy {c.fy:.1f} cx {c.cx:.1f} cy {c.cy:.1f}" for c in (depth_camera, scaled)
        )
        raise DepthRosError(
            f"the depth image has {depth_text} and the image, at {size[0]}x{size[1]}, {image_text}: they are not of "
            "the same camera; use depth registered to the image"
        )
    if (camera.width, camera.height) == size:
        return image
    method = cv2.INTER_AREA if size[0] < camera.width else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=method)
