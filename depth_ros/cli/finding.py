"""A line of the report of `depth_ros doctor`, and imports in a process of their own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import dataclass

TIMEOUT = 180.0
"""Seconds for an import: the first one of torch_tensorrt on a Jetson takes a minute."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. advice: what to type. needed: depth_ros does not work without it."""

    ok: bool
    text: str
    advice: str = ""
    needed: bool = False


def imported(module: str) -> tuple[str, str]:
    """(version, "") of an installed module, or ("", why its import fails)."""
    try:
        return str(getattr(importlib.import_module(module), "__version__", "")), ""
    except Exception as error:  # libraries that do not fit raise OSError, AttributeError, SystemError, ...
        return (
            "",
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}",
        )


def imported_in_child(module: str) -> tuple[str, str]:
    """The same for a library that may crash or print pages, in a process of its own."""
    code = f"import {module}; print('\\n' + getattr({module}, '__version__', '-'))"
    try:
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return "", f"no result after {TIMEOUT:.0f} s"
    if result.returncode == 0:
        return result.stdout.strip().splitlines()[-1].strip("-"), ""
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line.partition(":")[0]]
    return "", (errors or lines or [f"Python ended with status {result.returncode}"])[-1]
