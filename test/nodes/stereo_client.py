"""The other side of stereo_depth_node: two cameras, and subscribers of its results."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from node_client import Client, info_of
from sensor_msgs.msg import CameraInfo, Image

from depth_ros.datatypes import Camera
from depth_ros.messages.fill import fill_header, fill_image
from depth_ros.nodes import stereo_depth_node

BASELINE = 0.1
SIDES = ("left", "right")
Views = dict[str, tuple[np.ndarray, Camera]]
"""Image (H, W, 3) and camera of each side."""


class StereoClient(Client):
    """A Client with two cameras."""

    def __init__(self, namespace: str, log: Path = Path("/dev/null")) -> None:
        super().__init__(namespace, stereo_depth_node, log=log)
        create = self.node.create_publisher
        self.cameras = {
            side: (create(CameraInfo, f"{side}/camera_info", 1), create(Image, f"{side}/image", 1))
            for side in SIDES
        }

    def send(self, views: Views, delay: int = 0, step: int = 100_000_000) -> int:
        """Publish the images with the next stamp, the right one's `delay` ns later. Returns the stamp."""
        self.stamp += step
        for side, (pixels, camera) in views.items():
            image, info = Image(), info_of(camera)
            fill_image(image, pixels, "rgb8")
            for message in (info, image):
                fill_header(message.header, self.stamp + (delay if side == "right" else 0), f"{side}_optical")
            self.cameras[side][0].publish(info)
            self.cameras[side][1].publish(image)
        return self.stamp

    def time_to_warning(
        self, text: str, send: Callable[[], Any], rate: float = 10.0
    ) -> tuple[float, DiagnosticStatus]:
        """Seconds from the first call of `send`, which is called `rate` times a second, to a warning with `text`."""
        self.statuses.clear()
        begin = next_send = time.monotonic()

        def warning() -> DiagnosticStatus | None:
            warn = DiagnosticStatus.WARN
            return next((s for s in self.statuses if s.level == warn and text in s.message), None)

        while (status := warning()) is None:
            assert time.monotonic() - begin < 60, [s.message for s in self.statuses]
            if time.monotonic() >= next_send:
                send()
                next_send += 1 / rate
            self.executor.spin_once(0.01)
        return time.monotonic() - begin, status


def cameras(width: int = 320, height: int = 192) -> dict[str, Camera]:
    """Cameras of a rectified pair with a focal length of 300 px."""
    centre = (width - 1) / 2, (height - 1) / 2
    return {
        side: Camera.pinhole(width, height, 300, 300, *centre, baseline)
        for side, baseline in zip(SIDES, (0.0, BASELINE))
    }


def scene(disparity: float = 12.0, seed: int = 0) -> Views:
    """A textured wall with a constant disparity, px."""
    both = cameras()
    height, width = both["left"].height, both["left"].width
    noise = np.random.default_rng(seed).random((height // 4, width // 4 + 20, 3), np.float32)
    wide = cv2.resize(noise, (width + 80, height), interpolation=cv2.INTER_CUBIC)
    wide = (255 * wide).clip(0, 255).astype(np.uint8)
    starts = {"left": 40, "right": 40 + round(disparity)}
    return {side: (np.ascontiguousarray(wide[:, s : s + width]), both[side]) for side, s in starts.items()}
