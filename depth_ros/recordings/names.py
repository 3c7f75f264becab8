"""Several recordings on one command line: glob patterns, and a short unique name for each."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from depth_ros.errors import DepthRosError
from depth_ros.recordings.files import natural_order


def find_recordings(patterns: Sequence[str]) -> dict[str, Path]:
    """{name: path} of paths and glob patterns (`*`, `?`, `[]`, `**`), each path once.

    The order is that of the patterns, within each natural (run_2 before run_10). A path that exists is no pattern.
    Raises DepthRosError if a pattern matches nothing.
    """
    paths: dict[str, Path] = {}
    for pattern in patterns:
        for path in _matches(pattern):
            paths.setdefault(os.path.realpath(path), Path(path))
    found = list(paths.values())
    return dict(zip(_unique_names(found), found, strict=True))


def _matches(pattern: str) -> list[str]:
    if not glob.has_magic(pattern) or os.path.exists(pattern):
        return [pattern]
    found = sorted(glob.glob(os.path.expanduser(pattern), recursive=True), key=natural_order)
    if not found:
        raise DepthRosError(f"'{pattern}' matches nothing in {os.getcwd()}: check the path")
    return found


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """Names of files without suffix and of folders; with the folders they are in where that is ambiguous."""
    short = [_short_name(path) for path in paths]
    counts = Counter(name.casefold() for name in short)  # file systems may not tell cases apart
    taken: set[str] = set()
    names = []
    for name, path in zip(short, paths, strict=True):
        if counts[name.casefold()] > 1:
            name = _long_name(path, paths)
        number, candidate = 1, name
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.casefold())
        names.append(candidate)
    return names


def _short_name(path: Path) -> str:
    path = path.resolve()
    return path.stem if path.is_file() else path.name


def _long_name(path: Path, paths: Sequence[Path]) -> str:
    """The path below the folder that holds all paths."""
    absolute = [os.path.realpath(each) for each in paths]
    common = os.path.commonpath([os.path.dirname(each) for each in absolute])
    return "_".join(Path(os.path.relpath(os.path.realpath(path), common)).parts)
