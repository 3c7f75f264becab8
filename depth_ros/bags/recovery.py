"""What can still be read of a bag that was cut: a killed recorder, a full disk, a broken copy.

rosbags, as ROS itself, finds messages through an index, which the recorder writes last. Here the files are
read from the front instead, record by record, so that every message whose bytes are all there is found,
also those of a chunk that was cut. Formats:
mcap.dev/spec, sqlite.org/fileformat, wiki.ros.org/Bags/Format/2.0.
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

Message = tuple[str, str, bytes]
"""Topic, type (`sensor_msgs/msg/Image`) and serialised content."""

_TYPE = re.compile(r"\w+/msg/\w+")


def recover(path: Path) -> Iterator[Message]:
    """Every whole message of a damaged bag (directory or file) in the order of its bytes."""
    files = [path] if path.is_file() else list(path.iterdir())
    files = sorted((file for file in files if file.suffix in _READERS), key=_split_number)
    for file in files:
        if file.stat().st_size:  # an empty file cannot be mapped
            with file.open("rb") as stream:
                data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
                yield from _READERS[file.suffix](data, file)


def _split_number(file: Path) -> tuple[int, str]:
    """Parts of a split bag are name_0, name_1, ... name_10."""
    number = re.search(r"_(\d+)$", file.stem)
    return int(number[1]) if number else 0, file.name


def _decompressor(compression: str) -> Callable[[memoryview], bytes]:
    """What turns the first part of compressed data into the first part of the data."""
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
    raise DepthRosError(f"chunks are compressed as '{compression}'; known are none, bz2, lz4 and zstd")


def _mcap(data: memoryview, _: Path) -> Iterator[Message]:
    yield from _mcap_records(data[8:], {}, {})  # after the magic


def _mcap_records(data: memoryview, schemas: dict, channels: dict) -> Iterator[Message]:
    at = 0
    while at + 9 <= len(data):
        opcode, size = struct.unpack_from("<BQ", data, at)
        content = data[at + 9 : at + 9 + size]
        at += 9 + size
        if opcode == 6 and len(content) > 40:  # a chunk; what is there of it may hold whole messages
            name_size = struct.unpack_from("<I", content, 28)[0]
            decompress = _decompressor(bytes(content[32 : 32 + name_size]).decode())
            inner = decompress(content[40 + name_size :])
            yield from _mcap_records(memoryview(inner), schemas, channels)
        elif opcode == 0 or len(content) < size:  # a tail of zeros, as after a power cut, or the cut
            return
        elif opcode == 3:  # schema: id, name
            schemas[struct.unpack_from("<H", content)[0]] = _text(content, 2)
        elif opcode == 4:  # channel: id, schema id, topic
            key, schema = struct.unpack_from("<HH", content)
            channels[key] = _text(content, 4), schemas.get(schema, "")
        elif opcode == 5:  # message: channel id, sequence, two times, content
            yield (*channels[struct.unpack_from("<H", content)[0]], bytes(content[22:]))


def _text(content: memoryview, at: int) -> str:
    size = struct.unpack_from("<I", content, at)[0]
    return bytes(content[at + 4 : at + 4 + size]).decode()


def _ros1(data: memoryview, _: Path) -> Iterator[Message]:
    yield from _ros1_records(data[13:], {})  # after "#ROSBAG V2.0\n"


def _ros1_records(data: memoryview, connections: dict) -> Iterator[Message]:
    at = 0
    while at + 4 <= len(data):
        fields = _ros1_fields(data[at + 4 : at + 4 + struct.unpack_from("<I", data, at)[0]])
        at += 4 + struct.unpack_from("<I", data, at)[0]
        if at + 4 > len(data) or "op" not in fields:
            return
        size = struct.unpack_from("<I", data, at)[0]
        content = data[at + 4 : at + 4 + size]
        at += 4 + size
        if fields["op"] == b"\x05":
            inner = _decompressor(fields["compression"].decode())(content)
            yield from _ros1_records(memoryview(inner), connections)
        elif len(content) < size:
            return
        elif fields["op"] == b"\x07":
            kind = _ros1_fields(content)["type"].decode().replace("/", "/msg/", 1)
            connections[fields["conn"]] = fields["topic"].decode(), kind
        elif fields["op"] == b"\x02":
            yield (*connections[fields["conn"]], bytes(content))


def _ros1_fields(header: memoryview) -> dict[str, bytes]:
    """name=value fields, each after its length."""
    fields, at = {}, 0
    while at + 4 <= len(header):
        size = struct.unpack_from("<I", header, at)[0]
        name, _, value = bytes(header[at + 4 : at + 4 + size]).partition(b"=")
        fields[name.decode()] = value
        at += 4 + size
    return fields


def _sqlite3(data: memoryview, file: Path) -> Iterator[Message]:
    """Rows through SQLite, which knows the write-ahead log, as far as it goes; then page by page."""
    seen: set[int] = set()
    database = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    try:
        rows = database.execute(
            "SELECT messages.id, name, type, data FROM messages JOIN topics ON topics.id = topic_id"
            " ORDER BY messages.id"
        )
        for row, topic, kind, content in rows:
            seen.add(row)
            yield topic, kind, content
    except sqlite3.DatabaseError:  # cut: SQLite refuses a file that is shorter than its header says
        yield from _sqlite3_pages(data, seen)
    finally:
        database.close()


def _sqlite3_pages(data: memoryview, seen: set[int]) -> Iterator[Message]:
    """Messages of all leaf pages in file order, without the tree above them: its nodes may be cut off."""
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
            at = start + struct.unpack_from(">H", data, head + 8 + 2 * cell)[0]
            row, values = _sqlite3_row(data, at, size)
            match values:
                case [None, str(topic), str(kind), str(), *_] if _TYPE.fullmatch(kind):
                    topics[row] = topic, kind
                case [None, int(topic_id), int(), bytes(content)] if topic_id in topics and row not in seen:
                    seen.add(row)
                    yield (*topics[topic_id], content)


def _sqlite3_row(data: memoryview, at: int, page: int) -> tuple[int, list]:
    """Row id and values of a cell of a table leaf; no values where its overflow pages are cut off."""
    size, at = _varint(data, at)
    row, at = _varint(data, at)
    local, least = size, (page - 12) * 32 // 255 - 23
    if size > page - 35:  # section 1.6: what does not fit goes to a chain of overflow pages
        local = least + (size - least) % (page - 4)
        local = local if local <= page - 35 else least
    payload = bytearray(data[at : at + local])
    if local < size:
        following = struct.unpack_from(">I", data, at + local)[0]
        while following and len(payload) < size and following * page <= len(data):
            start = (following - 1) * page
            payload += data[start + 4 : start + min(page, 4 + size - len(payload))]
            following = struct.unpack_from(">I", data, start)[0]
    return row, _sqlite3_values(memoryview(payload)) if len(payload) == size else []


def _sqlite3_values(record: memoryview) -> list:
    """Values of a record: NULL, integers, texts and blobs; bag tables hold nothing else."""
    header_size, at = _varint(record, 0)
    values: list[int | str | bytes | None] = []
    body = header_size
    while at < header_size:
        kind, at = _varint(record, at)
        size = (kind - 12) // 2 if kind >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind]
        content, body = bytes(record[body : body + size]), body + size
        if kind >= 12:
            values.append(content.decode(errors="replace") if kind % 2 else content)
        elif kind in (8, 9):
            values.append(kind - 8)
        else:
            values.append(int.from_bytes(content, "big", signed=True) if kind else None)
    return values


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A big-endian number of 1 to 9 bytes and where the next thing is."""
    value = 0
    for count in range(9):
        byte = data[at + count]
        if count == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at + count + 1


_READERS = {".mcap": _mcap, ".db3": _sqlite3, ".bag": _ros1, ".active": _ros1}
