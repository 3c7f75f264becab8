"""SIGINT and SIGTERM at any moment end a node with status 0 and without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from known_depth_node import EAGER, NAP, SLOW_SECONDS
from node_client import Client, camera, image_of, info_of

from depth_ros.nodes import depth_node

SIZE = camera(64, 48)
SCRIPT = Path(__file__).parent / "known_depth_node.py"


@pytest.fixture()
def process(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen]]:
    """Starts the node with these parameters, in a namespace named after `tmp_path`."""
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
    with closing(client):
        client.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
        stamp = client.publish(image_of(SIZE, value), info_of(SIZE))
        client.wait_until(lambda: stamp in client.estimated_stamps)
        status, log = end_of(running, number)
    assert status == 0 and "Traceback" not in log and "Error" not in log, log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_that_loads_its_model(process, tmp_path: Path, number: signal.Signals):
    running, end = process("model:=slow"), time.monotonic() + 60
    while "model slow" not in (tmp_path / "log").read_text():
        assert time.monotonic() < end
        time.sleep(0.1)
    status, log = end_of(running, number)
    assert status == 0 and "Traceback" not in log and "cannot configure" not in log, log
