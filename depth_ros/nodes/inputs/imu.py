"""What an IMU feels between two images: the rotation that odometry starts from, and accelerations."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Imu

from depth_ros.messages import stamp_ns

KEPT = 4000
"""Samples: 10 s at 400 Hz."""
HELD = 50_000_000
"""ns; the rate last measured holds for so long, the IMU may lag by as much behind the image."""


class ImuInput:
    """Subscribes `imu` of `node`, best effort: angular velocities, rad/s, and accelerations, m/s^2, in the
    frame of the IMU (REP-145)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.topic = node.resolve_topic_name("imu")
        self.frame_id = ""
        self._samples: deque[tuple[int, np.ndarray]] = deque(maxlen=KEPT)
        self._felt: deque[tuple[int, np.ndarray]] = deque(maxlen=KEPT)
        self._subscription = node.create_subscription(
            Imu, "imu", self._receive, QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip

    def destroy(self) -> None:
        self._node.destroy_subscription(self._subscription)

    def _receive(self, message: Imu) -> None:
        stamp, rate, felt = stamp_ns(message.header), message.angular_velocity, message.linear_acceleration
        last = self._samples[-1][0] if self._samples else 0
        if stamp == last:
            return
        if stamp < last:  # time went back
            self._samples.clear()
            self._felt.clear()
        self.frame_id = message.header.frame_id
        self._samples.append((stamp, np.array([rate.x, rate.y, rate.z])))
        self._felt.append((stamp, np.array([felt.x, felt.y, felt.z])))

    def _take_waiting(self) -> None:
        """The executor takes one message a turn; while images keep it busy, hundreds of samples would wait."""
        handle = self._subscription.handle
        with handle:
            while (taken := handle.take_message(Imu, False)) is not None:
                self._receive(taken[0])

    def rotation(self, old: int, new: int) -> np.ndarray | None:
        """(3, 3) R_old_new of the IMU between two stamps, ns; None where the samples do not cover them.

        Samples before `old` are forgotten.
        """
        self._take_waiting()
        while len(self._samples) > 1 and self._samples[1][0] <= old:
            self._samples.popleft()
        return integrated(list(self._samples), old, new)

    def accelerations(self, old: int) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (N,), ns, and accelerations (N, 3), m/s^2 (at rest: gravity, upwards), of the samples since `old` and
        the one before it. Samples before them are forgotten."""
        self._take_waiting()
        while len(self._felt) > 1 and self._felt[1][0] <= old:
            self._felt.popleft()
        stamps = np.array([stamp for stamp, _ in self._felt], np.int64)
        return stamps, np.array([felt for _, felt in self._felt]).reshape(-1, 3)


def integrated(samples: list[tuple[int, np.ndarray]], old: int, new: int) -> np.ndarray | None:
    """(3, 3) R_old_new of body rates (ns, rad/s), linear between the samples."""
    if not samples or samples[0][0] > old or samples[-1][0] < new - HELD:
        return None
    stamps = np.array([stamp for stamp, _ in samples])
    rates = np.array([rate for _, rate in samples])
    times = np.concatenate([[old], stamps[(stamps > old) & (stamps < new)], [new]])
    at = np.stack([np.interp(times - old, stamps - old, rates[:, axis]) for axis in range(3)], axis=1)
    R = np.eye(3)
    for seconds, rate in zip(1e-9 * np.diff(times), (at[1:] + at[:-1]) / 2):
        R = R @ cv2.Rodrigues(rate * seconds)[0]
    return R
