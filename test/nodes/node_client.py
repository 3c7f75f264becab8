"""The other side of a node under test: publishes its inputs, receives its results, calls its services."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from depth_ros.datatypes import Camera
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_camera_info, fill_header, fill_image

DISCOVERY_TIMEOUT = 90.0
"""Seconds for the node to start, and for DDS to connect it with the client."""
TIMEOUT = 90.0
"""Seconds for everything else; reached only if something is broken."""
STATUS_TIMEOUT = 30.0
"""Seconds for a certain diagnostics status, of which there is one a second."""
TRANSITIONS = {"configure": 1, "cleanup": 2, "activate": 3, "deactivate": 4}

_undiscovered: dict[str, str] = {}
"""Test modules in which a client did not find its node, with the reason."""


class Client:
    """Publishes images to and receives results from the nodes of `modules` in `namespace`.

    Services and parameters are those of the first node. log: the file to which the node writes the stamps of the
    frames that it estimates.
    """

    def __init__(self, namespace: str, *modules: ModuleType, log: Path = Path("/dev/null")) -> None:
        self.namespace, self.log = namespace, log
        self.name = modules[0].__name__.rpartition(".")[2]
        self._types = {topic.name: topic.type for module in modules for topic in module.TOPICS}
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("client", namespace=namespace, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images = self.node.create_publisher(Image, "image", 1)
        self.compressed_images = self.node.create_publisher(CompressedImage, "image/compressed", 1)
        self.infos = self.node.create_publisher(CameraInfo, "camera_info", 1)
        self.received: dict[str, list[Any]] = {}
        self.statuses: list[DiagnosticStatus] = []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._receive_status, 10)
        self._get_state = self.node.create_client(GetState, f"{self.name}/get_state")
        self._has_status = self._is_discovered = False
        self._subscriptions: list[Any] = []
        self.stamp = 1_000_000_000

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def _receive_status(self, message: DiagnosticArray) -> None:
        own = [s for s in message.status if s.name.startswith(self.namespace.lstrip("/"))]
        self.statuses += own
        self._has_status |= bool(own)

    @property
    def estimated_stamps(self) -> list[int]:
        return [int(line) for line in self.log.read_text().splitlines() if line.isdigit()]

    def subscribe(self, *topics: str) -> None:
        """Subscribe to these topics of the node and to no other; messages are collected in `received`."""
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)
        self.received = {topic: [] for topic in topics}
        self._subscriptions = [
            self.node.create_subscription(self._types[t], t, self.received[t].append, QoSProfile(depth=50))
            for t in topics
        ]

    def discover(self) -> None:
        """Wait until the node is connected. Fails, from then on at once for all tests of the module, if it is not."""
        module = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]
        if module in _undiscovered:
            pytest.fail(f"as in an earlier test of this module, {_undiscovered[module]}")
        end = time.monotonic() + DISCOVERY_TIMEOUT
        while not (self._has_status and self._get_state.service_is_ready()):
            if time.monotonic() > end:
                _undiscovered[module] = self._discovery_problem()
                pytest.fail(_undiscovered[module])
            self.executor.spin_once(0.02)
        self._is_discovered = True

    def _discovery_problem(self) -> str:
        nodes = sorted(
            f"{space.rstrip('/')}/{name}" for name, space in self.node.get_node_names_and_namespaces()
        )
        state = "available" if self._get_state.service_is_ready() else "not available"
        publishers = [p.node_name for p in self.node.get_publishers_info_by_topic("/diagnostics")]
        return (
            f"node '{self.name}' in '{self.namespace}' was not discovered within {DISCOVERY_TIMEOUT:.0f} s: service "
            f"{self.name}/get_state is {state}; status on /diagnostics {'' if self._has_status else 'not '}received, "
            f"publishers {publishers}; {self.images.get_subscription_count()} subscriptions to `image`; nodes {nodes}"
        )

    def wait_until(
        self, condition: Callable[[], Any], action: Callable[[], Any] = lambda: None, timeout: float = TIMEOUT
    ) -> Any:
        """Repeat `action` until `condition` is true; returns the value of the condition."""
        if not self._is_discovered:
            self.discover()
        end, next_action = time.monotonic() + timeout, 0.0
        while not (result := condition()):
            assert time.monotonic() < end, (
                f"timed out; last status: {[s.message for s in self.statuses[-1:]]}"
            )
            if time.monotonic() > next_action:
                action()
                next_action = time.monotonic() + 0.2
            self.executor.spin_once(0.02)
        return result

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(0.02)

    def publish(
        self, image: Image | CompressedImage, info: CameraInfo | None = None, step: int = 1_000_000
    ) -> int:
        """Publish with the next stamp and return it."""
        self.stamp += step
        for message in (info, image):
            if message:
                fill_header(message.header, self.stamp, "front_optical")
        if info:
            self.infos.publish(info)
        (self.images if isinstance(image, Image) else self.compressed_images).publish(image)
        return self.stamp

    def results_of(self, image: Image | CompressedImage, info: CameraInfo | None, *topics: str) -> list[Any]:
        """The messages on `topics` for one image, which is published until all topics are connected."""
        return self.results_of_sent(lambda: self.publish(image, info), *topics)

    def results_of_sent(self, send: Callable[[], int], *topics: str) -> list[Any]:
        """The messages on `topics` for one frame; `send` publishes it and returns its stamp."""
        self.subscribe(*topics)
        sent: list[int] = []

        def complete() -> list[Any] | None:
            by_stamp = [{stamp_ns(header_of(m)): m for m in self.received[t]} for t in topics]
            stamps = set(sent).intersection(*by_stamp)
            return [messages[max(stamps)] for messages in by_stamp] if stamps else None

        return self.wait_until(complete, lambda: sent.append(send()))

    def wait_for_status(
        self, level: bytes, text: str, action: Callable[[], Any] = lambda: None
    ) -> DiagnosticStatus:
        """The first status of this level with `text` in its message, while `action` is repeated."""
        self.statuses.clear()
        return self.wait_until(
            lambda: next((s for s in self.statuses if s.level == level and text in s.message), None),
            action,
            STATUS_TIMEOUT,
        )

    def wait_for_warning(self, text: str, action: Callable[[], Any] = lambda: None) -> DiagnosticStatus:
        return self.wait_for_status(DiagnosticStatus.WARN, text, action)

    def call(self, service_type: type, service: str, request: Any) -> Any:
        """Call a service; the name is relative to the namespace."""
        client = self.node.create_client(service_type, service)
        self.wait_until(client.service_is_ready)
        future = client.call_async(request)
        self.wait_until(future.done)
        self.node.destroy_client(client)
        return future.result()

    def set_parameters(self, **values: Any) -> list[Any]:
        request = SetParameters.Request(
            parameters=[Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        )
        return self.call(SetParameters, f"{self.name}/set_parameters", request).results

    def describe_parameters(self, *names: str) -> list[Any]:
        request = DescribeParameters.Request(names=names)
        return self.call(DescribeParameters, f"{self.name}/describe_parameters", request).descriptors

    def change_state(self, transition: str) -> bool:
        request = ChangeState.Request()
        request.transition.id = TRANSITIONS[transition]
        return self.call(ChangeState, f"{self.name}/change_state", request).success

    def trigger(self, service: str) -> Trigger.Response:
        return self.call(Trigger, service, Trigger.Request())

    def state(self) -> str:
        return self.call(GetState, f"{self.name}/get_state", GetState.Request()).current_state.label


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def header_of(message: Any) -> Any:
    return message.markers[0].header if isinstance(message, MarkerArray) else message.header


def camera(width: int = 64, height: int = 48) -> Camera:
    return Camera.pinhole(width, height, 50.0, 52.0, width / 2, height / 2)


def image_of(size: Camera, value: int = 90) -> Image:
    message = Image()
    fill_image(message, np.full((size.height, size.width, 3), value, np.uint8), "rgb8")
    return message


def info_of(size: Camera) -> CameraInfo:
    message = CameraInfo()
    fill_camera_info(message, size)
    return message
