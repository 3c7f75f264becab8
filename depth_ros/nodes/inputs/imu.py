"""IMU input: rotation between two images and accelerations, from `sensor_msgs/Imu`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import numpy as np
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu

from depth_ros.estimators.odometry.imu_rotation import integrate_rotation
from depth_ros.messages.decode import stamp_ns
from depth_ros.nodes.inputs.stamps import missing_stamp_text

SAMPLES_KEPT = 4000
"""10 s at 400 Hz."""
Sample = tuple[int, np.ndarray]
"""Stamp, ns, and vector (3,)."""


class ImuInput(ManagedEntity):
    """Best-effort subscription to `imu`: angular velocities, rad/s, and accelerations, m/s^2, in the frame of the IMU
    (REP-145). Messages are received in the executor's thread and may be read in another one; those without a stamp are
    passed to `warn`."""

    def __init__(self, node: Node, warn: Callable[[str], None]) -> None:
        self._node, self._warn = node, warn
        self.topic = node.resolve_topic_name("imu")
        self._subscription: Subscription | None = None
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self.frame_id = ""
        self._angular_velocities: deque[Sample] = deque(maxlen=SAMPLES_KEPT)
        self._accelerations: deque[Sample] = deque(maxlen=SAMPLES_KEPT)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._reset()
        self._subscription = self._node.create_subscription(
            Imu, "imu", self._receive, QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._subscription:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        return TransitionCallbackReturn.SUCCESS

    def _receive(self, message: Imu) -> None:
        """Store a message and all that wait behind it: the executor alone takes one per turn, which is too slow when it
        was busy, e.g. with images."""
        self._store(message)
        if self._subscription:
            handle = self._subscription.handle
            with handle:
                while (taken := handle.take_message(Imu, False)) is not None:
                    self._store(taken[0])

    def _store(self, message: Imu) -> None:
        stamp, w, a = stamp_ns(message.header), message.angular_velocity, message.linear_acceleration
        if stamp <= 0:
            self._warn(missing_stamp_text(self._node, self.topic))
            return
        rate, acceleration = np.array([w.x, w.y, w.z]), np.array([a.x, a.y, a.z])
        if not (np.isfinite(rate).all() and np.isfinite(acceleration).all()):
            self._warn(
                f"message on '{self.topic}' rejected: its angular velocity or acceleration is not finite"
            )
            return
        with self._lock:
            last = self._angular_velocities[-1][0] if self._angular_velocities else 0
            if stamp == last:
                return
            if stamp < last:  # time went back
                self._angular_velocities.clear()
                self._accelerations.clear()
            self.frame_id = message.header.frame_id
            self._angular_velocities.append((stamp, rate))
            self._accelerations.append((stamp, acceleration))

    def rotation(self, old: int, new: int) -> np.ndarray | None:
        """(3, 3) R_old_new of the IMU between two stamps, ns; None if the samples do not cover the interval.

        Discards the samples before `old`.
        """
        samples = self._since(self._angular_velocities, old)
        stamps = np.array([stamp for stamp, _ in samples], np.int64)
        return integrate_rotation(stamps, np.array([velocity for _, velocity in samples]), old, new)

    def accelerations(self, old: int) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (N,), ns, and accelerations (N, 3), m/s^2, from the last sample before `old` on.

        A stationary IMU measures gravity, upwards (REP-145). Discards the samples before the returned ones.
        """
        samples = self._since(self._accelerations, old)
        stamps = np.array([stamp for stamp, _ in samples], np.int64)
        return stamps, np.array([acceleration for _, acceleration in samples]).reshape(-1, 3)

    def _since(self, samples: deque[Sample], old: int) -> list[Sample]:
        """Samples from the last one before `old` on; the ones before it are discarded."""
        with self._lock:
            while len(samples) > 1 and samples[1][0] <= old:
                samples.popleft()
            return list(samples)
