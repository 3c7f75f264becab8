"""The pool: builds in the background, one at a time, newest image size first, and keeps a bounded number open."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from depth_ros.card import read_card
from depth_ros.engine import EngineSettings, builder, opening, pool
from depth_ros.engine.engine import Engine

CPU = EngineSettings(backend="openvino", precision="float32", device="cpu")


@pytest.fixture()
def card(small_model, engine_cache):
    return read_card(small_model)


def until(condition, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.05)


def test_eager_serves_at_once_and_says_what_is_being_built(card):
    engines = pool.EnginePool()
    first = engines.serve(card, 128, 64, CPU)
    assert first.name == "eager float32 128x64" and first.reason == "until the engine is built"
    until(lambda: engines.building(card).startswith("openvino float32 128x64 for"))
    until(lambda: engines.serve(card, 128, 64, CPU).backend == "openvino")
    until(lambda: engines.building(card) == "")
    image, K = np.full((64, 128, 3), 90, np.uint8), np.array([[77.0, 0, 63.5], [0, 77, 31.5], [0, 0, 1]])
    np.testing.assert_allclose(engines.serve(card, 128, 64, CPU)(image, K), first(image, K), rtol=1e-3)


def test_one_build_at_a_time_and_the_newest_size_first(card, monkeypatch):
    running, order = [], []

    def build(request, reason):
        running.append(request)
        assert len(running) == 1
        time.sleep(0.3)
        order.append((request.width, request.height))
        running.pop()
        return "built"

    monkeypatch.setattr(builder, "build", build)
    monkeypatch.setattr(opening, "load", lambda request: lambda *inputs: inputs)
    engines = pool.EnginePool()
    sizes = [(64 * i, 64) for i in range(1, 8)]
    for size in sizes:
        engines.serve(card, *size, CPU)
        time.sleep(0.01)
    until(lambda: len(order) == 1 + pool.MAX_WAITING and not engines.building(card))
    assert order == [sizes[0], *reversed(sizes[-pool.MAX_WAITING :])]


def test_a_bounded_number_of_engines_stays_open(card, monkeypatch):
    opened = []

    def open_engine(self, card, width, height, settings):
        opened.append(width)
        return Engine("openvino", "float32", "cpu", width, height, "", lambda *inputs: inputs)

    monkeypatch.setattr(opening.Opener, "open", open_engine)
    engines = pool.EnginePool()
    for width in [*range(64, 64 + 32 * 12, 32), 64]:
        engines.open(card, width, 64, CPU)
        assert len(engines._engines) <= pool.MAX_ENGINES
    assert opened.count(64) == 2  # closed in between


def test_a_failed_build_leaves_eager_with_the_reason(card):
    engines = pool.EnginePool()
    missing = EngineSettings(backend="torch_tensorrt", device="cpu")
    engines.serve(card, 128, 64, missing)
    until(lambda: "it needs an NVIDIA GPU" in engines.serve(card, 128, 64, missing).reason)
    assert engines.serve(card, 128, 64, missing).backend == "eager" and not engines.building(card)


ENDS_WHILE_BUILDING = """
import sys, time
from depth_ros.card import find_card
from depth_ros.engine import EngineSettings, serve_engine, builder
serve_engine(find_card(sys.argv[1]), 128, 64, EngineSettings(backend="inductor", precision="float32", device="cpu"))
while not builder._children:
    time.sleep(0.01)
print(next(iter(builder._children)).pid, flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_no_build_process_outlives_its_parent(card, end):
    seconds = "0.5" if end == "exit" else "60"
    parent = subprocess.Popen(
        [sys.executable, "-c", ENDS_WHILE_BUILDING, str(card.path), seconds],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(parent.stdout.readline())
    time.sleep(1.0)
    if end == "kill":
        parent.send_signal(signal.SIGKILL)
    assert parent.wait(30) == (0 if end == "exit" else -signal.SIGKILL)
    until(lambda: not _alive(child), 10)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().split(") ")[1][0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


TWO_PROCESSES = """
import sys
from depth_ros.card import find_card
from depth_ros.engine import EngineSettings, open_engine
settings = EngineSettings(backend="openvino", precision="float32", device="cpu")
engine = open_engine(find_card(sys.argv[1]), 128, 64, settings)
print(engine.name, engine.reason)
"""


def test_two_processes_that_need_the_same_engine_build_it_once(card):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, str(card.path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    reasons = [process.communicate(timeout=120)[0] for process in processes]
    assert all(reason.startswith("openvino") for reason in reasons), reasons
    assert sum("built, because there was none in the cache" in reason for reason in reasons) == 1, reasons
