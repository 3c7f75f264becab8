"""Frames through a real node process over DDS, at the rate at which they were recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
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
from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.messages.decode import depth_from, disparity_from, stamp_ns
from depth_ros.messages.fill import fill_camera_info, fill_header, fill_image
from depth_ros.nodes.transport import select_transports

START_TIMEOUT = 300.0
"""Seconds that a node may take until it is ready: loading torch and building an engine."""
DISCOVERY_TIMEOUT = 30.0
"""Seconds that DDS discovery may take: of the node once its process has had time to start, then of its topics."""
PROCESS_TIMEOUT = 60.0
"""Seconds that the process of a node may take until its node exists: importing torch on a busy machine."""
END_TIMEOUT = 5.0
"""Seconds without a result after which no more results are expected."""

Views = tuple[Frame, ...]
"""The images of one moment: of one camera, or of the left and the right camera."""


@dataclass(frozen=True)
class Played:
    """A result that came back. stamp: ns of its frame. latency: s from publishing the image to receiving the result.

    image: (H, W) float32, NaN = invalid: depth in m, or disparity in px of the left image, 0 = infinitely far.
    """

    stamp: int
    image: np.ndarray
    latency: float


@dataclass(frozen=True)
class NodeInterface:
    """The topics of a node. cameras: prefixes of its inputs. result_type, result_topic: the result that is received;
    decode: its image (H, W)."""

    module: str
    cameras: tuple[str, ...]
    result_type: type
    result_topic: str
    decode: Callable[[Any], np.ndarray]


DEPTH_NODE = NodeInterface("depth_ros.nodes.depth_node", ("",), Image, "depth/image_rect", depth_from)
UP_TO_SCALE_NODE = replace(DEPTH_NODE, result_topic="depth_up_to_scale/image_rect")
"""depth_node with a model of scale up_to_scale."""
STEREO_NODE = NodeInterface(
    "depth_ros.nodes.stereo_depth_node", ("left/", "right/"), DisparityImage, "disparity", disparity_from
)


def play(
    node: NodeInterface,
    views: Iterable[Views],
    model: str,
    rate: float = 1.0,
    parameters: Mapping[str, object] | None = None,
) -> Iterator[Played]:
    """Play frames through a node, `rate` times as fast as recorded; yields results as they come.

    Frames that the node skipped give no result. Raises DepthRosError if the node cannot start or is not discovered.
    """
    model = str(Path(model).resolve()) if Path(model).is_dir() else model
    command = ["-m", node.module, "--ros-args"]
    for name, value in {"model": model, **(parameters or {})}.items():
        command += ["-p", f"{name}:={value}"]
    with node_process(command) as (process, namespace), Player(namespace, process, node) as player:
        yield from player.play(views, rate)


@contextmanager
def node_process(command: list[str]) -> Iterator[tuple[subprocess.Popen, str]]:
    """Start `python COMMAND -r __ns:=NAMESPACE` with a transport that carries large images; ends with the block.

    command must contain `--ros-args`. Yields the process and its namespace, which is unique.
    """
    select_transports()
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
    """Publishes images for the node in `namespace`, running in `process`, and receives its results.

    A context manager with a ROS context of its own. `sent`: {stamp: time.monotonic() of publishing}.
    """

    def __init__(
        self, namespace: str, process: subprocess.Popen, interface: NodeInterface = DEPTH_NODE
    ) -> None:
        self.namespace, self.process, self.interface = namespace, process, interface
        self.sent: dict[int, float] = {}
        self._results: list[Played] = []
        self._answered: set[int] = set()
        self._failure, self._ready = "", False
        self._start = time.monotonic()
        self._first_status: float | None = None
        self._image, self._info = Image(), CameraInfo()

    def __enter__(self) -> Player:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = node = rclpy.create_node("player", namespace=self.namespace, context=self._context)
        latest = QoSProfile(depth=1)
        self._cameras = [
            (
                node.create_publisher(CameraInfo, f"{camera}camera_info", latest),
                node.create_publisher(Image, f"{camera}image", latest),
            )
            for camera in self.interface.cameras
        ]
        node.create_subscription(
            self.interface.result_type, self.interface.result_topic, self._receive, QoSProfile(depth=50)
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._receive_status, QoSProfile(depth=10))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def play(self, views: Iterable[Views], rate: float) -> Iterator[Played]:
        """Publish `views` at `rate` times their recorded rate, and yield results as they come."""
        first: int | None = None
        stamp = 0
        for view in views:
            stamp = view[0].stamp
            if first is None:
                first = stamp
                self._wait_for_node(view)
                begin = time.monotonic()
            self._spin_until(begin + (stamp - first) / 1e9 / rate)
            self._publish(view)
            yield from self._received()
        last_result = time.monotonic()
        while self.sent and time.monotonic() - last_result < END_TIMEOUT:
            self._executor.spin_once(0.05)
            results = list(self._received())
            yield from results
            if any(result.stamp == stamp for result in results):
                return
            last_result = time.monotonic() if results else last_result

    def _received(self) -> Iterator[Played]:
        """New results, one an image: a slow network may still answer repetitions of the first images."""
        results, self._results = self._results, []
        for result in results:
            if result.stamp not in self._answered:
                self._answered.add(result.stamp)
                yield result

    def _wait_for_node(self, view: Views) -> None:
        """Publish the first images until their result comes back and the engine for the others is built.

        Only then are all topics of both sides connected."""
        end = time.monotonic() + START_TIMEOUT
        while not (self._results and self._ready):
            if self.process.poll() is not None or self._failure:
                raise DepthRosError(
                    self._failure or f"the node ended with status {self.process.returncode}: see its log"
                )
            if time.monotonic() > end:
                raise DepthRosError(f"the node was not ready within {START_TIMEOUT:.0f} s: see its log")
            if missing := self._undiscovered():
                raise DepthRosError(
                    f"the node runs, but DDS discovery of {', '.join(missing)} did not complete within "
                    f"{DISCOVERY_TIMEOUT:.0f} s: try again, or choose another ROS_DOMAIN_ID"
                )
            self._publish(view)
            self._spin_until(time.monotonic() + 0.3)
        while self._results:  # results of repeated first images that are still on the way
            self._results.clear()
            self._spin_until(time.monotonic() + 1.0)
        self.sent.clear()

    def _undiscovered(self) -> list[str]:
        """What should have been discovered by now and has not: the node, then its topics.

        The node has its topics, and publishes its first status, once it has loaded its model.
        """
        now = time.monotonic()
        if self._first_status is None:
            late = now - self._start > PROCESS_TIMEOUT + DISCOVERY_TIMEOUT
            is_seen = any(namespace == self.namespace for _, namespace in self._remote_nodes())
            return [f"a node in {self.namespace}"] if late and not is_seen else []
        if now - self._first_status < DISCOVERY_TIMEOUT:
            return []
        publishers = [publisher for pair in self._cameras for publisher in pair]
        missing = [p.topic_name for p in publishers if not p.get_subscription_count()]
        result = self._node.resolve_topic_name(self.interface.result_topic)
        return missing + ([] if self._node.count_publishers(result) else [result])

    def _remote_nodes(self) -> list[tuple[str, str]]:
        nodes: list[tuple[str, str]] = self._node.get_node_names_and_namespaces()
        return [each for each in nodes if each[0] != self._node.get_name()]

    def _publish(self, view: Views) -> None:
        self.sent[view[0].stamp] = time.monotonic()
        for (infos, images), frame in zip(self._cameras, view, strict=True):
            fill_camera_info(self._info, frame.camera)
            fill_image(self._image, frame.image, "rgb8")
            for message in (self._info, self._image):
                fill_header(message.header, frame.stamp, frame.frame_id)
            infos.publish(self._info)
            images.publish(self._image)

    def _spin_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._executor.spin_once(left)

    def _receive(self, message: Any) -> None:
        now, stamp = time.monotonic(), stamp_ns(message.header)
        if stamp in self.sent:
            self._results.append(Played(stamp, self.interface.decode(message), now - self.sent[stamp]))

    def _receive_status(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if not status.name.startswith(self.namespace.lstrip("/")):
                continue
            self._first_status = self._first_status or time.monotonic()
            if status.level == DiagnosticStatus.ERROR:
                self._failure = f"the node reports: {status.message}"
            building = {pair.key: pair.value for pair in status.values}.get("engine is being built")
            self._ready = bool(self._results) and building == "False"
