"""Frames through a real node process over DDS, at the rate at which they were taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from stereo_msgs.msg import DisparityImage

import depth_ros
from depth_ros import messages
from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError

_START = 300.0
"""Seconds that a node may take until it is ready: loading torch and building an engine."""

_END = 5.0
"""Seconds of silence after the last frame that end the wait for results."""


Views = tuple[Frame, ...]
"""The images of one moment: of one camera, or of the left and the right eye."""


@dataclass(frozen=True)
class Played:
    """A depth that came back. stamp: ns of its frame. depth: (H, W) float32 m, NaN = unknown.

    latency: s from publishing the image to having received the depth.
    """

    stamp: int
    depth: np.ndarray
    latency: float


@dataclass(frozen=True)
class PlayedPair:
    """The same of a pair. disparity: (H, W) float32 px of the left image, NaN = unknown, 0 = infinitely far."""

    stamp: int
    disparity: np.ndarray
    latency: float


@dataclass(frozen=True)
class Face:
    """How a node is spoken to. eyes: what the names of its inputs begin with. kind, topic: of the result that is
    waited for; read: what a message of it becomes, from (stamp, message, latency)."""

    module: str
    eyes: tuple[str, ...]
    kind: type
    topic: str
    read: Callable[[int, Any, float], Any]


DEPTH = Face(
    "depth_ros.nodes.depth_node", ("",), Image, "depth/image_rect",
    lambda stamp, message, latency: Played(stamp, messages.depth_from(message), latency),
)  # fmt: skip
STEREO = Face(
    "depth_ros.nodes.stereo_depth_node", ("left/", "right/"), DisparityImage, "disparity",
    lambda stamp, message, latency: PlayedPair(stamp, messages.disparity_from(message), latency),
)  # fmt: skip


def play(
    frames: Iterable[Frame],
    model: str,
    factor: float = 1.0,
    parameters: Mapping[str, object] | None = None,
) -> Iterator[Played]:
    """Play `frames` through depth_node, `factor` times as fast as recorded; yields results as they come.

    Frames that the node had no time for give no result. Raises DepthRosError if the node cannot start.
    """
    return _play(DEPTH, ((frame,) for frame in frames), model, factor, parameters or {})


def play_pairs(
    pairs: Iterable[tuple[Frame, Frame]],
    model: str,
    factor: float = 1.0,
    parameters: Mapping[str, object] | None = None,
) -> Iterator[PlayedPair]:
    """The same of a left and a right eye, each as its camera has it, through stereo_depth_node."""
    return _play(STEREO, pairs, model, factor, parameters or {})


def _play(
    face: Face, views: Iterable[Views], model: str, factor: float, parameters: Mapping[str, object]
) -> Iterator[Any]:
    model = str(Path(model).resolve()) if Path(model).is_dir() else model
    command = ["-m", face.module, "--ros-args"]
    for name, value in {"model": model, **parameters}.items():
        command += ["-p", f"{name}:={value}"]
    with node_process(command) as (process, namespace), Player(namespace, process, face) as player:
        yield from player.play(views, factor)


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
    """Publishes images for the node in `namespace`, its process `process`, and receives its results.

    A context manager with a ROS context of its own. `sent`: {stamp: time.monotonic() of publishing}.
    """

    def __init__(self, namespace: str, process: subprocess.Popen, face: Face = DEPTH) -> None:
        self.namespace, self.process, self.face = namespace, process, face
        self.sent: dict[int, float] = {}
        self._results: list[Any] = []
        self._failure, self._ready = "", False
        self._image, self._info = Image(), CameraInfo()

    def __enter__(self) -> Player:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = node = rclpy.create_node("player", namespace=self.namespace, context=self._context)
        last = QoSProfile(depth=1)
        self._cameras = [
            (
                node.create_publisher(CameraInfo, f"{eye}camera_info", last),
                node.create_publisher(Image, f"{eye}image", last),
            )
            for eye in self.face.eyes
        ]
        node.create_subscription(self.face.kind, self.face.topic, self._receive, QoSProfile(depth=50))
        node.create_subscription(DiagnosticArray, "/diagnostics", self._watch, QoSProfile(depth=10))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def play(self, views: Iterable[Views], factor: float) -> Iterator[Any]:
        """Publish `views` at `factor` times their rate, yield what comes back as it comes."""
        first: int | None = None
        for view in views:
            stamp = view[0].stamp
            if first is None:
                first = stamp
                self._wait_for_node(view)
                begun = time.monotonic()
            self._spin_until(begun + (stamp - first) / 1e9 / factor)
            self._publish(view)
            yield from self._taken()
        quiet = time.monotonic()
        while self.sent and time.monotonic() - quiet < _END:
            self._executor.spin_once(0.05)
            results = list(self._taken())
            yield from results
            if any(result.stamp == stamp for result in results):
                return
            quiet = time.monotonic() if results else quiet

    def _taken(self) -> Iterator[Any]:
        results, self._results = self._results, []
        yield from results

    def _wait_for_node(self, view: Views) -> None:
        """Offer the first images until their result comes, for only then is every topic of both sides connected,
        and until the engine is built that will serve the other frames."""
        end = time.monotonic() + _START
        while not (self._results and self._ready):
            if self.process.poll() is not None or self._failure:
                raise DepthRosError(
                    self._failure or f"the node ended with status {self.process.returncode}: see its log"
                )
            if time.monotonic() > end:
                raise DepthRosError(f"the node was not ready within {_START:.0f} s: see its log")
            self._publish(view)
            self._spin_until(time.monotonic() + 0.3)
        while self._results:  # answers to offers that are still under way
            self._results.clear()
            self._spin_until(time.monotonic() + 1.0)
        self.sent.clear()

    def _publish(self, view: Views) -> None:
        self.sent[view[0].stamp] = time.monotonic()
        for (infos, images), frame in zip(self._cameras, view, strict=True):
            messages.fill_camera_info(self._info, frame.camera)
            messages.fill_image(self._image, frame.image, "rgb8")
            for message in (self._info, self._image):
                messages.fill_header(message.header, frame.stamp, frame.frame_id)
            infos.publish(self._info)
            images.publish(self._image)

    def _spin_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._executor.spin_once(left)

    def _receive(self, message: Any) -> None:
        now, stamp = time.monotonic(), messages.stamp_ns(message.header)
        if stamp in self.sent:
            self._results.append(self.face.read(stamp, message, now - self.sent[stamp]))

    def _watch(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if not status.name.startswith(self.namespace.lstrip("/")):
                continue
            if status.level == DiagnosticStatus.ERROR:
                self._failure = f"the node reports: {status.message}"
            building = {pair.key: pair.value for pair in status.values}.get("engine is being built")
            self._ready = bool(self._results) and building == "False"
