"""depth_node in environments of containers and services: no home, folders that cannot be written, a full disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_client import Client, camera, image_of, info_of, values_of

from depth_ros.engine import store
from depth_ros.nodes import depth_node
from depth_ros.playback.play import node_process

COMMAND = ["-m", "depth_ros.nodes.depth_node", "--ros-args"]
SIZE = camera(128, 64)
NO_FOLDER = "/proc/no_such_folder"
"""Cannot be created, not even by root."""


def serves(client: Client, condition: Callable[[DiagnosticStatus], bool]) -> DiagnosticStatus:
    """The first status that meets the condition while images come, all of which have depth."""
    client.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
    client.statuses.clear()
    return client.wait_until(
        lambda: next((s for s in client.statuses if condition(s)), None),
        lambda: client.publish(image_of(SIZE), info_of(SIZE)),
        240,
    )


@pytest.mark.parametrize(
    "variables, level, cause",
    [
        ({"DEPTH_ROS_CACHE": NO_FOLDER}, DiagnosticStatus.ERROR, "set DEPTH_ROS_CACHE to a writable folder"),
        ({"ROS_LOG_DIR": NO_FOLDER}, DiagnosticStatus.WARN, "set ROS_LOG_DIR to a writable folder"),
        (
            {"HOME": None, "ROS_LOG_DIR": None},
            DiagnosticStatus.WARN,
            "no log files are written (HOME is not set)",
        ),
    ],
    ids=["cache", "log", "home"],
)
def test_a_node_serves_and_shows_what_is_wrong_with_its_environment(
    variables: dict[str, str | None], level: bytes, cause: str, small_model: Path, engine_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    words = ["-p", f"model:={small_model}", "-p", "backend:=inductor"]
    with ExitStack() as stack:
        with monkeypatch.context() as of_node:  # not of the client
            for name, value in variables.items():
                of_node.delenv(name, raising=False)
                if value is not None:
                    of_node.setenv(name, value)
            process, namespace = stack.enter_context(node_process([*COMMAND, *words]))
        client = stack.enter_context(closing(Client(namespace, depth_node)))
        status = serves(client, lambda s: cause in s.message)
        assert status.level == level
        client.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
    assert process.returncode == 0


def test_the_folders_of_compilers_need_not_be_writable(
    small_model: Path, engine_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    """Others are used instead, by the process that builds engines, too."""
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TMPDIR"):
        monkeypatch.setenv(name, NO_FOLDER)
    words = ["-p", f"model:={small_model}", "-p", "backend:=inductor", "-p", "precision:=float32"]
    with (
        node_process([*COMMAND, *words]) as (_, namespace),
        closing(Client(namespace, depth_node)) as client,
    ):
        status = serves(client, lambda s: values_of(s).get("engine", "").startswith("inductor"))
        assert status.level == DiagnosticStatus.WARN
        assert "TORCHINDUCTOR_CACHE_DIR cannot be written" in status.message
        assert f"TMPDIR={NO_FOLDER} cannot be written" in status.message


@pytest.mark.parametrize(
    "variables, words, cause",
    [
        ({"ROS_DOMAIN_ID": "seven"}, [], "ROS_DOMAIN_ID is not an integral number"),
        ({}, ["--no-such-argument"], "no-such-argument"),
        ({}, ["-p", "model"], "'-p model'"),
        ({}, ["--params-file", "/none.yaml"], "/none.yaml"),
    ],
)
def test_a_node_that_cannot_start_says_why_in_its_status_and_its_log(
    variables: dict[str, str], words: list[str], cause: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, *COMMAND, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "ROS cannot be initialised" in done.stderr and cause in done.stderr


def test_a_user_without_a_home_needs_a_cache_folder(monkeypatch: pytest.MonkeyPatch):
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DEPTH_ROS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(store.Path, "home", home)
    with pytest.raises(OSError, match="the user has no home directory: set DEPTH_ROS_CACHE"):
        store.cache_root()
