"""Weights in a .npy file: a pickled mapping of layers to mappings of arrays, read without running what it says.

The converter of Caffe networks to TensorFlow left such files behind, written by Python 2.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depth_ros.errors import DepthRosError

_RECONSTRUCT = np.zeros(0).__reduce__()[0]  # has changed its module between versions of numpy
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, name: text.encode("latin1"),
}


class _Arrays(pickle.Unpickler):
    """Takes arrays, numbers, texts and mappings, and nothing that could do anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return _HARMLESS[module, name]


def read_npy(file: Path) -> dict[str, Tensor]:
    """{"layer/part": tensor} of a file. DepthRosError if it holds something else than layers of arrays."""
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
        raise DepthRosError(f"{file} holds no layers of weights: {error}") from error
