"""Several recordings in one command: options, execution, output."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from depth_ros.cli.dependencies import explain
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from depth_ros.parallel import Executor, Outcome

Call = Callable[[], dict[str, Any]]


def add_parallel_options(command: argparse.ArgumentParser) -> None:
    """--jobs and --ray."""
    group = command.add_argument_group("several recordings").add_mutually_exclusive_group()
    group.add_argument("--jobs", type=int, default=0, metavar="N",
                       help="worker processes, which divide the processors; default: one a processor")  # fmt: skip
    group.add_argument("--ray", default="", metavar="ADDRESS",
                       help="run on this Ray cluster instead, e.g. auto or HOST:6379")  # fmt: skip


def run_all(calls: Mapping[str, Call], arguments: argparse.Namespace) -> dict[str, Outcome]:
    """Run the calls, by the names of their recordings, side by side. Raises DepthRosError for wrong options."""
    from tqdm import tqdm

    from depth_ros.parallel import WorkItem

    executor, threads = _executor(arguments, len(calls))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))  # read when a worker loads NumPy
    items = [WorkItem(name, functools.partial(_with_threads, threads, call)) for name, call in calls.items()]
    with tqdm(total=len(items), unit="recording", disable=None) as bar:
        outcomes = executor.map(items, bar.update)
    return {name: outcomes[name] for name in calls}


def _executor(arguments: argparse.Namespace, count: int) -> tuple[Executor, int]:
    """Where the recordings are processed, and the number of threads of each process."""
    from depth_ros.parallel import RayCluster, WorkerProcesses, processor_count

    if arguments.ray:
        return RayCluster(arguments.ray), 1
    if arguments.jobs < 0:
        raise DepthRosError(f"--jobs is {arguments.jobs}: give a number of processes from 1")
    processors = processor_count()
    jobs = min(arguments.jobs or processors, count)
    return WorkerProcesses(jobs), max(processors // jobs, 1)


def _with_threads(threads: int, call: Call) -> dict[str, Any]:
    """Run a call in a worker that has its part of the processors. A missing package becomes a DepthRosError."""
    try:
        import cv2
        import torch

        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        return call()
    except ImportError as error:
        raise DepthRosError(explain(error)) from error


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Text table, first column to the left, the others to the right."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))]).rstrip()
        for line in lines
    )


def print_problems(outcomes: Mapping[str, Outcome]) -> int:
    """Print a line for each recording that failed or is damaged. Returns the exit status, 1 if there is one."""
    problems = {
        name: outcome.result.get("problem", "") if outcome.result else outcome.problem
        for name, outcome in outcomes.items()
    }
    lines = [f"{name}: {problem}" for name, problem in problems.items() if problem]
    print("\n".join(lines), end="\n" * bool(lines))
    return 1 if lines else 0
