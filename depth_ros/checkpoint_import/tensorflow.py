"""Reading of TensorFlow checkpoints ("V2": PREFIX.index and PREFIX.data-00000-of-00001) without TensorFlow.

The index is a sorted string table (the format of LevelDB): blocks of entries whose keys share prefixes, an index
block that lists them, and a footer. Each value is a protocol buffer, BundleEntryProto: type and shape of one tensor and
its position in the data file, which contains nothing but the bytes of the tensors. Source:
tensorflow/core/protobuf/tensor_bundle.proto and tensorflow/core/lib/io/table_format.txt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from depth_ros.errors import DepthRosError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?", 14: "<u2", 19: "<f2"}
"""numpy types of TensorFlow's DataType; 14 is bfloat16, widened by `Checkpoint.__getitem__`."""


@dataclass(frozen=True)
class Entry:
    """Type, shape and position of one tensor; offset and size in bytes."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


class Checkpoint(Mapping[str, Tensor]):
    """The variables of a checkpoint by name, read on access, without tensors of strings."""

    def __init__(self, path: Path) -> None:
        """path: the prefix, one of the files, or a folder with one checkpoint. Raises DepthRosError."""
        self.prefix = prefix_of(path)
        index = Path(f"{self.prefix}.index")
        try:
            table = dict(read_table(index.read_bytes()))
            self._shards = _fields(table[""]).get(1, [1])[0]
            found = {key: _entry(value) for key, value in table.items() if key}
        except (OSError, ValueError, IndexError, KeyError, TypeError, struct.error) as error:
            raise DepthRosError(f"{index} is not the index of a TensorFlow checkpoint: {error}") from error
        self.entries = {key: entry for key, entry in found.items() if entry.dtype in TYPES}

    def __getitem__(self, name: str) -> Tensor:
        entry = self.entries[name]
        file = Path(f"{self.prefix}.data-{entry.shard:05d}-of-{self._shards:05d}")
        kind = np.dtype(TYPES[entry.dtype])
        count = int(np.prod(entry.shape, dtype=np.int64))
        if count * kind.itemsize != entry.size:
            raise DepthRosError(f"{self.prefix}: '{name}' is partitioned, which is not supported")
        try:
            with file.open("rb") as stream:
                stream.seek(entry.offset)
                values = np.frombuffer(stream.read(entry.size), kind, count).reshape(entry.shape)
        except (OSError, ValueError) as error:
            raise DepthRosError(
                f"{file} cannot be read ({error}): copy both files of the checkpoint again"
            ) from error
        if entry.dtype == 14:
            values = (values.astype("<u4") << 16).view("<f4")
        return torch.from_numpy(values.copy())

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def prefix_of(path: Path) -> Path:
    """The prefix of the checkpoint at `path`. Raises DepthRosError if there is none, or several in a folder."""
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise DepthRosError(
                f"{path} must contain exactly one *.index of a TensorFlow checkpoint; found {names}"
            )
        path = found[0]
    name = path.name.removesuffix(".index").removesuffix(".meta").partition(".data-")[0]
    prefix = path.with_name(name)
    if not Path(f"{prefix}.index").is_file():
        raise DepthRosError(f"no checkpoint '{path}': {prefix}.index is missing")
    return prefix


def read_table(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Keys and values of a sorted string table. Raises ValueError if `data` is something else."""
    if len(data) < FOOTER_BYTES or struct.unpack("<Q", data[-8:])[0] != MAGIC:
        raise ValueError("the footer is missing; the file may be truncated")
    position = len(data) - FOOTER_BYTES
    for _ in range(2):  # the handle of the meta index, which is not needed
        _, position = _varint(data, position)
    for _, handle in _block(data, position):
        for key, value in _block(handle, 0, data):
            yield key.decode(), value


def _block(handle: bytes, position: int, data: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Entries of the block in `data` (default: `handle`) whose offset and size are stored in `handle` at `position`."""
    data = handle if data is None else data
    offset, position = _varint(handle, position)
    size, _ = _varint(handle, position)
    if data[offset + size]:
        raise ValueError(
            "its blocks are compressed, which is not supported (TensorFlow's saver does not compress)"
        )
    restarts = struct.unpack_from("<I", data, offset + size - 4)[0]
    position, end, key = offset, offset + size - 4 - 4 * restarts, b""
    while position < end:
        shared, position = _varint(data, position)
        unshared, position = _varint(data, position)
        length, position = _varint(data, position)
        key = key[:shared] + data[position : position + unshared]
        position += unshared
        yield key, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A variable-length integer, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _fields(message: bytes) -> dict[int, list]:
    """Numbers and byte strings of a protocol buffer by field number."""
    fields: dict[int, list] = {}
    position = 0
    value: int | bytes
    while position < len(message):
        tag, position = _varint(message, position)
        if tag & 7 == 0:
            value, position = _varint(message, position)
        elif tag & 7 == 2:
            length, position = _varint(message, position)
            value, position = message[position : position + length], position + length
        else:  # fixed numbers: checksums
            width = {1: 8, 5: 4}[tag & 7]
            value, position = message[position : position + width], position + width
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _entry(message: bytes) -> Entry:
    fields = _fields(message)
    dims = _fields(fields.get(2, [b""])[0]).get(2, [])
    shape = tuple(_fields(dim).get(1, [0])[0] for dim in dims)
    dtype, shard, offset, size = (fields.get(number, [0])[0] for number in (1, 3, 4, 5))
    return Entry(dtype, shape, shard, offset, size)
