"""Items in worker processes: one outcome each, whatever happens to the process or to other items."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from depth_ros.errors import DepthRosError
from depth_ros.parallel import WorkerProcesses, WorkItem


def square(log: Path, number: int) -> dict:
    """Also adds a line to a file for each call."""
    with open(log / str(number), "a") as stream:
        stream.write(f"{os.getpid()}\n")
    return {"square": number**2}


def killed(log: Path, times: int) -> dict:
    """Kills its process in the first calls."""
    result = square(log, 99)
    if len((log / "99").read_text().splitlines()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def failing(error: Exception) -> dict:
    raise error


def items(log: Path, *others: WorkItem) -> list[WorkItem]:
    """Squares of 0 to 3 with `others` after the first."""
    squares = [WorkItem(str(number), partial(square, log, number)) for number in range(4)]
    return [squares[0], *others, *squares[1:]]


def assert_squares(outcomes: dict, log: Path) -> None:
    """Each was computed, once."""
    for number in range(4):
        assert outcomes[str(number)].result == {"square": number**2}
        assert len((log / str(number)).read_text().splitlines()) == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_processes_are_used_again_and_every_item_has_its_result(jobs, tmp_path):
    finished = []
    outcomes = WorkerProcesses(jobs).map(items(tmp_path), lambda: finished.append(1))
    assert_squares(outcomes, tmp_path)
    assert set(outcomes) == {"0", "1", "2", "3"} and len(finished) == 4
    processes = {(tmp_path / str(number)).read_text() for number in range(4)}
    assert 1 <= len(processes) <= jobs and str(os.getpid()) not in processes


def test_an_item_whose_process_is_killed_is_tried_once_more(tmp_path):
    outcomes = WorkerProcesses(2).map(items(tmp_path, WorkItem("killed", partial(killed, tmp_path, 1))))
    assert_squares(outcomes, tmp_path)
    assert outcomes["killed"].result == {"square": 99**2}
    assert len((tmp_path / "99").read_text().splitlines()) == 2


def test_an_item_that_always_kills_its_process_costs_only_itself(tmp_path):
    finished = []
    given = items(tmp_path, WorkItem("killed", partial(killed, tmp_path, 100)))
    outcomes = WorkerProcesses(1).map(given, lambda: finished.append(1))
    assert_squares(outcomes, tmp_path)
    assert outcomes["killed"].result is None
    assert "was ended by SIGKILL, 2 times; is the memory full?" in outcomes["killed"].problem
    assert len((tmp_path / "99").read_text().splitlines()) == 2 and len(finished) == 5


def test_errors_are_outcomes_and_not_tried_again(tmp_path, capfd):
    others = [
        WorkItem("no", partial(failing, DepthRosError("no images"))),
        WorkItem("bug 5%", partial(failing, ValueError("x"))),
    ]
    outcomes = WorkerProcesses(1).map(items(tmp_path, *others))
    assert_squares(outcomes, tmp_path)
    assert outcomes["no"].problem == "no images" and outcomes["bug 5%"].problem == "ValueError: x"
    errors = capfd.readouterr().err
    assert errors.count("Traceback") == 1 and "depth_ros: bug 5%: unexpected error" in errors
