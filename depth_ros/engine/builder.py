"""Builds an engine in a child process: `python -m depth_ros.engine.builder`.

Tracing state of torch belongs to a process, compilers crash, and their memory should go when they are done. So the
process that runs a node never traces or compiles; it starts this module, waits, and loads the finished engine.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

import depth_ros
from depth_ros.engine import store
from depth_ros.engine.store import EngineRequest
from depth_ros.parallel.processes import end_with

TIMEOUT = 3600.0
"""Seconds after which a build is given up; TensorRT takes many minutes for a large network on a Jetson."""
COMMAND = ("-m", "depth_ros.engine.builder")
MIN_FREE = 50e6
"""Bytes; with less, a failed build is put down to the full disk."""

_children: set[subprocess.Popen] = set()
_children_lock = threading.Lock()


class BuildError(Exception):
    """An engine could not be built; the message is one line. by_machine: whether this machine is the cause, e.g. a full
    disk, and not the network or its compiler."""

    def __init__(self, message: str, by_machine: bool = False) -> None:
        super().__init__(message)
        self.by_machine = by_machine


def build(request: EngineRequest, reason: str) -> str:
    """Build the engine in a child process and store it. reason: why the stored one cannot be used.

    Returns how the engine came about, in words: built, or built by another process in the meantime. Raises BuildError.
    """
    arguments = {"request": request.to_json(), "reason": reason, "parent": os.getpid()}
    paths = [str(Path(depth_ros.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUTF8": "1",  # compilers read their sources in the encoding of the locale
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no worker processes that could outlive the child
    }
    with _output_file() as output:
        child = subprocess.Popen(
            [sys.executable, *COMMAND],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, env=environment, start_new_session=True,
        )  # fmt: skip
        with _children_lock:
            _children.add(child)
        try:
            answer, _ = child.communicate(json.dumps(arguments).encode(), TIMEOUT)
        except subprocess.TimeoutExpired:
            raise BuildError(f"not built within {TIMEOUT:g} s") from None
        finally:
            _stop(child)
        output.seek(0)
        try:
            return _result(child.returncode, answer, output.read().decode(errors="replace"))
        except BuildError as error:
            free = shutil.disk_usage(store.cache_root()).free
            if free > MIN_FREE:
                raise
            text = f"{error}; only {free / 1e6:.1f} MB are free in the engine cache {store.cache_root()}"
            raise BuildError(text, by_machine=True) from None


def _output_file() -> IO[bytes]:
    """A temporary file in the cache. Raises BuildError if the cache cannot be written."""
    try:
        root = store.cache_root()
        root.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=root)
    except OSError as error:
        raise BuildError(
            f"the engine cache cannot be written ({error}): set DEPTH_ROS_CACHE to a writable folder", True
        ) from error


def _result(status: int, answer: bytes, errors: str) -> str:
    with suppress(ValueError, IndexError):
        content = json.loads(answer.splitlines()[-1])
        if content["error"]:
            raise BuildError(content["error"], content["by_machine"])
        return str(content["how"])
    last = next((line for line in reversed(errors.splitlines()) if line.strip()), "no message")
    cause = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
    raise BuildError(f"the build process {cause}: {last.strip()[:200]}", by_machine=status < 0)


def _stop(child: subprocess.Popen) -> None:
    """End the child with everything it has started, e.g. a C++ compiler."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    with _children_lock:
        _children.discard(child)


@atexit.register
def stop_all() -> None:
    """End all builds of this process; their callers get a BuildError."""
    with _children_lock:
        children = list(_children)
    for child in children:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def main() -> None:
    """The child: reads a request from standard input, answers with one line of JSON on standard output."""
    arguments = json.loads(sys.stdin.read())
    end_with(arguments["parent"])
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # compilers print what they like
    how, problem, by_machine = "", "", False
    try:
        how = _build(EngineRequest.from_json(arguments["request"]), arguments["reason"])
    except Exception as error:  # compilers raise anything
        problem, by_machine = first_line(error), _is_by_machine(error)
    answers.write(json.dumps({"how": how, "error": problem, "by_machine": by_machine}) + "\n")
    answers.flush()
    os._exit(0)  # threads of compilers have made interpreters hang or abort at exit


def _build(request: EngineRequest, reason: str) -> str:
    from depth_ros.card import deployed_model
    from depth_ros.engine.backends import backend
    from depth_ros.engine.check import Check, check_inputs
    from depth_ros.engine.precision import lowered

    with store.lock(request):
        if reason_now := store.problem_with(request):
            module = backend(request.backend)
            model = deployed_model(request.card, request.device)
            inputs = check_inputs(request.card, request.width, request.height, request.device)
            check = Check.of(model, inputs)
            with store.new_engine(request) as folder:
                module.build(lowered(model, request.precision, inputs, request.backend), inputs, folder)
                check.save(folder / store.CHECK)
                if problem := check.problem(module.load(folder, request.device)):
                    (folder / "rejected").write_text(problem)
            return f"built, because {reason_now}"
    return f"built by another process, because {reason}"


def _is_by_machine(error: BaseException | None) -> bool:
    """Whether an error, or what it results from, was raised by the operating system."""
    while error is not None:
        if isinstance(error, (OSError, MemoryError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where there is none."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


if __name__ == "__main__":
    main()
