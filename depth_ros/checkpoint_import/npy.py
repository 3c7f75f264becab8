"""Weights in a .npy file: a pickled mapping of layer names to mappings of arrays, read without running its code.

Such files were written, with Python 2, by the converter of Caffe networks to TensorFlow.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depth_ros.errors import DepthRosError

_RECONSTRUCT = np.zeros(0).__reduce__()[0]  # its module differs between versions of numpy
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, name: text.encode("latin1"),
}


class _Arrays(pickle.Unpickler):
    """Accepts arrays, numbers, strings and mappings; refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it would run {module}.{name}")
        return _HARMLESS[module, name]


def read_npy(file: Path) -> dict[str, Tensor]:
    """{"layer/part": tensor} of a file. Raises DepthRosError if it contains anything but layers of arrays."""
    try:
        with file.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            _, _, kind = header(stream)
            content = _Arrays(stream, encoding="latin1").load().item() if kind.hasobject else {}
        return {
            f"{layer}/{part}": torch.from_numpy(np.array(value))
            for layer, parts in content.items()
            for part, value in parts.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise DepthRosError(f"{file} contains no mapping of layers to arrays: {error}") from error
