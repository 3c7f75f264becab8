"""SIGINT and SIGTERM: a node ends with status 0 at any moment, whatever its threads are doing.

Nothing is raised in the main thread: an exception at an arbitrary place can be lost, or appear in a log. rclpy shuts
ROS down on a signal, which ends the executor; a thread ends the process if that takes too long.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
END_TIMEOUT = 4.0
"""Seconds after a signal until the process is ended, for example in the middle of loading a model. ros2 launch and
docker stop send SIGKILL after 10 s."""


def end_at_once_on_signals() -> None:
    """End the process without a word on a signal: for the imports, during which there is nothing to clean up."""
    for number in SIGNALS:
        signal.signal(number, _end_at_once)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    end_process()


def end_process() -> None:
    """End the process with status 0 without finalization, which would destroy what running threads use."""
    for stream in (sys.stdout, sys.stderr):
        if stream:  # None if the process was started without
            stream.flush()
    os._exit(0)


class SignalWatch:
    """Notes signals in `received`, and ends the process at most END_TIMEOUT s after the first.

    Create it in the main thread, before rclpy adds its own handler, which calls this one. before_end: called in another
    thread before the process is ended in the middle of something.
    """

    def __init__(self, before_end: Callable[[], object]) -> None:
        self.received = False
        self._before_end = before_end
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        for number in SIGNALS:
            signal.signal(number, self._note)
        # The number arrives even while the main thread is inside of native code.
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=self._run, name="signals", daemon=True).start()

    def close(self) -> None:
        """Ignore further signals: the process is ending."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def _run(self) -> None:
        while os.read(self._reader, 1)[0] not in SIGNALS:
            pass
        self.received = True
        time.sleep(END_TIMEOUT)
        self._before_end()
        end_process()
