"""A node whose network runs for seconds, or fails, goes on: services, transitions, diagnostics.

The network runs until the test ends it, after everything that is to happen meanwhile, however long that takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from known_depth_node import CRASH, EAGER, SLEEP, ended
from node_client import Client, camera, image_of, info_of, values_of
from std_msgs.msg import Empty

from depth_ros.datatypes import Camera
from depth_ros.messages.decode import stamp_ns
from depth_ros.nodes import depth_node, odometry_node
from depth_ros.playback.play import node_process

SIZE = camera(64, 48)
SCRIPT = Path(__file__).parent / "known_depth_node.py"


@contextmanager
def slow_frame(node: Client, *topics: str, value: int = SLEEP, size: Camera = SIZE) -> Iterator[int]:
    """Stamp of a frame that is being estimated in the block."""
    ended(node.log).unlink(missing_ok=True)
    node.results_of(image_of(size), info_of(size), *topics)
    stamp = node.publish(image_of(size, value), info_of(size))
    node.wait_until(lambda: stamp in node.estimated_stamps)
    try:
        yield stamp
        assert stamp not in [stamp_ns(message.header) for topic in topics for message in node.received[topic]]
    finally:
        ended(node.log).touch()


# Before the client of the module: Fast DDS does not always discover all of several participants of a process.
def test_odometry_is_reset_while_the_depth_network_of_its_process_runs(tmp_path: Path):
    """The reset takes effect before the next frame of odometry, which is that of the running network."""
    log = tmp_path / "log"
    log.touch()
    script = str(SCRIPT.with_name("known_perception_node.py"))
    with (
        node_process([script, str(log), "--ros-args", "-p", "base_frame:=''"]) as (_, namespace),
        closing(Client(namespace, odometry_node, depth_node, log=log)) as client,
    ):

        def starts() -> int:
            key = "odometry starts"
            client.statuses.clear()
            return client.wait_until(
                lambda: next((int(values_of(s)[key]) for s in client.statuses if key in values_of(s)), None)
            )

        with slow_frame(client, "depth/image_rect", "odom", size=camera(160, 120)) as stamp:
            before = starts()
            assert client.trigger("reset_odom").success
            assert client.state() == "active" and starts() == before
        client.wait_until(lambda: stamp in [stamp_ns(m.header) for m in client.received["odom"]])
        assert starts() == before + 1


@pytest.mark.parametrize("value", [SLEEP, EAGER], ids=["sleep", "eager"])
def test_services_and_diagnostics_go_on_while_a_network_runs(node: Client, value: int):
    with slow_frame(node, "depth/image_rect", value=value) as stamp:
        assert node.state() == "active"
        assert node.set_parameters(point_stride=2)[0].successful
        assert node.set_parameters(point_stride=1)[0].successful
        node.statuses.clear()
        node.wait_until(lambda: len(node.statuses) >= 2)
        newest = 0
        for _ in range(3):
            newest = node.publish(image_of(SIZE), info_of(SIZE))
            node.spin(0.1)
    node.wait_until(lambda: newest in [stamp_ns(m.header) for m in node.received["depth/image_rect"]])
    assert node.estimated_stamps[-2:] == [stamp, newest]  # the two frames between were replaced by newer ones
    node.wait_until(lambda: int(values_of(node.statuses[-1]).get("dropped frames", 0)) >= 2)


def test_transitions_do_not_wait_for_a_network_and_discard_its_result(node: Client):
    with slow_frame(node, "depth/image_rect") as stamp:
        for transition in ("deactivate", "cleanup", "configure", "activate"):
            assert node.change_state(transition), transition
    node.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
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
