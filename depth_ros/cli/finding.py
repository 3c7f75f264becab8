"""A line of the report of `depth_ros doctor`, and imports in a process of their own."""

from __future__ import annotations

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


def evaluated(statements: str, expression: str) -> tuple[str, str]:
    """(value of a Python expression, "") or ("", why it failed), from a process of its own.

    A library that does not fit the rest of the environment may crash, or print pages.
    """
    code = f"{statements}\nprint('\\n' + str({expression}))"
    try:
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return "", f"no result after {TIMEOUT:.0f} s"
    if result.returncode == 0:
        return result.stdout.strip().splitlines()[-1] if result.stdout.strip() else "", ""
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    if result.returncode < 0 or not lines:
        return "", f"Python ended with status {result.returncode}"
    errors = [line for line in lines if "Error" in line.partition(":")[0]]
    return "", (errors or lines)[-1]


def imported(module: str) -> tuple[str, str]:
    """(version, "") of an installed module, or ("", why its import fails)."""
    return evaluated(f"import {module}", f"getattr({module}, '__version__', '')")
