"""The folder of PyTorch's compilers in environments where the one given, or the default, cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NO_FOLDER = "/proc/no_such_folder"
CODE = """
import getpass, os, pathlib
if "NO_USER" in os.environ:
    def getuser():
        if "USER" not in os.environ:
            raise KeyError("getpwuid(): uid not found: 1234")
        return os.environ["USER"]
    getpass.getuser = getuser
from depth_ros.engine.backends import backend
from depth_ros.engine.compiler_folders import select_folder
print(select_folder())
assert backend("inductor").unavailable("cpu") in ("", "no C++ compiler: apt install g++")
from torch._inductor.runtime.cache_dir_utils import cache_dir
print(cache_dir())
"""


@pytest.mark.parametrize(
    ("variables", "problem", "folder"),
    [
        ({}, "", "{tmp}/torchinductor_"),
        ({"TORCHINDUCTOR_CACHE_DIR": "{tmp}/own"}, "", "{tmp}/own"),
        (
            {"TORCHINDUCTOR_CACHE_DIR": NO_FOLDER},
            "TORCHINDUCTOR_CACHE_DIR cannot be written",
            "{cache}/torchinductor",
        ),
        (
            {"TORCHINDUCTOR_CACHE_DIR": "/etc/hostname", "DEPTH_ROS_CACHE": NO_FOLDER},
            "TORCHINDUCTOR_CACHE_DIR cannot be written ([Errno 17] File exists: '/etc/hostname')",
            "{tmp}/depth_ros_",
        ),
        ({"NO_USER": "1"}, "", f"{{tmp}}/torchinductor_{os.getuid()}"),
    ],
    ids=["default", "own", "unwritable", "no cache", "no user"],
)
def test_compilers_can_be_imported_and_write_to(
    variables: dict[str, str], problem: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In a process of its own: PyTorch imports them once."""
    places = {"tmp": str(tmp_path), "cache": str(tmp_path / "cache")}
    for name in ("TORCHINDUCTOR_CACHE_DIR", *(["USER"] if "NO_USER" in variables else [])):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TMPDIR": "{tmp}", "DEPTH_ROS_CACHE": "{cache}", **variables}.items():
        monkeypatch.setenv(name, value.format(**places))
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    said, selected = done.stdout.splitlines()
    assert said.startswith(problem) and bool(said) == bool(problem)
    assert selected.startswith(folder.format(**places))
