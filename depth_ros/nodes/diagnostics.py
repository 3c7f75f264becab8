"""What a node tells of its health: one DiagnosticStatus a second on /diagnostics, and throttled log lines."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_REPEAT = 10.0
"""Seconds before the same complaint is logged again."""

_SILENCE = 3.0
"""Seconds without a frame after which the watchdog speaks."""


class Diagnostics:
    """Counts frames of `node` and publishes rates, latency and complaints of the last second.

    `values` gives further key-value pairs, `silence` the cause if no frame comes (empty: none expected).
    `error` is the reason why the node does not work at all.
    """

    def __init__(
        self, node: Node, name: str, values: Callable[[], dict[str, object]], silence: Callable[[], str]
    ) -> None:
        self.node, self.values, self.silence = node, values, silence
        self.error = ""
        self._name = f"{node.get_fully_qualified_name().lstrip('/')}: {name}"
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)
        self._logged: dict[str, float] = {}
        self._complaints: dict[str, None] = {}
        self._milliseconds: dict[str, list[float]] = {"latency": [], "processing": [], "estimate": []}
        self._tick_time = self._frame_time = time.monotonic()
        # Steady, not ROS time: with simulated time the watchdog must work while /clock stands still.
        node.create_timer(1.0, self.tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def complain(self, text: str) -> None:
        """A WARN in the next status, and a log line unless the same was logged a moment ago."""
        self._complaints[text] = None
        kind = re.sub(r"[\d.]+", "", text)  # the same complaint with other numbers is not a new one
        now = time.monotonic()
        if now - self._logged.get(kind, -_REPEAT) >= _REPEAT:
            self._logged[kind] = now
            self.node.get_logger().warning(text)

    def awake(self) -> None:
        """A frame was taken in: the watchdog starts anew."""
        self._frame_time = time.monotonic()

    def published(self, stamp: int, started: float, estimated: float) -> None:
        """A result left. stamp: ns of its image; started, estimated: time.perf_counter() when received and
        when estimated."""
        now = time.perf_counter()
        self._milliseconds["estimate"].append((estimated - started) * 1e3)
        self._milliseconds["processing"].append((now - started) * 1e3)
        self._milliseconds["latency"].append((self.node.get_clock().now().nanoseconds - stamp) / 1e6)

    def tick(self) -> None:
        """Publish the status of the time since the last one."""
        now = time.monotonic()
        if now - self._frame_time > _SILENCE:
            reason = self.silence()
            if reason:
                self.complain(reason)
        status = DiagnosticStatus(name=self._name, hardware_id="depth_ros")
        problems = "; ".join(self._complaints)
        if self.error:
            status.level, status.message = DiagnosticStatus.ERROR, self.error
        elif problems:
            status.level, status.message = DiagnosticStatus.WARN, problems
        else:
            status.level, status.message = DiagnosticStatus.OK, "ok"
        pairs = {**self.values(), **self._figures(now - self._tick_time)}
        status.values = [KeyValue(key=key, value=str(value)) for key, value in pairs.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.node.get_clock().now().to_msg()
        self._publisher.publish(message)
        self._complaints.clear()
        self._tick_time = now

    def _figures(self, seconds: float) -> dict[str, str]:
        """Output rate, and mean and greatest times, of the last `seconds`; the lists start anew."""
        figures = {"output rate (Hz)": f"{len(self._milliseconds['latency']) / seconds:.1f}"}
        for name, values in self._milliseconds.items():
            if values:
                figures[f"{name} mean (ms)"] = f"{sum(values) / len(values):.1f}"
                figures[f"{name} max (ms)"] = f"{max(values):.1f}"
            values.clear()
        return figures
