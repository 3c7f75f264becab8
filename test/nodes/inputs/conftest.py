"""A node in the process of the test that owns the inputs under test, and publishes what they receive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest


class InputHost:
    """A node with its executor, in a context of its own."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("input_host", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.warnings: list[str] = []

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def spin_until(
        self,
        condition: Callable[[], object],
        timeout: float = 30.0,
        action: Callable[[], object] = lambda: None,
    ) -> None:
        """Run callbacks until the condition holds, with `action` before each; fail after `timeout` seconds."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "condition not met"
            action()
            self.executor.spin_once(0.02)

    def spin(self, seconds: float) -> None:
        """Run callbacks for some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(0.02)

    def connect(self, publisher) -> None:
        """Wait until the publisher has a subscription."""
        self.spin_until(publisher.get_subscription_count)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[InputHost]:
    host = InputHost()
    yield host
    host.close()
