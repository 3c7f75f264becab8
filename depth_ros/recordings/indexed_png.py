"""PNG images whose pixels are indices into a palette: labels. OpenCV reads their colours only."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_ros.recordings.files import read_raw

_SIGNATURE = 8
"""Bytes before the first chunk."""


def read_indices(file: Path) -> np.ndarray:
    """(H, W) int32 indices of a PNG with a palette, or the grey values of one without.

    Where a colour is in the palette twice, the lower index is taken. Raises DamagedFrame.
    """
    image = read_raw(file)
    palette = _palette(file.read_bytes())
    if image.ndim == 2 or palette is None:
        return image.astype(np.int32)
    rgb = cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    colours, first = np.unique(_codes(palette), return_index=True)
    return first[np.searchsorted(colours, _codes(rgb))].astype(np.int32)


def _codes(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


def _palette(data: bytes) -> np.ndarray | None:
    """(N, 3) uint8 RGB."""
    start = _SIGNATURE
    while start + 8 <= len(data):
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        if kind == b"PLTE":
            return np.frombuffer(data, np.uint8, length, start + 8).reshape(-1, 3)
        if kind == b"IDAT":
            return None
        start += 12 + length  # length, kind and checksum
    return None
