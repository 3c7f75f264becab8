"""Writing of TensorFlow "V2" checkpoints as its saver does, in several blocks with shared prefixes; checksums are 0."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value) if value else b""  # proto3 omits zeros


def text(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    out, restarts, before = b"", [], b""
    for index, (key, value) in enumerate(entries):
        shared = 0
        if index % 16 == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def write_checkpoint(prefix: Path, variables: dict[str, np.ndarray]) -> Path:
    """Write PREFIX.index and PREFIX.data-00000-of-00001; returns the prefix."""
    data, entries = b"", [(b"", number(1, 1) + text(3, number(1, 1)))]
    for name in sorted(variables):
        array = np.asarray(variables[name])
        shape = b"".join(text(2, number(1, size)) for size in array.shape)
        entry = number(1, TYPES[str(array.dtype)]) + text(2, shape) + number(4, len(data))
        entries.append((name.encode(), entry + number(5, array.nbytes) + varint(6 << 3 | 5) + bytes(4)))
        data += array.tobytes()
    table, index = b"", []
    for first in range(0, len(entries), 40):
        part = entries[first : first + 40]
        content = block(part)
        index.append((part[-1][0] + b"~", varint(len(table)) + varint(len(content))))
        table += content + bytes(5)
    handles = b""
    for content in (block([]), block(index)):
        handles += varint(len(table)) + varint(len(content))
        table += content + bytes(5)
    table += handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    Path(f"{prefix}.index").write_bytes(table)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    return prefix
