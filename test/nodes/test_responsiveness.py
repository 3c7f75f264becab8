"""A node whose network runs for seconds, or fails, goes on: services, transitions, diagnostics."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from known_depth_node import CRASH, EAGER, SLEEP, SLOW_SECONDS
from node_client import Client, camera, image_of, info_of, values_of
from std_msgs.msg import Empty

from depth_ros.messages.decode import stamp_ns
from depth_ros.nodes import depth_node, odometry_node
from depth_ros.playback.play import node_process

SIZE = camera(64, 48)
SOON = 1.0
"""s, within which services are answered."""
SCRIPT = Path(__file__).parent / "known_depth_node.py"


def seconds(function: Callable[..., Any], *args: Any) -> float:
    begin = time.monotonic()
    assert function(*args)
    return time.monotonic() - begin


def start_slow_frame(node: Client, value: int) -> tuple[int, float]:
    """Stamp of a frame that is being estimated, and when that ends."""
    node.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
    stamp = node.publish(image_of(SIZE, value), info_of(SIZE))
    node.wait_until(lambda: stamp in node.estimated_stamps)
    return stamp, time.monotonic() + SLOW_SECONDS


# Before the client of the module: Fast DDS does not always discover all of several participants of a process.
def test_odometry_is_reset_while_the_depth_network_of_its_process_runs(tmp_path: Path):
    """The reset takes effect before the next frame of odometry, which is that of the running network."""
    log, size = tmp_path / "log", camera(160, 120)
    log.touch()
    script = str(SCRIPT.with_name("known_perception_node.py"))
    with (
        node_process([script, str(log), "--ros-args", "-p", "base_frame:=''"]) as (_, namespace),
        closing(Client(namespace, odometry_node, depth_node, log=log)) as client,
    ):
        client.results_of(image_of(size), info_of(size), "depth/image_rect", "odom")

        def starts() -> int:
            key = "odometry starts"
            client.statuses.clear()
            return client.wait_until(
                lambda: next((int(values_of(s)[key]) for s in client.statuses if key in values_of(s)), None)
            )

        before = starts()
        stamp = client.publish(image_of(size, SLEEP), info_of(size))
        client.wait_until(lambda: stamp in client.estimated_stamps)
        assert seconds(client.trigger, "reset_odom") < SOON
        assert seconds(client.state) < SOON and starts() == before
        client.wait_until(lambda: stamp in [stamp_ns(m.header) for m in client.received["odom"]])
        assert starts() == before + 1


@pytest.mark.parametrize("value", [SLEEP, EAGER], ids=["sleep", "eager"])
def test_services_and_diagnostics_go_on_while_a_network_runs(node: Client, value: int):
    stamp, end = start_slow_frame(node, value)
    assert seconds(lambda: node.state() == "active") < SOON
    assert seconds(lambda: node.set_parameters(point_stride=2)[0].successful) < SOON
    assert seconds(lambda: node.set_parameters(point_stride=1)[0].successful) < SOON
    node.statuses.clear()
    node.spin(2.5)
    assert len(node.statuses) >= 2 and time.monotonic() < end
    newest = 0
    for _ in range(3):
        newest = node.publish(image_of(SIZE), info_of(SIZE))
        node.spin(0.1)
    node.wait_until(lambda: newest in [stamp_ns(m.header) for m in node.received["depth/image_rect"]])
    assert node.estimated_stamps[-2:] == [stamp, newest]  # the two frames between were replaced by newer ones
    status = node.wait_until(lambda: node.statuses[-1])
    assert int(values_of(status)["dropped frames"]) >= 2


def test_transitions_do_not_wait_for_a_network_and_discard_its_result(node: Client):
    stamp, end = start_slow_frame(node, SLEEP)
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert seconds(node.change_state, transition) < SOON, transition
    assert time.monotonic() < end
    node.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
    assert time.monotonic() > end - 1  # the worker thread was busy until then
    assert stamp not in [stamp_ns(m.header) for m in node.received["depth/image_rect"]]


def test_an_exception_in_the_estimator_is_an_error_in_diagnostics_and_the_node_goes_on(node: Client):
    node.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
    before = int(values_of(node.wait_for_status(DiagnosticStatus.OK, "ok"))["rejected frames"])
    status = node.wait_for_status(
        DiagnosticStatus.ERROR,
        "internal error, RuntimeError: the estimator has a bug",
        lambda: node.publish(image_of(SIZE, CRASH), info_of(SIZE)),
    )
    assert int(values_of(status)["rejected frames"]) > before
    node.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
    node.wait_for_status(DiagnosticStatus.OK, "ok", lambda: node.publish(image_of(SIZE), info_of(SIZE)))


def test_an_exception_in_a_callback_is_an_error_in_diagnostics_and_the_node_goes_on(node: Client):
    publisher = node.node.create_publisher(Empty, "crash", 1)
    node.wait_for_status(
        DiagnosticStatus.ERROR,
        "internal error, RuntimeError: the callback has a bug",
        lambda: publisher.publish(Empty()),
    )
    node.node.destroy_publisher(publisher)
    node.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
