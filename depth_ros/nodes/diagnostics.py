"""Health of a node: a DiagnosticStatus on /diagnostics once a second, and throttled log messages."""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from depth_ros.engine import EngineStatus
from depth_ros.errors import DepthRosError

_LOG_INTERVAL = 10.0
"""Seconds before the same warning is logged again."""

_INPUT_TIMEOUT = 3.0
"""Seconds without a frame after which the reason is reported."""


@dataclass(frozen=True)
class Timing:
    """time.perf_counter() when a frame was received and when its result was estimated."""

    received: float
    estimated: float


class Diagnostics:
    """Counts the frames of a node; publishes rates, latencies and warnings of the last second. Thread-safe.

    values: further key-value pairs of the status. no_input_reason: why no frame arrives; empty if none is expected.
    error: why the node cannot work; the status is ERROR until it is cleared. environment_problem: what is wrong with
    the environment although the node works; the status is WARN.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        values: Callable[[], dict[str, object]],
        no_input_reason: Callable[[], str],
    ) -> None:
        self._node, self._values, self._no_input_reason = node, values, no_input_reason
        self.error = self.environment_problem = ""
        self.rejected = self.too_old = 0
        self._name = f"{node.get_fully_qualified_name().lstrip('/')}: {name}"
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)
        self._lock = threading.Lock()
        self._log_times: dict[str, float] = {}
        self._logged_errors: set[str] = set()
        self._engine: object = ""
        self._warnings: dict[str, None] = {}  # an ordered set
        self._errors: dict[str, None] = {}
        self._milliseconds: dict[str, list[float]] = {"latency": [], "processing": [], "estimate": []}
        self._last_tick = self._last_frame = time.monotonic()
        # Steady instead of ROS time: with simulated time, diagnostics must go on while /clock stands still.
        node.create_timer(1.0, self.tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def warn(self, text: str, /, *, rejected: int = 0) -> None:
        """Report WARN in the next status; log the text unless it was logged within the last seconds.

        rejected: number of frames that were rejected for that reason.
        """
        kind = re.sub(r"[\d.]+", "", text)  # the same warning with other numbers is not a new one
        now = time.monotonic()
        with self._lock:
            self._warnings[text] = None
            self.rejected += rejected
            is_due = now - self._log_times.get(kind, float("-inf")) >= _LOG_INTERVAL
            if is_due:
                self._log_times[kind] = now
        if is_due:
            self._node.get_logger().warning(text)

    def reject(self, error: BaseException) -> None:
        """Count a frame without a result, and report why."""
        with self._lock:
            self.rejected += 1
        self.report(error)

    def report(self, error: BaseException) -> None:
        """Warn of a DepthRosError. Anything else is a bug: ERROR in the next status, a traceback in the log once."""
        if not self._node.context.ok():
            return  # a signal has shut ROS down while a result was being published
        if isinstance(error, DepthRosError):
            self.warn(str(error))
            return
        last = traceback.extract_tb(error.__traceback__)[-1:]
        kind = f"{type(error).__name__} {[(frame.filename, frame.lineno) for frame in last]}"
        with self._lock:
            self._errors[f"internal error, {type(error).__name__}: {error}"] = None
            is_new = kind not in self._logged_errors
            self._logged_errors.add(kind)
        if is_new:
            self._node.get_logger().error("".join(traceback.format_exception(error)))

    def frame_received(self) -> None:
        """Restart the input timeout."""
        self._last_frame = time.monotonic()

    def is_too_old(self, stamp: int, max_age: float) -> bool:
        """Count and warn of a result that is older than `max_age`, s; 0 = none is. stamp: ns, of its image."""
        age = 1e-9 * (self._node.get_clock().now().nanoseconds - stamp)
        if not max_age or age <= max_age:
            return False
        with self._lock:
            self.too_old += 1
        self.warn(f"result not published: it is {age:.3g} s old, max_age is {max_age:g} s")
        return True

    def published(self, stamp: int, timing: Timing) -> None:
        """Record that a result was published. stamp: ns, of its image."""
        now, clock = time.perf_counter(), self._node.get_clock().now().nanoseconds
        with self._lock:
            self._milliseconds["estimate"].append((timing.estimated - timing.received) * 1e3)
            self._milliseconds["processing"].append((now - timing.received) * 1e3)
            if clock:  # 0 until /clock has come
                self._milliseconds["latency"].append((clock - stamp) / 1e6)

    def tick(self) -> None:
        """Publish the status of the time since the last one."""
        now = time.monotonic()
        given = self._given_values(now)
        problems = [self.error, str(given.get("engine problem", ""))]
        with self._lock:
            errors = "; ".join(filter(None, [*problems, *self._errors]))
            warnings = "; ".join(filter(None, [*self._warnings, self.environment_problem]))
            milliseconds = self._milliseconds
            self._warnings, self._errors = {}, {}
            self._milliseconds = {name: [] for name in milliseconds}
        status = DiagnosticStatus(name=self._name, hardware_id="depth_ros")
        if errors:
            status.level, status.message = DiagnosticStatus.ERROR, errors
        elif warnings:
            status.level, status.message = DiagnosticStatus.WARN, warnings
        else:
            status.level, status.message = DiagnosticStatus.OK, "ok"
        values = {
            **given,
            "rejected frames": self.rejected,
            "results older than max_age": self.too_old,
            **_rates(milliseconds, now - self._last_tick),
        }
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
        self._last_tick = now

    def _given_values(self, now: float) -> dict[str, object]:
        """The values of the node; warns if it has no input. What that raises must not end the status messages."""
        try:
            if now - self._last_frame > _INPUT_TIMEOUT and (reason := self._no_input_reason()):
                self.warn(reason)
            given = self._values()
            self._log_engine(given)
            return given
        except Exception as error:
            self.report(error)
            return {}

    def _log_engine(self, values: dict[str, object]) -> None:
        """Log the engine when another one serves."""
        engine = values.get("engine", "")
        if engine not in ("", self._engine):
            self._node.get_logger().info(f"engine: {engine} ({values['why this engine']})")
        self._engine = engine


class Rate:
    """Frequency of events, from a counter that is read now and then."""

    def __init__(self) -> None:
        self._last = (0, time.monotonic())

    def of(self, count: int) -> float:
        """Events per second since the last call. count: all events until now, restarting at any time from 0."""
        (last_count, last_time), now = self._last, time.monotonic()
        self._last = (count, now)
        return max(count - last_count, 0) / max(now - last_time, 1e-3)


def engine_values(status: EngineStatus) -> dict[str, object]:
    """Key-value pairs of the engine that serves, and of the one that is being built."""
    values: dict[str, object] = {
        "engine": status.name,
        "why this engine": status.reason,
        "engine is being built": bool(status.building),
        "engine build": status.building,
    }
    return values | ({"engine problem": status.problem} if status.problem else {})


def _rates(milliseconds: dict[str, list[float]], seconds: float) -> dict[str, object]:
    """Output rate, mean and maximum times of the frames published within `seconds`."""
    rates: dict[str, object] = {"output rate (Hz)": f"{len(milliseconds['processing']) / seconds:.1f}"}
    for name, values in milliseconds.items():
        if values:
            rates[f"{name} mean (ms)"] = f"{sum(values) / len(values):.1f}"
            rates[f"{name} max (ms)"] = f"{max(values):.1f}"
    return rates
