"""Publishers of a node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecyclePublisher, LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.timer import Timer
from sensor_msgs.msg import PointCloud2, PointField

from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.protocols import Header
from depth_ros.nodes.inputs.camera import QosEvent, incompatible_qos_text
from depth_ros.nodes.topics import Topic

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

_UNKNOWN_NODE = "_NODE_NAME_UNKNOWN_"
"""Name of a node that is not discovered completely."""
CHECK_PERIOD = 2.0
"""Seconds between two checks for other publishers of the topics."""


@runtime_checkable
class _Stamped(Protocol):
    """A message with a header."""

    header: Header


class Publishers(ManagedEntity):
    """Reliable publishers of the `topics` with direction "out", which exist while the node is configured.

    Subscriptions with incompatible QoS, and other nodes that publish on the same topics, are passed to `warn`.
    """

    def __init__(self, node: Node, topics: Iterable[Topic], warn: Callable[[str], None]) -> None:
        self._node, self._warn = node, warn
        self._topics = [topic for topic in topics if topic.direction == "out"]
        self._lock = threading.Lock()  # of the dictionary, which other threads read
        self._publishers: dict[str, LifecyclePublisher] = {}
        self._timer: Timer | None = None
        self._latencies: dict[str, list[float]] = {}

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._lock:
            for topic in self._topics:
                self._publishers[topic.name] = self._create(topic)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        for publisher in self._publishers.values():
            publisher.on_activate(state)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._node.create_timer(CHECK_PERIOD, self._check_other_publishers, clock=steady)
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._timer:
            self._node.destroy_timer(self._timer)
        self._timer = None
        for publisher in self._publishers.values():
            publisher.on_deactivate(state)
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._lock:
            for publisher in self._publishers.values():
                self._node.destroy_publisher(publisher)
            self._publishers.clear()
        return TransitionCallbackReturn.SUCCESS

    def has_subscribers(self, *names: str) -> bool:
        """Whether one of the topics has a subscriber; any topic if no name is given."""
        if undeclared := set(names) - {topic.name for topic in self._topics}:
            raise ValueError(f"undeclared topics {undeclared}")
        with self._lock:
            return any(
                publisher.get_subscription_count() > 0
                for name, publisher in self._publishers.items()
                if name in names or not names
            )

    def publish(self, name: str, message: object) -> None:
        """Publish on the topic of this name. The caller ensures that no transition happens meanwhile."""
        self._publishers[name].publish(message)
        now = self._node.get_clock().now().nanoseconds
        if isinstance(message, _Stamped) and now:  # 0 until /clock has come
            with self._lock:
                self._latencies.setdefault(name, []).append((now - stamp_ns(message.header)) / 1e6)

    def latency_values(self) -> dict[str, object]:
        """Key-value pairs of the diagnostics: mean time from the stamp to the end of publishing, for every topic that
        was published since the last call."""
        with self._lock:
            latencies, self._latencies = self._latencies, {}
        return {f"latency of {name} (ms)": f"{sum(ms) / len(ms):.1f}" for name, ms in latencies.items()}

    def _check_other_publishers(self) -> None:
        """Warn if another node publishes on one of the topics, except on those all nodes share, such as /tf."""
        own = (self._node.get_namespace(), self._node.get_name())
        for name in [topic.name for topic in self._topics if not topic.name.startswith("/")]:
            resolved = self._node.resolve_topic_name(name)
            if self._node.count_publishers(resolved) < 2:
                continue
            nodes = [
                (p.node_namespace, p.node_name) for p in self._node.get_publishers_info_by_topic(resolved)
            ]
            if own in nodes:
                nodes.remove(own)  # once: there may be a second node of this name
            others = sorted(f"{space.rstrip('/')}/{node}" for space, node in nodes if node != _UNKNOWN_NODE)
            if others:
                self._warn(
                    f"'{resolved}' is also published by {', '.join(others)}, and subscribers receive both: start one "
                    f"of the nodes in another namespace, or remap the topic, here with -r {name}:=depth_ros/{name}"
                )

    def _create(self, topic: Topic) -> LifecyclePublisher:
        resolved = self._node.resolve_topic_name(topic.name)

        def on_incompatible_qos(event: QosEvent) -> None:
            self._warn(incompatible_qos_text(resolved, "subscription", event))

        # Not create_lifecycle_publisher, which leaves the order of the transitions to rclpy.
        publisher = self._node.create_publisher(
            topic.type, topic.name, QoSProfile(depth=topic.depth, reliability=ReliabilityPolicy.RELIABLE),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=on_incompatible_qos),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            publisher_class=LifecyclePublisher,
        )  # fmt: skip
        assert isinstance(publisher, LifecyclePublisher)
        return publisher


def point_cloud(fields: Iterable[tuple[str, int]], **types: int) -> PointCloud2:
    """An empty cloud with these fields (name, offset in bytes), of type FLOAT32 unless `types` has another."""
    return PointCloud2(
        fields=[
            PointField(name=name, offset=offset, datatype=types.get(name, PointField.FLOAT32), count=1)
            for name, offset in fields
        ]
    )
