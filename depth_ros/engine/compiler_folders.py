"""The folder that PyTorch's compilers write to. Importing them fails where it cannot be written."""

from __future__ import annotations

import functools
import getpass
import os
import tempfile
from pathlib import Path

from depth_ros.engine import store

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
TRITON_VARIABLE = "TRITON_CACHE_DIR"


@functools.lru_cache(maxsize=1)
def select_folder() -> str:
    """Select another folder if the one of the environment, or else PyTorch's default, cannot be written.

    Call it before torch._inductor or torch._dynamo is imported. Returns what is wrong with the environment; empty if
    nothing is.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # a user ID without an entry in the user database, as in containers
        os.environ["USER"] = str(os.getuid())  # part of PyTorch's default
    given, problems = os.environ.get(VARIABLE), []
    moved = _select_temporary_folder()
    for folder in (lambda: Path(given or _default()), _in_engine_cache, _temporary):
        try:
            selected = folder()
            selected.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=selected):
                break
        except OSError as error:
            problems.append(str(error))
    else:
        return (
            f"PyTorch's compilers have no folder that can be written ({'; '.join(problems)}): set {VARIABLE}"
        )
    if problems:
        os.environ[VARIABLE] = str(selected)
    _forget_unusable_triton_folder()
    if not (given and problems):
        return moved
    text = f"{VARIABLE} cannot be written ({problems[0]}): {selected} is used instead"
    return "; ".join(filter(None, [text, moved]))


def _select_temporary_folder() -> str:
    """Let native code have the folder that Python falls back to. Returns what is wrong with the environment."""
    given = os.environ.get("TMPDIR")
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        return f"there is no folder for temporary files ({error}): set TMPDIR to a writable one"
    if not given or os.path.abspath(given) == folder:
        return ""
    os.environ["TMPDIR"] = folder
    return f"TMPDIR={given} cannot be written: {folder} is used instead"


def _forget_unusable_triton_folder() -> None:
    """PyTorch then gives Triton a folder in its own."""
    if given := os.environ.get(TRITON_VARIABLE):
        try:
            Path(given).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=given).close()
        except OSError:
            del os.environ[TRITON_VARIABLE]


def _default() -> str:
    """The folder that PyTorch selects."""
    return os.path.join(tempfile.gettempdir(), f"torchinductor_{getpass.getuser()}")


def _in_engine_cache() -> Path:
    return store.cache_root() / "torchinductor"


def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="depth_ros_"))
