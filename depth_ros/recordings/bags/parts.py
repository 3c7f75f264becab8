"""The serialised messages of a bag: rosbag2 folders, single .mcap and .db3 files, and ROS 1 .bag files.

A folder is read as a whole if it is intact. Otherwise each of its files is read by itself, with rosbags, or, where it
is truncated, record by record.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from depth_ros.errors import DepthRosError
from depth_ros.recordings.bags.recovery import recover, split_number
from depth_ros.recordings.files import read_yaml

if TYPE_CHECKING:
    from rosbags import rosbag1, rosbag2

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
REPAIR_COMMANDS = {
    ".mcap": "mcap recover {0} -o repaired.mcap",
    ".db3": "sqlite3 {0} .recover | sqlite3 repaired.db3, then ros2 bag reindex",
    ".bag": "rosbag reindex {0}",
    ".active": "rosbag reindex {0}",
}


class Message(NamedTuple):
    """One serialised message. time: ns, when it was recorded. place: where `Part.messages` finds it again."""

    place: int
    time: int
    topic: str
    kind: str
    data: bytes


class Part(Protocol):
    """A bag, or one file of it. topics: types by topic. counts: messages by topic."""

    topics: dict[str, str]
    counts: Counter[str]

    def messages(self, topics: Collection[str], start: int = 0) -> Iterator[Message]:
        """The messages of some topics from a place on. Raises whatever damaged data causes."""
        ...


class IndexedPart:
    """An intact bag or file, read by its index. The place of a message is its time."""

    def __init__(self, reader: rosbag1.Reader | rosbag2.Reader) -> None:
        self._reader = reader
        self.topics = {connection.topic: connection.msgtype for connection in reader.connections}
        self.counts: Counter[str] = Counter()
        for connection in reader.connections:
            self.counts[connection.topic] += connection.msgcount

    def messages(self, topics: Collection[str], start: int = 0) -> Iterator[Message]:
        connections = [each for each in self._reader.connections if each.topic in topics]
        if connections:  # none would mean all
            for connection, time, data in self._reader.messages(connections, start=start or None):
                yield Message(time, time, connection.topic, connection.msgtype, uncompressed(data))


class RecoveredPart:
    """A truncated file, scanned from its beginning. The place of a message is its number in the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.topics: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.problem = ""
        try:
            for topic, kind, _, _ in recover(path):
                self.topics[topic] = kind
                self.counts[topic] += 1
        except Exception as error:  # whatever a decompressor or a cut record raises
            self.problem = f"{type(error).__name__}: {error}"

    def messages(self, topics: Collection[str], start: int = 0) -> Iterator[Message]:
        for place, (topic, kind, time, data) in enumerate(recover(self._path)):
            if place >= start and topic in topics:
                yield Message(place, time, topic, kind, uncompressed(data))


class Bag:
    """All parts of a bag. damage: what cannot be read and how to repair it, one line each; also while reading.

    by_record: read every file record by record, as if it had no index.
    """

    def __init__(self, path: Path, by_record: bool = False) -> None:
        self.path, self.ros1 = path, path.suffix in (".bag", ".active")
        self.damage: list[str] = []
        self.parts: list[Part] = []
        self._open_files = ExitStack()
        self._by_record = by_record
        try:
            self.parts = self._open_whole()
        except Exception as error:  # rosbags raises many kinds; each file is tried by itself
            self._open_parts(str(error) or type(error).__name__)
        self.topics = {topic: kind for part in self.parts for topic, kind in part.topics.items()}
        self.counts: Counter[str] = Counter()
        for part in self.parts:
            self.counts.update(part.counts)

    def close(self) -> None:
        self._open_files.close()

    def messages(
        self, topics: Collection[str], part: int = 0, start: int = 0
    ) -> Iterator[tuple[int, Message]]:
        """Number of the part and message, of some topics, in order. The rest of a damaged part is left out."""
        for number in range(part, len(self.parts)):
            try:
                for message in self.parts[number].messages(topics, start if number == part else 0):
                    yield number, message
            except DepthRosError:
                raise
            except Exception as error:  # damaged data
                self._add_damage(f"{type(error).__name__}: {error}", self.path)

    def _open_whole(self) -> list[Part]:
        from rosbags import rosbag1, rosbag2

        if self.path.name.endswith(".zstd") or self._by_record:
            raise OSError("to be read by files")
        return [self._indexed((rosbag1 if self.ros1 else rosbag2).Reader(self.path))]

    def _indexed(self, reader: rosbag1.Reader | rosbag2.Reader) -> IndexedPart:
        reader.open()
        self._open_files.callback(reader.close)
        return IndexedPart(reader)

    def _open_parts(self, problem: str) -> None:
        for file in self._files():
            if not file.exists():
                self.damage.append(f"{file} is missing: its frames are lost")
                continue
            part = self._open_part(file)
            if part.topics:
                self.parts.append(part)
        if not self.parts:
            raise DepthRosError(
                f"{self.path} is not a readable bag ({problem}): give a rosbag2 directory or a .mcap, .db3 or .bag file"
            )

    def _open_part(self, file: Path) -> Part:
        from rosbags import rosbag1, rosbag2

        try:
            file = self._decompressed(file) if file.suffix == ".zstd" else file
            if self._by_record:
                return RecoveredPart(file)
            return self._indexed((rosbag1 if self.ros1 else rosbag2).Reader(file))
        except Exception as error:
            self._add_damage(str(error) or type(error).__name__, file)
            return RecoveredPart(file)

    def _files(self) -> list[Path]:
        """The files of a bag in order: those that metadata.yaml lists, which may be missing, and others."""
        if self.path.is_file():
            return [self.path]
        found = (file for file in self.path.iterdir() if bag_suffix(file) in REPAIR_COMMANDS)
        files = sorted(found, key=split_number)
        try:
            content: Any = read_yaml(self.path / "metadata.yaml")["rosbag2_bagfile_information"]
            listed = [self.path / PurePath(name).name for name in content["relative_file_paths"]]
        except (DepthRosError, KeyError, TypeError):
            listed = []
        return sorted({*files, *listed}, key=split_number)

    def _decompressed(self, file: Path) -> Path:
        folder = self._open_files.enter_context(tempfile.TemporaryDirectory())
        target = Path(folder) / file.stem
        with zstd().open(file, "rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        return target

    def _add_damage(self, problem: str, file: Path) -> None:
        command = REPAIR_COMMANDS.get(file.suffix, "ros2 bag reindex {0}").format(file)
        line = f"{file} is truncated or damaged ({problem}); to repair it: {command}"
        if line not in self.damage:
            self.damage.append(line)


def bag_suffix(file: Path) -> str:
    """Suffix of a file of a bag, without that of its compression."""
    return file.with_suffix("").suffix if file.suffix == ".zstd" else file.suffix


def uncompressed(data: bytes) -> bytes:
    """A message; rosbag2 may compress each by itself."""
    return zstd().decompress(data) if data[:4] == ZSTD_MAGIC else data


def zstd() -> Any:
    """The module of Python 3.14, or its backport, which rosbags installs."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
