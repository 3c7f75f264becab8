"""Worker processes on this machine."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from depth_ros.parallel.items import ATTEMPTS, Outcome, WorkItem

PR_SET_PDEATHSIG = 1


class WorkerProcesses:
    """Runs items in `jobs` processes, each of which is used for many items. An item that kills its process is tried
    again once, in a new one."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def map(self, items: Sequence[WorkItem], done: Callable[[], None] = lambda: None) -> dict[str, Outcome]:
        """Run all items, in their order; see `Executor`."""
        waiting, outcomes = deque(items), dict[str, Outcome]()
        tries: Counter[str] = Counter()
        workers: list[_Worker] = []
        try:
            while waiting or workers:
                while waiting and len(workers) < self.jobs:
                    workers.append(_Worker())
                    workers[-1].start(waiting.popleft())
                for worker in _ready(workers):
                    item, outcome = worker.item, worker.receive()
                    tries[item.name] += 1
                    if outcome is None and tries[item.name] < ATTEMPTS:
                        waiting.appendleft(item)
                    else:
                        outcomes[item.name] = outcome or Outcome(None, worker.cause_of_death())
                        done()
                    if outcome is not None and waiting:
                        worker.start(waiting.popleft())
                    else:
                        worker.stop()
                        workers.remove(worker)
        finally:
            for worker in workers:
                worker.stop()
        return outcomes


class _Worker:
    """A process that runs one item at a time. item: the one that it has."""

    item: WorkItem

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork has the locks of threads that it has not
        self.connection, theirs = context.Pipe()
        level = logging.getLogger("depth_ros").getEffectiveLevel()
        self._process = context.Process(target=_serve, args=(theirs, level, os.getpid()), daemon=False)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the connection

    def start(self, item: WorkItem) -> None:
        self.item = item
        with suppress(OSError):  # the process is dead already, which `receive` finds out
            self.connection.send(item)

    def receive(self) -> Outcome | None:
        """The outcome; None if the process died."""
        try:
            outcome: Outcome = self.connection.recv()
            return outcome
        except (EOFError, OSError):
            return None

    def cause_of_death(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        advice = "; is the memory full? Try fewer --jobs" if code == -signal.SIGKILL else ""
        return f"its worker process {how}, {ATTEMPTS} times{advice}"

    def stop(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait for workers that have an outcome or are dead."""
    ready = wait([worker.connection for worker in workers])
    return [worker for worker in workers if worker.connection in ready]


def _serve(connection: Connection, level: int, parent: int) -> None:
    """The worker: runs items until it is killed."""
    from depth_ros.parallel.items import attempt

    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent ends the workers
    end_with(parent)
    with suppress(EOFError, OSError):
        while True:
            connection.send(attempt(connection.recv(), level))


def end_with(parent: int) -> None:
    """End this process when the parent dies, even if it is killed. Linux only."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def processor_count() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
