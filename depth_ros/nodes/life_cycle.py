"""What all life-cycle nodes here do alike: start by themselves, say why they cannot, advertise, run."""

from __future__ import annotations

import ctypes
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from depth_ros.errors import DepthRosError
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.inputs.camera import incompatible_text

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def start(node: LifecycleNode, autostart: bool) -> None:
    """Configure and activate `node`, unless that is left to a life-cycle manager."""
    if autostart and node.trigger_configure() == SUCCESS:
        node.trigger_activate()


def configured(
    node: LifecycleNode, configure: Callable[[], None], diagnostics: Diagnostics
) -> TransitionCallbackReturn:
    """What `on_configure` returns after `configure`; why that failed is said, and stays in the diagnostics."""
    try:
        configure()
    except DepthRosError as error:
        diagnostics.error = f"cannot configure: {error}"
        node.get_logger().error(diagnostics.error)
        return FAILURE
    except Exception:  # rclpy would swallow it
        node.get_logger().fatal(traceback.format_exc())
        raise
    diagnostics.error = ""
    return SUCCESS


def advertise(
    node: LifecycleNode, kind: type, topic: str, complain: Callable[[str], None], kept: int = 1
) -> LifecyclePublisher:
    """A reliable publisher of `topic`; subscribers that cannot hear it are named to `complain`."""
    resolved = node.resolve_topic_name(topic)

    def incompatible(event: Any) -> None:
        complain(incompatible_text(resolved, "subscriber", event))

    return node.create_lifecycle_publisher(
        kind, topic, QoSProfile(depth=kept, reliability=ReliabilityPolicy.RELIABLE),
        event_callbacks=PublisherEventCallbacks(incompatible_qos=incompatible),
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )  # fmt: skip


def share_memory() -> None:
    """Let all threads of this process share what they freed, where the C library is glibc.

    It would give each thread an arena of its own, and images are made in one and freed in another.
    """
    most_arenas = -8
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(most_arenas, 1)


def run(name: str, make: Callable[[], Iterable[Any]], args: list[str] | None = None) -> int:
    """Run the nodes that `make` makes, in one thread, until they are told to stop. 1 if they cannot be made, because a
    parameter given at start is not allowed, say."""
    share_memory()
    rclpy.init(args=args)
    try:
        nodes = list(make())
    except (DepthRosError, ParameterException) as error:
        get_logger(name).fatal(str(error))
        return 1
    executor = SingleThreadedExecutor()
    try:
        for node in nodes:
            executor.add_node(node)
            node.start()
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the usual ways to end
    return 0
