"""An existing Ray cluster. Optional: pip install ray."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence

from depth_ros.errors import DepthRosError
from depth_ros.parallel.items import ATTEMPTS, Outcome, WorkItem, attempt


class RayCluster:
    """Runs each item as a task of one processor on the cluster at `address`, e.g. `auto` or `192.168.1.2:6379`.

    Every machine of the cluster needs depth_ros, and this working directory at the same path. Raises ImportError if
    ray is not installed, DepthRosError if the cluster cannot be reached.
    """

    def __init__(self, address: str) -> None:
        import ray

        try:
            ray.init(address=address, log_to_driver=True, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise DepthRosError(f"no Ray cluster at '{address}': {str(error).splitlines()[0]}") from error
        self._ray = ray

    def map(self, items: Sequence[WorkItem], done: Callable[[], None] = lambda: None) -> dict[str, Outcome]:
        """Run all items; see `Executor`."""
        ray, outcomes = self._ray, dict[str, Outcome]()
        level = logging.getLogger("depth_ros").getEffectiveLevel()
        # an item whose process or machine dies is run again by Ray; errors are outcomes, not exceptions
        task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_run)
        pending = {task.options(name=item.name).remote(item, level, os.getcwd()): item for item in items}
        while pending:
            for reference in ray.wait(list(pending))[0]:
                item = pending.pop(reference)
                try:
                    outcomes[item.name] = ray.get(reference)
                except ray.exceptions.RayError as error:
                    outcomes[item.name] = Outcome(None, f"Ray: {_cause(error)}")
                done()
        return outcomes


def _cause(error: Exception) -> str:
    """The last line of Ray's message, which names the exception at the end of its traceback, without colours."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _run(item: WorkItem, level: int, folder: str) -> Outcome:
    """The task. folder: working directory, to which the paths of items are relative."""
    os.environ.pop(
        "OMP_NUM_THREADS", None
    )  # Ray's, for tasks; engines that are built here use all processors
    try:
        os.chdir(folder)
    except OSError as error:
        return Outcome(None, f"{os.uname().nodename} has no folder {folder} ({error.strerror})")
    return attempt(item, level)
