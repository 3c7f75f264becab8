"""What drives stereo_depth_node from outside: two cameras and whoever wants its results."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from node_client import Client, info_of
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from stereo_msgs.msg import DisparityImage

from depth_ros import messages
from depth_ros.datatypes import Camera

BASELINE = 0.1
KINDS = {
    "disparity": DisparityImage,
    "depth/image_rect": Image,
    "depth/camera_info": CameraInfo,
    "depth/confidence": Image,
    "points": PointCloud2,
}


class StereoClient(Client):
    """A Client with two cameras."""

    def __init__(self, namespace: str, log: Path = Path("/dev/null")) -> None:
        super().__init__(namespace, log, "stereo_depth_node")
        create = self.node.create_publisher
        self.eyes = {
            e: (create(Image, f"{e}/image", 1), create(CameraInfo, f"{e}/camera_info", 1)) for e in EYES
        }

    def listen(self, *topics: str) -> None:
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)
        self.got = {topic: [] for topic in topics}
        self._subscriptions = [
            self.node.create_subscription(KINDS[t], t, self.got[t].append, QoSProfile(depth=10))
            for t in topics
        ]

    def send(self, pair: dict[str, tuple[np.ndarray, Camera]], late: int = 0, step: int = 100_000_000) -> int:
        """Publish the eyes of `pair` with the next stamp, the right one `late` ns later; returns the stamp."""
        self.stamp += step
        for eye, (pixels, camera) in pair.items():
            image, info = Image(), info_of(camera)
            messages.fill_image(image, pixels, "rgb8")
            for message in (info, image):
                stamp = self.stamp + (late if eye == "right" else 0)
                messages.fill_header(message.header, stamp, f"{eye}_optical")
            self.eyes[eye][1].publish(info)
            self.eyes[eye][0].publish(image)
        return self.stamp

    def answer(self, send: Callable[[], int], *topics: str) -> list[Any]:
        """The messages of `topics` for one pair, sent until they all have come."""
        self.listen(*topics)
        sent: list[int] = []

        def complete() -> list[Any] | None:
            by_stamp = [{messages.stamp_ns(m.header): m for m in self.got[t]} for t in topics]
            whole = set(sent).intersection(*by_stamp)
            return [found[max(whole)] for found in by_stamp] if whole else None

        return self.until(complete, lambda: sent.append(send()))

    def named(
        self, words: str, send: Callable[[], Any], rate: float = 10.0
    ) -> tuple[float, DiagnosticStatus]:
        """Seconds from the first of what `send` publishes, `rate` times a second, to a WARN with `words`."""
        self.statuses.clear()
        begun = time.monotonic()

        def warning() -> DiagnosticStatus | None:
            warn = DiagnosticStatus.WARN
            return next((s for s in self.statuses if s.level == warn and words in s.message), None)

        nudge = begun
        while (found := warning()) is None:
            assert time.monotonic() - begun < 60, [s.message for s in self.statuses]
            if time.monotonic() >= nudge:
                send()
                nudge += 1 / rate
            self.executor.spin_once(0.01)
        return time.monotonic() - begun, found


EYES = ("left", "right")


def cameras(width: int = 320, height: int = 192) -> dict[str, Camera]:
    """Of a rectified pair, f 300 px."""
    centre = (width - 1) / 2, (height - 1) / 2
    return {eye: Camera.pinhole(width, height, 300, 300, *centre, b) for eye, b in zip(EYES, (0.0, BASELINE))}


def scene(shift: float = 12.0, seed: int = 0) -> dict[str, tuple[np.ndarray, Camera]]:
    """A wall of blobs with `shift` px of disparity, seen by both cameras."""
    of = cameras()
    height, width = of["left"].height, of["left"].width
    noise = np.random.default_rng(seed).random((height // 4, width // 4 + 20, 3), np.float32)
    wide = cv2.resize(noise, (width + 80, height), interpolation=cv2.INTER_CUBIC)
    wide = (255 * wide).clip(0, 255).astype(np.uint8)
    starts = {"left": 40, "right": 40 + round(shift)}
    return {eye: (np.ascontiguousarray(wide[:, s : s + width]), of[eye]) for eye, s in starts.items()}
