"""Estimation outside of the executor: receiving, services, timers and transitions go on while a network runs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn

from depth_ros.nodes.diagnostics import Diagnostics, Timing

Result = TypeVar("Result")
Job = Callable[[], Result | None]


class Worker:
    """The thread that runs the jobs of all nodes of a process, one after the other."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._condition = threading.Condition()
        self._closed = False
        # A daemon does not keep the process alive: SIGINT must not wait for a network that runs for seconds.
        self._thread = threading.Thread(target=self._run, name="estimation", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None]) -> None:
        """Append a job, which must not raise."""
        with self._condition:
            self._jobs.append(job)
            self._condition.notify()

    def replace(self, old: Callable[[], None], new: Callable[[], None]) -> bool:
        """Put a job in the place of one that has not started. Returns whether that one was waiting."""
        with self._condition:
            is_waiting = old in self._jobs
            if is_waiting:
                self._jobs[self._jobs.index(old)] = new
            return is_waiting

    def remove(self, job: Callable[[], None]) -> bool:
        """Remove a job that has not started. Returns whether it was waiting."""
        with self._condition:
            is_waiting = job in self._jobs
            if is_waiting:
                self._jobs.remove(job)
            return is_waiting

    def close(self, timeout: float) -> bool:
        """Drop the waiting jobs and wait at most `timeout` s for the running one. Returns whether the thread ended."""
        with self._condition:
            self._jobs.clear()
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    return
                job = self._jobs.popleft()
            job()


class FrameProcessor(ManagedEntity, Generic[Result]):
    """Runs the jobs of one node in the worker thread and publishes their results while the node is active.

    A job returns a result, or None if there is nothing to publish; what it raises is reported to `diagnostics`.
    publish: fills and publishes the messages of a result. forward: passes it on to the nodes downstream.
    begin: a command that precedes the first job after an activation.

    Deactivation and commands do not wait for the running job: its result is discarded instead. Once `on_deactivate`
    has returned, nothing is published, and publishers can be destroyed.
    """

    def __init__(
        self,
        worker: Worker,
        diagnostics: Diagnostics,
        publish: Callable[[Result, Timing], None],
        forward: Callable[[Result], None] = lambda result: None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._worker, self._diagnostics = worker, diagnostics
        self._publish, self._forward, self._begin = publish, forward, begin
        self.dropped = 0
        self._lock = threading.Lock()  # held while publishing, and briefly otherwise
        self._active, self._epoch = False, 0
        self._waiting: Callable[[], None] | None = None
        self._commands: list[Callable[[], None]] = []

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.command(self._begin)
        with self._lock:
            self._active, self.dropped = True, 0
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.discard()
        with self._lock:
            self._active = False
        return TransitionCallbackReturn.SUCCESS

    def submit(self, job: Job[Result]) -> None:
        """Run the job unless the next one is submitted before it starts: the newest frame wins.

        It takes the place of the job that it replaces: nodes that submit more than the worker can run take turns.
        """
        with self._lock:
            task = self._task(job)
            if self._waiting and self._worker.replace(self._waiting, task):
                self.dropped += 1
            else:
                self._worker.put(task)
            self._waiting = task

    def enqueue(self, job: Job[Result]) -> None:
        """Run the job after those that were submitted or enqueued before."""
        with self._lock:
            self._worker.put(self._task(job))

    def run(self, job: Job[Result]) -> None:
        """Run the job now. Only for the worker thread, in which a node upstream forwards its results."""
        self._task(job)()

    def command(self, change: Callable[[], None]) -> None:
        """Change the state that jobs use, after the running job and before all others; discard its result."""
        self.discard()
        with self._lock:
            self._commands.append(change)
        self._worker.put(self._run_commands)

    def between_frames(self, change: Callable[[], None]) -> None:
        """Change the state that jobs use, after the running job and before all others; no result is lost."""
        with self._lock:
            self._commands.append(change)
        self._worker.put(self._run_commands)

    def discard(self) -> None:
        """Drop the job that waits, and the result of the one that runs."""
        with self._lock:
            self._epoch += 1
            if self._waiting and self._worker.remove(self._waiting):
                self.dropped += 1
            self._waiting = None

    def _task(self, job: Job[Result]) -> Callable[[], None]:
        return partial(self._run, job, self._epoch, time.perf_counter())

    def _run(self, job: Job[Result], epoch: int, received: float) -> None:
        self._run_commands()
        if not self._is_current(epoch):
            return
        try:
            result = job()
            if result is None:
                return
            timing = Timing(received, time.perf_counter())
            with self._lock:
                if not self._is_current(epoch):
                    return
                self._publish(result, timing)
            self._forward(result)
        except BaseException as error:  # SystemExit would end the thread without a word
            if self._is_current(epoch):  # otherwise its inputs may have been destroyed meanwhile
                self._diagnostics.reject(error)

    def _run_commands(self) -> None:
        while self._commands:
            try:
                self._commands.pop(0)()
            except BaseException as error:
                self._diagnostics.reject(error)

    def _is_current(self, epoch: int) -> bool:
        return self._active and epoch == self._epoch
