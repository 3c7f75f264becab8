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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_in_quick_succession_end_a_node(process, tmp_path: Path, number: signal.Signals):
    """As from Ctrl-C, pressed again and again, and a launch file that ends the process at the same time."""
    running = process()
    with closing(Client(f"/{tmp_path.name}", depth_node, log=tmp_path / "log")) as client:
        client.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
    for _ in range(20):
        running.send_signal(signal.SIGTERM)
        running.send_signal(number)
        time.sleep(0.02)
    log = running.communicate(timeout=60)[1]
    assert running.returncode == 0 and "Traceback" not in log and "Exception ignored" not in log, log


IMPORTING = """
import builtins, os, signal, sys
sys.argv = {argv}
number, real = {number}, builtins.__import__
def import_module(name, *rest):
    if name == "rclpy":
        os.kill(os.getpid(), number)
    return real(name, *rest)
builtins.__import__ = import_module
import depth_ros.nodes.depth_node
print("imported")
"""


@pytest.mark.parametrize(
    "argv", [["-m"], ["/opt/ros/lib/depth_ros/depth_node", "--ros-args"]], ids=["-m", "script"]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_ends_a_node(number: signal.Signals, argv: list[str]):
    code = IMPORTING.format(argv=argv, number=int(number))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_programs_keep_their_signal_handlers():
    code = (
        "import signal\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "import depth_ros.nodes\n"
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


STUCK = """
import os, signal, sys, time
from depth_ros.nodes import signals
signals.END_TIMEOUT = 0.5
watch = signals.SignalWatch(lambda: print("before the end"))
os.kill(os.getpid(), signal.SIGTERM)
try:
    time.sleep(30)
finally:
    print("finally")
"""


def test_the_process_is_ended_if_its_main_thread_is_stuck():
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "before the end\n", "")
    assert time.monotonic() - begin < 20
