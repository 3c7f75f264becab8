"""Sequences and scenes below the root of a data set."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from depth_ros.errors import DepthRosError
from depth_ros.recordings.files import is_hidden, natural_order

_LISTED = 10
"""Sequences that an error lists."""


def folders_with(path: Path, children: Sequence[str], levels: int) -> Iterator[Path]:
    """The folder itself, or the folders at most `levels` below it, that have all of `children`, in natural order.

    The subfolders of a found folder are not searched. Folders that cannot be read, such as lost+found, are skipped.
    """
    try:
        if all((path / child).exists() for child in children):
            yield path
            return
        if not levels:
            return
        folders = _subfolders(path, path.stat().st_mtime_ns)
    except PermissionError:
        return
    for folder in folders:
        yield from folders_with(folder, children, levels - 1)


@functools.lru_cache(maxsize=256)
def _subfolders(path: Path, modified: int) -> list[Path]:
    """The folders in a folder, in natural order. Every layout asks for them, also among tens of thousands of images.

    modified: ns, when the folder was last modified.
    """
    with os.scandir(path) as entries:
        found = (entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))
        names = sorted(found, key=natural_order)
    return [path / name for name in names]


def only_one(
    path: Path, found: Sequence[Path], what: str, describe: Callable[[Path], str] = lambda _: ""
) -> Path:
    """The only one of the sequences or sets of scenes found below a folder.

    describe: what the list of them says of each, such as the split that it belongs to; may be empty.
    Raises DepthRosError with their names if there are more: frames of different sequences are not consecutive.
    """
    if len(found) == 1:
        return found[0]
    names = [
        f"{folder.relative_to(path)} ({describe(folder)})".removesuffix(" ()") for folder in found[:_LISTED]
    ]
    rest = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    raise DepthRosError(f"{path} has {len(found)} {what}: give one of them: {', '.join(names)}{rest}")
