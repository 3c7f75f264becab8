"""Checkpoints of PyTorch, read without running code from them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depth_ros.errors import DepthRosError

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before the names of parameters."""
SAFE: list[Any] = [
    argparse.Namespace,
    np.dtype,
    np.ndarray,
    *(type(np.dtype(name)) for name in ("float64", "float32", "float16", "int64", "int32", "uint8", "bool")),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    (np.zeros(1).__reduce__()[0], "numpy.core.multiarray._reconstruct"),
    (np.zeros(1).__reduce__()[0], "numpy._core.multiarray._reconstruct"),
]
"""What training scripts store beside weights and what runs no code: their options, and errors as numpy numbers."""


def read_pytorch(file: Path) -> Mapping[str, Tensor]:
    """The weights of a checkpoint by name: the largest state dict in it.

    Raises DepthRosError if it holds objects whose loading could run code, or no weights.
    """
    try:
        with torch.serialization.safe_globals(SAFE):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises anything
        raise DepthRosError(f"{file} is not a state dict saved by PyTorch: {_reason(file, error)}") from error
    state = max(_state_dicts(content), key=len, default={})
    if not state:
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise DepthRosError(f"{file} has no state dict of tensors; it holds: {keys}")
    return {_plain_name(key): value for key, value in state.items()}


def _state_dicts(content: object, depth: int = 2) -> list[dict[str, Tensor]]:
    """The tensors of a dictionary, and those of the dictionaries in it; not those of an optimiser."""
    if not isinstance(content, dict):
        return []
    found = [{str(key): value for key, value in content.items() if isinstance(value, Tensor)}]
    if depth:
        for key, value in content.items():
            if "optim" not in str(key):
                found += _state_dicts(value, depth - 1)
    return [each for each in found if each]


def _plain_name(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _reason(file: Path, error: Exception) -> str:
    """Why a file cannot be read; for one with other objects, which, and how to save its weights alone."""
    try:
        objects = torch.serialization.get_unsafe_globals_in_checkpoint(str(file))
    except Exception:  # it is no checkpoint at all
        objects = []
    if objects:
        return (
            f"it also holds {', '.join(objects)}, whose loading could run code. If you trust the file, save its "
            'weights alone: torch.save(torch.load(FILE, weights_only=False)["state_dict"], "weights.pth")'
        )
    return str(error).strip().partition("\n")[0] or type(error).__name__
