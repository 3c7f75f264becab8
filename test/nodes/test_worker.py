"""The worker thread and the jobs of a node in it, without a node."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from depth_ros.nodes.worker import FrameProcessor, Worker


class Reports:
    """Diagnostics that keep what is reported."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def reject(self, error: BaseException) -> None:
        self.errors.append(error)


class Gate:
    """A job that returns `result` once it is opened."""

    def __init__(self, result: Any) -> None:
        self.result, self._started, self._opened = result, threading.Event(), threading.Event()

    def __call__(self) -> Any:
        self._started.set()
        assert self._opened.wait(10)
        return self.result

    def wait_until_started(self) -> None:
        assert self._started.wait(10)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture()
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    assert worker.close(10)


def processor_of(worker: Worker, **callbacks: Callable) -> tuple[FrameProcessor, list, Reports]:
    """An active processor, what it publishes, and what it reports."""
    published: list[Any] = []
    reports = Reports()
    processor = FrameProcessor(worker, reports, lambda result, timing: published.append(result), **callbacks)
    processor.on_activate(None)
    return processor, published, reports


def finish(worker: Worker) -> None:
    """Wait for all jobs."""
    done = threading.Event()
    worker.put(done.set)
    assert done.wait(10)


def test_the_newest_frame_wins_and_replaced_ones_are_counted(worker: Worker):
    processor, published, _ = processor_of(worker)
    first = Gate("first")
    processor.submit(first)
    first.wait_until_started()
    for result in ("second", "third", "fourth"):
        processor.submit(lambda result=result: result)
    first.open()
    finish(worker)
    assert published == ["first", "fourth"] and processor.dropped == 2


def test_nodes_that_submit_more_than_the_worker_runs_take_turns(worker: Worker):
    """Frames of all cameras come while one is estimated, those of the first one twice."""
    cameras = [processor_of(worker) for _ in range(4)]
    order: list[int] = []
    gates = [Gate(None) for _ in range(12)]

    def estimate(number: int, gate: Gate) -> str:
        order.append(number)
        return gate()

    cameras[3][0].submit(gates[0])
    for running, following in itertools.pairwise(gates):
        running.wait_until_started()
        for number in (0, 0, 1, 2, 3):
            cameras[number][0].submit(lambda number=number, gate=following: estimate(number, gate))
        running.open()
    gates[-1].open()
    finish(worker)
    assert order[:11] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]


def test_enqueued_jobs_all_run_in_order(worker: Worker):
    processor, published, _ = processor_of(worker)
    for number in range(5):
        processor.enqueue(lambda number=number: number)
    finish(worker)
    assert published == list(range(5)) and processor.dropped == 0


def test_a_command_discards_the_running_and_the_waiting_frame_and_precedes_the_next(worker: Worker):
    processor, published, _ = processor_of(worker)
    order: list[str] = []
    running = Gate("running")
    processor.submit(running)
    running.wait_until_started()
    processor.submit(lambda: order.append("waiting") or "waiting")
    processor.command(lambda: order.append("command"))
    processor.submit(lambda: order.append("next") or "next")
    running.open()
    finish(worker)
    assert order == ["command", "next"] and published == ["next"]


def test_a_command_precedes_a_frame_that_a_node_upstream_forwards(worker: Worker):
    """The node upstream is in the middle of its frame when the command arrives."""
    order: list[str] = []
    downstream, _, _ = processor_of(worker)
    upstream, _, _ = processor_of(
        worker, forward=lambda result: downstream.run(lambda: order.append("frame"))
    )
    gate = Gate("depth")
    upstream.submit(gate)
    gate.wait_until_started()
    downstream.command(lambda: order.append("command"))
    gate.open()
    finish(worker)
    assert order == ["command", "frame"]


def test_deactivation_does_not_wait_and_nothing_is_published_after_it(worker: Worker):
    processor, published, reports = processor_of(worker)
    for end in (lambda: "result", lambda: 1 / 0):
        gate = Gate("")

        def job(gate=gate, end=end) -> Any:
            gate()
            return end()

        processor.submit(job)
        gate.wait_until_started()
        processor.submit(lambda: "waiting")
        processor.on_deactivate(None)
        processor.on_activate(None)
        gate.open()
        finish(worker)
    assert not published and not reports.errors


def test_an_inactive_node_runs_commands_but_no_jobs(worker: Worker):
    processor, published, _ = processor_of(worker)
    processor.on_deactivate(None)
    called: list[str] = []
    processor.submit(lambda: called.append("job") or "job")
    processor.command(lambda: called.append("command"))
    finish(worker)
    assert called == ["command"] and not published


def test_begin_runs_before_the_first_frame_of_each_activation(worker: Worker):
    order: list[str] = []
    processor, _, _ = processor_of(worker, begin=lambda: order.append("begin"))
    for _ in range(2):
        processor.submit(lambda: order.append("frame"))
        finish(worker)
        processor.on_deactivate(None)
        processor.on_activate(None)
    finish(worker)
    assert order == ["begin", "frame", "begin", "frame", "begin"]


def test_exceptions_are_reported_and_the_thread_goes_on(worker: Worker):
    processor, published, reports = processor_of(worker)
    processor.enqueue(lambda: 1 / 0)
    finish(worker)
    processor.command(lambda: [][0])
    finish(worker)
    processor.enqueue(lambda: sys.exit("a library gives up"))
    finish(worker)
    processor.enqueue(lambda: "result")
    finish(worker)
    assert [type(error) for error in reports.errors] == [ZeroDivisionError, IndexError, SystemExit]
    assert published == ["result"]


def test_an_exception_while_publishing_is_reported(worker: Worker):
    reports = Reports()

    def publish(result: Any, timing: Any) -> None:
        raise ValueError

    processor = FrameProcessor(worker, reports, publish)
    processor.on_activate(None)
    processor.enqueue(lambda: "result")
    finish(worker)
    processor.on_deactivate(None)  # the lock is free
    assert [type(error) for error in reports.errors] == [ValueError]


def test_close_tells_whether_a_job_is_still_running():
    worker, gate = Worker(), Gate(None)
    worker.put(gate)
    gate.wait_until_started()
    assert not worker.close(0.1)
    gate.open()
    assert worker.close(10)
