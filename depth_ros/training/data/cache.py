"""Arrays that take long to compute, kept in a folder: rendered scenes and stereo matches."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_ros.errors import DepthRosError

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ArrayCache:
    """Computes arrays once and reads them from a file from then on. folder: None to keep nothing.

    Several processes may use one folder: a file appears when it is complete.
    """

    folder: Path | None = None

    def arrays(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of that name: stored ones, or those that `compute` returns, which are then stored."""
        if self.folder is None:
            return compute()
        file = self.folder / f"{name}.npz"
        stored = _read(file)
        if stored is not None:
            return stored
        arrays = compute()
        try:
            _write(file, arrays)
        except OSError as error:
            raise DepthRosError(
                f"{file} cannot be written ({error.strerror}): free space, or use another --out"
            ) from error
        return arrays


def _read(file: Path) -> Arrays | None:
    """The arrays of a file; None if there is none, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as content:
            return {key: content[key] for key in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(file: Path, arrays: Arrays) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    with temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, file)
