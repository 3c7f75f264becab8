"""Builds that fail because of the machine, in the real child process."""

from __future__ import annotations

import errno
from collections import namedtuple
from pathlib import Path

import pytest

from depth_ros.card import find_card
from depth_ros.engine import builder
from depth_ros.engine.builder import BuildError, build
from depth_ros.engine.store import EngineRequest

Usage = namedtuple("Usage", "total used free")


@pytest.fixture()
def request_of(small_model: Path, engine_cache: Path) -> EngineRequest:
    return EngineRequest(find_card(str(small_model)), 128, 64, "inductor", "float32", "cpu")


@pytest.mark.parametrize(("free", "by_machine"), [(1e3, True), (1e12, False)], ids=["full", "not full"])
def test_a_failed_build_on_a_full_disk_says_so(
    request_of: EngineRequest, free: float, by_machine: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(builder, "COMMAND", ("-c", "raise SystemExit('no luck')"))
    monkeypatch.setattr(builder.shutil, "disk_usage", lambda folder: Usage(0, 0, free))
    with pytest.raises(BuildError, match="ended with status 1: no luck") as error:
        build(request_of, "")
    assert error.value.by_machine == by_machine
    assert ("MB are free in the engine cache" in str(error.value)) == by_machine


def test_a_cache_that_cannot_be_written_is_named(request_of: EngineRequest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DEPTH_ROS_CACHE", "/proc/no_such_folder")
    with pytest.raises(BuildError, match="set DEPTH_ROS_CACHE to a writable folder") as error:
        build(request_of, "")
    assert error.value.by_machine


def test_errors_of_the_operating_system_are_recognised_below_those_of_compilers():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as cause:
            raise RuntimeError("the compiler failed") from cause
    except RuntimeError as error:
        assert builder._is_by_machine(error)
    assert not builder._is_by_machine(RuntimeError("unsupported operator"))
