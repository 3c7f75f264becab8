"""Recovery of messages from truncated bags: a killed recorder, a full disk, an incomplete copy.

rosbags, like ROS itself, finds messages through an index, which the recorder writes last. Here the files are
read from the start instead, record by record, so that every complete message is found, including those in a
truncated chunk. Formats: mcap.dev/spec, sqlite.org/fileformat, wiki.ros.org/Bags/Format/2.0.
"""

from __future__ import annotations

import bz2
import mmap
import re
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from depth_ros.errors import DepthRosError

Message = tuple[str, str, int, bytes]
"""Topic, type (`sensor_msgs/msg/Image`), time of recording (ns) and serialised message."""

_TYPE = re.compile(r"\w+/msg/\w+")


def recover(path: Path) -> Iterator[Message]:
    """Every complete message of a damaged bag (directory or file), in file order."""
    files = [path] if path.is_file() else list(path.iterdir())
    files = sorted((file for file in files if file.suffix in _READERS), key=split_number)
    for file in files:
        if file.stat().st_size:  # an empty file cannot be mapped
            with file.open("rb") as stream:
                data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
                yield from _READERS[file.suffix](data, file)


def split_number(file: Path) -> tuple[int, str]:
    """Sort key of the files of a split bag: name_0, name_1, ... name_10."""
    number = re.search(r"_(\d+)$", file.stem)
    return int(number[1]) if number else 0, file.name


def _decompressor(compression: str) -> Callable[[memoryview], bytes]:
    """A function that decompresses data, which may be truncated, as far as possible."""
    if compression in ("", "none"):
        return bytes
    if compression == "bz2":
        return bz2.BZ2Decompressor().decompress
    if compression == "lz4":
        import lz4.frame

        return lz4.frame.LZ4FrameDecompressor().decompress
    if compression == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd

        return zstd.ZstdDecompressor().decompress
    raise DepthRosError(f"chunk compression is '{compression}'; supported: none, bz2, lz4, zstd")


def _mcap(data: memoryview, _: Path) -> Iterator[Message]:
    yield from _mcap_records(data[8:], {}, {})  # after the magic


def _mcap_records(data: memoryview, schemas: dict, channels: dict) -> Iterator[Message]:
    offset = 0
    while offset + 9 <= len(data):
        opcode, size = struct.unpack_from("<BQ", data, offset)
        content = data[offset + 9 : offset + 9 + size]
        offset += 9 + size
        if opcode == 6 and len(content) > 40:  # chunk; a truncated one may hold complete messages
            name_size = struct.unpack_from("<I", content, 28)[0]
            decompress = _decompressor(bytes(content[32 : 32 + name_size]).decode())
            inner = decompress(content[40 + name_size :])
            yield from _mcap_records(memoryview(inner), schemas, channels)
        elif opcode == 0 or len(content) < size:  # zeros, as after a power failure, or a truncated record
            return
        elif opcode == 3:  # schema: id, name
            schemas[struct.unpack_from("<H", content)[0]] = _text(content, 2)
        elif opcode == 4:  # channel: id, schema id, topic
            key, schema = struct.unpack_from("<HH", content)
            channels[key] = _text(content, 4), schemas.get(schema, "")
        elif opcode == 5:  # message: channel id, sequence, two times, content
            key, time = struct.unpack_from("<H4xQ", content)
            yield (*channels[key], time, bytes(content[22:]))


def _text(content: memoryview, offset: int) -> str:
    size = struct.unpack_from("<I", content, offset)[0]
    return bytes(content[offset + 4 : offset + 4 + size]).decode()


def _ros1(data: memoryview, _: Path) -> Iterator[Message]:
    yield from _ros1_records(data[13:], {})  # after "#ROSBAG V2.0\n"


def _ros1_records(data: memoryview, connections: dict) -> Iterator[Message]:
    offset = 0
    while offset + 4 <= len(data):
        fields = _ros1_fields(data[offset + 4 : offset + 4 + struct.unpack_from("<I", data, offset)[0]])
        offset += 4 + struct.unpack_from("<I", data, offset)[0]
        if offset + 4 > len(data) or "op" not in fields:
            return
        size = struct.unpack_from("<I", data, offset)[0]
        content = data[offset + 4 : offset + 4 + size]
        offset += 4 + size
        if fields["op"] == b"\x05":  # chunk
            inner = _decompressor(fields["compression"].decode())(content)
            yield from _ros1_records(memoryview(inner), connections)
        elif len(content) < size:
            return
        elif fields["op"] == b"\x07":  # connection
            kind = _ros1_fields(content)["type"].decode().replace("/", "/msg/", 1)
            connections[fields["conn"]] = fields["topic"].decode(), kind
        elif fields["op"] == b"\x02":  # message
            seconds, nanoseconds = struct.unpack("<II", fields["time"])
            yield (*connections[fields["conn"]], seconds * 1_000_000_000 + nanoseconds, bytes(content))


def _ros1_fields(header: memoryview) -> dict[str, bytes]:
    """name=value fields, each preceded by its length."""
    fields, offset = {}, 0
    while offset + 4 <= len(header):
        size = struct.unpack_from("<I", header, offset)[0]
        name, _, value = bytes(header[offset + 4 : offset + 4 + size]).partition(b"=")
        fields[name.decode()] = value
        offset += 4 + size
    return fields


def _sqlite3(data: memoryview, file: Path) -> Iterator[Message]:
    """Rows read by SQLite, which applies the write-ahead log, until it fails; then page by page."""
    recovered: set[int] = set()
    database = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    try:
        rows = database.execute(
            "SELECT messages.id, name, type, timestamp, data FROM messages JOIN topics ON topics.id = topic_id"
            " ORDER BY messages.id"
        )
        for row, topic, kind, time, content in rows:
            recovered.add(row)
            yield topic, kind, time, content
    except sqlite3.DatabaseError:  # SQLite rejects a file that is shorter than its header states
        yield from _sqlite3_pages(data, recovered)
    finally:
        database.close()


def _sqlite3_pages(data: memoryview, recovered: set[int]) -> Iterator[Message]:
    """Messages of all leaf pages in file order. The inner nodes of the tree are not used: they may be missing."""
    if len(data) < 100:
        return
    size = struct.unpack_from(">H", data, 16)[0]
    size = 65536 if size == 1 else size
    topics: dict[int, tuple[str, str]] = {}
    for start in range(0, len(data) - size + 1, size):
        head = start + 100 if start == 0 else start
        if data[head] != 13:  # table leaf
            continue
        for cell in range(struct.unpack_from(">H", data, head + 3)[0]):
            offset = start + struct.unpack_from(">H", data, head + 8 + 2 * cell)[0]
            row, values = _sqlite3_row(data, offset, size)
            match values:
                case [None, str(topic), str(kind), str(), *_] if _TYPE.fullmatch(kind):
                    topics[row] = topic, kind
                case [None, int(topic_id), int(time), bytes(content)] if (
                    topic_id in topics and row not in recovered
                ):
                    recovered.add(row)
                    yield (*topics[topic_id], time, content)


def _sqlite3_row(data: memoryview, offset: int, page: int) -> tuple[int, list]:
    """Row id and values of a cell of a table leaf; no values if its overflow pages are missing."""
    size, offset = _varint(data, offset)
    row, offset = _varint(data, offset)
    local, least = size, (page - 12) * 32 // 255 - 23
    if size > page - 35:  # section 1.6: the rest is in a chain of overflow pages
        local = least + (size - least) % (page - 4)
        local = local if local <= page - 35 else least
    payload = bytearray(data[offset : offset + local])
    if local < size:
        next_page = struct.unpack_from(">I", data, offset + local)[0]
        while next_page and len(payload) < size and next_page * page <= len(data):
            start = (next_page - 1) * page
            payload += data[start + 4 : start + min(page, 4 + size - len(payload))]
            next_page = struct.unpack_from(">I", data, start)[0]
    return row, _sqlite3_values(memoryview(payload)) if len(payload) == size else []


def _sqlite3_values(record: memoryview) -> list:
    """Values of a record: NULL, integers, texts and blobs, the only types in bag tables."""
    header_size, offset = _varint(record, 0)
    values: list[int | str | bytes | None] = []
    body = header_size
    while offset < header_size:
        kind, offset = _varint(record, offset)
        size = (kind - 12) // 2 if kind >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind]
        content, body = bytes(record[body : body + size]), body + size
        if kind >= 12:
            values.append(content.decode(errors="replace") if kind % 2 else content)
        elif kind in (8, 9):
            values.append(kind - 8)
        else:
            values.append(int.from_bytes(content, "big", signed=True) if kind else None)
    return values


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    """A big-endian variable-length integer of 1 to 9 bytes, and the position after it."""
    value = 0
    for count in range(9):
        byte = data[offset + count]
        if count == 8:
            return value << 8 | byte, offset + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, offset + count + 1


_READERS = {".mcap": _mcap, ".db3": _sqlite3, ".bag": _ros1, ".active": _ros1}
