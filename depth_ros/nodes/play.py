"""Frames through a real node process over DDS, at the rate at which they were taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

import depth_ros
from depth_ros import messages
from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError

_START = 300.0
"""Seconds that a node may take until it is ready: loading torch and building an engine."""

_END = 5.0
"""Seconds of silence after the last frame that end the wait for results."""


@dataclass(frozen=True)
class Played:
    """A depth that came back. stamp: ns of its frame. depth: (H, W) float32 m, NaN = unknown.

    latency: s from publishing the image to having received the depth.
    """

    stamp: int
    depth: np.ndarray
    latency: float


def play(
    frames: Iterable[Frame],
    model: str,
    factor: float = 1.0,
    parameters: Mapping[str, object] | None = None,
) -> Iterator[Played]:
    """Play `frames` through depth_node, `factor` times as fast as recorded; yields results as they come.

    Frames that the node had no time for give no result. Raises DepthRosError if the node cannot start.
    """
    command = ["-m", "depth_ros.nodes.depth_node", "--ros-args"]
    for name, value in {
        "model": str(Path(model).resolve()) if Path(model).is_dir() else model,
        **(parameters or {}),
    }.items():
        command += ["-p", f"{name}:={value}"]
    with node_process(command) as (process, namespace), Player(namespace, process) as player:
        yield from player.play(frames, factor)


@contextmanager
def node_process(command: list[str]) -> Iterator[tuple[subprocess.Popen, str]]:
    """Start `python COMMAND -r __ns:=NAMESPACE` with a transport that carries images; ends with the block.

    command must hold `--ros-args`. Yields the process and its namespace, which nobody else has.
    """
    os.environ.setdefault(
        "FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"
    )  # read when a participant is made: ours too
    namespace = f"/depth_ros_{os.getpid()}_{time.monotonic_ns()}"
    paths = [str(Path(depth_ros.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, *command, "-r", f"__ns:={namespace}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    try:
        yield process, namespace
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


class Player:
    """Publishes frames for the node in `namespace`, its process `process`, and receives its depths.

    A context manager with a ROS context of its own. `sent`: {stamp: time.monotonic() of publishing}.
    """

    def __init__(self, namespace: str, process: subprocess.Popen) -> None:
        self.namespace, self.process = namespace, process
        self.sent: dict[int, float] = {}
        self._results: list[Played] = []
        self._failure, self._ready = "", False
        self._image, self._info = Image(), CameraInfo()

    def __enter__(self) -> Player:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = node = rclpy.create_node("player", namespace=self.namespace, context=self._context)
        self._images = node.create_publisher(Image, "image", QoSProfile(depth=1))
        self._infos = node.create_publisher(CameraInfo, "camera_info", QoSProfile(depth=1))
        node.create_subscription(Image, "depth/image_rect", self._receive, QoSProfile(depth=50))
        node.create_subscription(DiagnosticArray, "/diagnostics", self._watch, QoSProfile(depth=10))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def play(self, frames: Iterable[Frame], factor: float) -> Iterator[Played]:
        """Publish `frames` at `factor` times their rate, yield what comes back as it comes."""
        first: Frame | None = None
        for frame in frames:
            if first is None:
                first = frame
                self._wait_for_node(frame)
                begun = time.monotonic()
            self._spin_until(begun + (frame.stamp - first.stamp) / 1e9 / factor)
            self._publish(frame)
            yield from self._taken()
        quiet = time.monotonic()
        while self.sent and time.monotonic() - quiet < _END:
            self._executor.spin_once(0.05)
            results = list(self._taken())
            yield from results
            if any(result.stamp == frame.stamp for result in results):
                return
            quiet = time.monotonic() if results else quiet

    def _taken(self) -> Iterator[Played]:
        results, self._results = self._results, []
        yield from results

    def _wait_for_node(self, frame: Frame) -> None:
        """Offer the first frame until its depth comes, for only then is every topic of both sides connected,
        and until the engine is built that will serve the other frames."""
        end = time.monotonic() + _START
        while not (self._results and self._ready):
            if self.process.poll() is not None or self._failure:
                raise DepthRosError(
                    self._failure or f"the node ended with status {self.process.returncode}: see its log"
                )
            if time.monotonic() > end:
                raise DepthRosError(f"the node was not ready within {_START:.0f} s: see its log")
            self._publish(frame)
            self._spin_until(time.monotonic() + 0.3)
        while self._results:  # answers to offers that are still under way
            self._results.clear()
            self._spin_until(time.monotonic() + 1.0)
        self.sent.clear()

    def _publish(self, frame: Frame) -> None:
        messages.fill_camera_info(self._info, frame.camera)
        messages.fill_image(self._image, frame.image, "rgb8")
        for message in (self._info, self._image):
            messages.fill_header(message.header, frame.stamp, frame.frame_id)
        self.sent[frame.stamp] = time.monotonic()
        self._infos.publish(self._info)
        self._images.publish(self._image)

    def _spin_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._executor.spin_once(left)

    def _receive(self, message: Image) -> None:
        now, stamp = time.monotonic(), messages.stamp_ns(message.header)
        if stamp in self.sent:
            self._results.append(Played(stamp, messages.depth_from(message), now - self.sent[stamp]))

    def _watch(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if not status.name.startswith(self.namespace.lstrip("/")):
                continue
            if status.level == DiagnosticStatus.ERROR:
                self._failure = f"the node reports: {status.message}"
            building = {pair.key: pair.value for pair in status.values}.get("engine is being built")
            self._ready = bool(self._results) and building == "False"
