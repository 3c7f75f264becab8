"""What drives a node from outside: the other side of its topics, services and parameters."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from depth_ros import messages
from depth_ros.datatypes import Camera

PATIENCE = 300.0
"""Seconds after which a test gives up waiting; reached only where something is broken."""


class Client:
    """Publishes images and receives results of node `name` in `namespace`; `log` is where it notes its estimates."""

    def __init__(self, namespace: str, log: Path = Path("/dev/null"), name: str = "depth_node") -> None:
        self.namespace, self._log, self.name = namespace, log, name
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("client", namespace=namespace, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images = self.node.create_publisher(Image, "image", 1)
        self.compressed = self.node.create_publisher(CompressedImage, "image/compressed", 1)
        self.infos = self.node.create_publisher(CameraInfo, "camera_info", 1)
        self.got: dict[str, list[Any]] = {}
        self.statuses: list[DiagnosticStatus] = []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._status, 10)
        self._subscriptions: list[Any] = []
        self.stamp = 1_000_000_000

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def _status(self, message: DiagnosticArray) -> None:
        self.statuses += [s for s in message.status if s.name.startswith(self.namespace.lstrip("/"))]

    @property
    def estimates(self) -> list[int]:
        """Stamps that the estimator worked on."""
        return [int(line) for line in self._log.read_text().split()]

    def listen(self, *topics: str) -> None:
        """Subscribe to these of the node's topics and to no other; what comes lies in `got`."""
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)
        self.got = {topic: [] for topic in topics}
        kinds = {"depth/image_rect": Image, "depth/camera_info": CameraInfo, "points": PointCloud2,
                 "planes": MarkerArray, "planes/labels": Image, "planes/camera_info": CameraInfo,
                 "planes/points": PointCloud2}  # fmt: skip
        self._subscriptions = [
            self.node.create_subscription(kinds[t], t, self.got[t].append, QoSProfile(depth=10))
            for t in topics
        ]

    def until(self, condition: Callable[[], Any], action: Callable[[], None] = lambda: None) -> Any:
        """What `condition` returns once it is true; `action` is repeated until then."""
        end, nudge = time.monotonic() + PATIENCE, 0.0
        while not (result := condition()):
            assert time.monotonic() < end, "nothing came in time"
            if time.monotonic() > nudge:
                action()
                nudge = time.monotonic() + 0.2
            self.executor.spin_once(0.02)
        return result

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(0.02)

    def publish(
        self, image: Image | CompressedImage, info: CameraInfo | None = None, step: int = 1_000_000
    ) -> int:
        """Publish with the next stamp; returns it."""
        self.stamp += step
        for message in (info, image):
            if message:
                messages.fill_header(message.header, self.stamp, "front_optical")
        if info:
            self.infos.publish(info)
        (self.images if isinstance(image, Image) else self.compressed).publish(image)
        return self.stamp

    def exchange(self, image: Image | CompressedImage, info: CameraInfo | None, *topics: str) -> list[Any]:
        """The messages of `topics` for one image: sent until the topics of both sides are connected."""
        self.listen(*topics)
        sent: list[int] = []

        def complete() -> list[Any] | None:
            by_stamp = [{messages.stamp_ns(header_of(m)): m for m in self.got[t]} for t in topics]
            whole = set(sent).intersection(*by_stamp)
            return [found[max(whole)] for found in by_stamp] if whole else None

        return self.until(complete, lambda: sent.append(self.publish(image, info)))

    def complaint(self, words: str, action: Callable[[], Any]) -> DiagnosticStatus:
        """The first WARN that has `words`, while `action` is repeated."""
        self.statuses.clear()
        warn = DiagnosticStatus.WARN
        return self.until(
            lambda: next((s for s in self.statuses if s.level == warn and words in s.message), None), action
        )

    def call(self, kind: type, service: str, request: Any) -> Any:
        client = self.node.create_client(kind, f"{self.name}/{service}")
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        self.node.destroy_client(client)
        return future.result()

    def set(self, **values: Any) -> list[Any]:
        request = SetParameters.Request(
            parameters=[Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        )
        return self.call(SetParameters, "set_parameters", request).results

    def describe(self, *names: str) -> list[Any]:
        return self.call(
            DescribeParameters, "describe_parameters", DescribeParameters.Request(names=names)
        ).descriptors

    def change(self, transition: str) -> bool:
        request = ChangeState.Request()
        request.transition.id = {"configure": 1, "cleanup": 2, "activate": 3, "deactivate": 4}[transition]
        return self.call(ChangeState, "change_state", request).success

    def state(self) -> str:
        return self.call(GetState, "get_state", GetState.Request()).current_state.label


def header_of(message: Any) -> Any:
    return message.markers[0].header if isinstance(message, MarkerArray) else message.header


def camera(width: int = 64, height: int = 48) -> Camera:
    return Camera.pinhole(width, height, 50.0, 52.0, width / 2, height / 2)


def image_of(size: Camera, value: int = 90) -> Image:
    message = Image()
    messages.fill_image(message, np.full((size.height, size.width, 3), value, np.uint8), "rgb8")
    return message


def info_of(size: Camera) -> CameraInfo:
    message = CameraInfo()
    messages.fill_camera_info(message, size)
    return message
