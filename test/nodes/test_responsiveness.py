"""A node whose network runs for seconds, or fails, goes on: services, transitions, diagnostics, signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from known_depth_node import CRASH, EAGER, NAP, SLEEP, SLOW_SECONDS
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


def test_odometry_is_reset_while_the_depth_network_of_its_process_runs(tmp_path: Path):
    """The reset takes effect before the next frame of odometry, which is that of the running network."""
    log, size = tmp_path / "log", camera(160, 120)
    log.touch()
    script = str(SCRIPT.with_name("known_perception_node.py"))
    with node_process([script, str(log), "--ros-args", "-p", "base_frame:=''"]) as (_, namespace):
        client = Client(namespace, odometry_node, depth_node, log=log)
        client.results_of(image_of(size), info_of(size), "depth/image_rect", "odom")

        def starts() -> int:
            client.statuses.clear()
            values = [
                values_of(s) for s in client.wait_until(lambda: client.statuses[1:] and client.statuses)
            ]
            return next(int(v["odometry starts"]) for v in values if "odometry starts" in v)

        before = starts()
        stamp = client.publish(image_of(size, SLEEP), info_of(size))
        client.wait_until(lambda: stamp in client.estimated_stamps)
        assert seconds(client.trigger, "reset_odom") < SOON
        assert seconds(client.state) < SOON and starts() == before
        client.wait_until(lambda: stamp in [stamp_ns(m.header) for m in client.received["odom"]])
        assert starts() == before + 1
        client.close()


@pytest.fixture()
def process(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen]]:
    """Starts the node in this namespace."""
    started: list[subprocess.Popen] = []

    def start(*parameters: str) -> subprocess.Popen:
        (tmp_path / "log").touch()
        words = [word for parameter in parameters for word in ("-p", parameter)]
        command = [sys.executable, str(SCRIPT), str(tmp_path / "log"), "--ros-args", *words]
        started.append(
            subprocess.Popen([*command, "-r", f"__ns:=/{tmp_path.name}"], stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()


def end_of(process: subprocess.Popen, number: signal.Signals) -> tuple[int, str]:
    """Exit status and log of a process that gets a signal."""
    begin = time.monotonic()
    process.send_signal(number)
    log = process.communicate(timeout=60)[1]
    assert time.monotonic() - begin < SLOW_SECONDS - 2
    return process.returncode, log


@pytest.mark.parametrize("value", [EAGER, NAP], ids=["long", "short"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_whose_network_runs(process, tmp_path: Path, number: signal.Signals, value: int):
    """The node does not wait for a long estimation; it does for a short one, whose result it cannot publish."""
    running = process()
    client = Client(f"/{tmp_path.name}", depth_node, log=tmp_path / "log")
    try:
        start_slow_frame(client, value)
        status, log = end_of(running, number)
    finally:
        client.close()
    assert status == 0 and "Traceback" not in log and "Error" not in log, log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_that_loads_its_model(process, tmp_path: Path, number: signal.Signals):
    running, end = process("model:=slow"), time.monotonic() + 60
    while "model slow" not in (tmp_path / "log").read_text():
        assert time.monotonic() < end
        time.sleep(0.1)
    status, log = end_of(running, number)
    assert status == 0 and "Traceback" not in log and "cannot configure" not in log, log
