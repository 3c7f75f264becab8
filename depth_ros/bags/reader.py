"""Bags -> samples: rosbag2 directories, bare .mcap and .db3 files, ROS 1 .bag files, whole or cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from depth_ros import messages
from depth_ros.bags.recovery import recover
from depth_ros.bags.writer import CAMERA_INFO, COMPRESSED, IMAGE, ODOMETRY, TRUTH_DEPTH, TRUTH_ODOMETRY
from depth_ros.datasets import Sample
from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import T_BODY_OPTICAL, pose_from

T = TypeVar("T")

_WINDOW = 8
"""So many stamps wait for their truth, right eye or camera_info, which may be recorded a little later."""

_NO_CAMERA = ("depth", "disparity", "ground_truth", "mask", "label")
"""Topics with such a word hold images that no camera took."""

_UNFINISHED = "metadata.yaml is missing, the recorder was killed"

_MEND = {
    ".mcap": "to mend it: mcap recover {0} -o whole.mcap",
    ".db3": "to mend it: sqlite3 {0} .recover | sqlite3 whole.db3, then ros2 bag reindex",
    ".bag": "to mend it: rosbag reindex {0}",
    ".active": "to mend it: rosbag reindex {0}",
}


class BagReader:
    """The camera images of a bag with their truth, as samples in recorded order. A context manager.

    Topics not given are found, if there is one choice; `image_topic` may be a raw or a compressed one. The
    right eye is read where the image topic has a twin under /right/; truth where the bag has the topics that
    `write_bag` writes, by equal stamp. `T_world_camera` is then the left camera in `odom`.

    A cut bag yields every frame that is whole and then raises one DepthRosError that says what was lost.
    """

    def __init__(self, path: str | Path, image_topic: str = "", camera_info_topic: str = "") -> None:
        self.path, self.image_topic, self.camera_info_topic = Path(path), image_topic, camera_info_topic
        self.topics: dict[str, str] = {}
        self.damage = ""
        self._counts: Counter[str] = Counter()
        self._reader: Any = None
        self._roles: dict[str, str] = {}
        if not self.path.exists():
            raise DepthRosError(f"no bag '{path}': give a rosbag2 directory or a .mcap, .db3 or .bag file")

    def __enter__(self) -> BagReader:
        from rosbags.typesys import Stores, get_typestore

        ros1 = self.path.suffix in (".bag", ".active")
        types = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
        self._deserialize = types.deserialize_ros1 if ros1 else types.deserialize_cdr
        self._open(ros1)
        try:
            self._choose_topics()
        except DepthRosError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader:
            self._reader.close()
            self._reader = None

    def __len__(self) -> int:
        """Images in the bag."""
        return self._counts[self.image_topic]

    def _open(self, ros1: bool) -> None:
        """Through rosbags where the bag is whole, else by scanning it once for what can be recovered."""
        from rosbags import rosbag1, rosbag2

        try:
            reader = (rosbag1 if ros1 else rosbag2).Reader(self.path)
            reader.open()
        except (
            rosbag1.ReaderError,
            rosbag2.ReaderError,
            OSError,
            AssertionError,
            TypeError,
            ValueError,
        ) as error:
            unfinished = self.path.is_dir() and not (self.path / "metadata.yaml").exists()
            self.damage = _UNFINISHED if unfinished else str(error) or type(error).__name__
            for topic, kind, _ in self._until_damage(recover(self.path)):
                self.topics[topic] = kind
                self._counts[topic] += 1
            if not self.topics:
                raise DepthRosError(
                    f"{self.path} is no readable bag ({self.damage}): give a rosbag2 directory or a .mcap, "
                    ".db3 or .bag file; a folder of images becomes one with: depth_ros bag FOLDER BAG"
                ) from error
            return
        self._reader = reader
        for connection in reader.connections:
            self.topics[connection.topic] = connection.msgtype
            self._counts[connection.topic] += connection.msgcount

    def _choose_topics(self) -> None:
        images = [topic for topic, kind in self.topics.items() if kind in (IMAGE, COMPRESSED)]
        infos = [topic for topic, kind in self.topics.items() if kind == CAMERA_INFO]
        self.image_topic = self._chosen("image", self.image_topic, images, _camera_topics(images))
        sibling = _info_beside(self.image_topic)
        likely = [sibling] if sibling in infos else infos
        self.camera_info_topic = self._chosen("camera_info", self.camera_info_topic, infos, likely)
        self._roles = {self.image_topic: "image", self.camera_info_topic: "info"}
        right = self.image_topic.replace("/left/", "/right/")
        if right != self.image_topic and right in images and _info_beside(right) in infos:
            self._roles |= {right: "right", _info_beside(right): "right_info"}
        for topic, kind, role in ((TRUTH_DEPTH, IMAGE, "depth"), (TRUTH_ODOMETRY, ODOMETRY, "odometry")):
            if self.topics.get(topic) == kind:
                self._roles[topic] = role

    def _chosen(self, what: str, wanted: str, topics: list[str], likely: list[str]) -> str:
        found = ", ".join(sorted(topics)) or "none"
        bag = f"{self.path} (cut or damaged: {self.damage})" if self.damage else str(self.path)
        if wanted:
            for topic in (wanted, f"{wanted}/compressed"):
                if topic in topics:
                    return topic
            raise DepthRosError(f"{bag} has no {what} topic '{wanted}'; it has {found}")
        if len(likely) == 1:
            return likely[0]
        if not topics:
            held = ", ".join(sorted(self.topics)) or "none"
            raise DepthRosError(f"{bag} has no {what} topic; its topics are {held}")
        raise DepthRosError(f"{bag} has several {what} topics or none of a camera: choose one of {found}")

    def _messages(self) -> Iterator[tuple[str, Any]]:
        """Role and message of the chosen topics, up to the first damage."""
        if self._reader:
            connections = [c for c in self._reader.connections if c.topic in self._roles]
            raw = ((c.topic, c.msgtype, data) for c, _, data in self._reader.messages(connections))
        else:
            raw = (message for message in recover(self.path) if message[0] in self._roles)
        read = ((self._roles[topic], self._deserialize(data, kind)) for topic, kind, data in raw)
        yield from self._until_damage(read)

    def _until_damage(self, stream: Iterator[T]) -> Iterator[T]:
        try:
            yield from stream
        except Exception as error:
            self.damage = self.damage or f"{type(error).__name__}: {error}"

    def __iter__(self) -> Iterator[Sample]:
        cameras = self._first_cameras()
        waiting: dict[int, dict[str, Any]] = {}  # by stamp, oldest first
        frames = 0
        for role, message in self._messages():
            if role.endswith("info"):
                cameras[role] = messages.camera_from(message)
                continue
            waiting.setdefault(messages.stamp_ns(message.header), {})[role] = message
            for parts in self._ready(waiting):
                frames += 1
                yield self._sample(parts, cameras)
        for parts in waiting.values():
            if "image" in parts:
                frames += 1
                yield self._sample(parts, cameras)
        if self.damage:
            raise DepthRosError(
                f"{self.path} is cut or damaged ({self.damage}): {frames} frames could be read; "
                f"{self._mend()}"
            )

    def _mend(self) -> str:
        if self.damage == _UNFINISHED:
            return f"to mend it: ros2 bag reindex {self.path}"
        files = [self.path] if self.path.is_file() else sorted(self.path.iterdir())
        file = next(file for file in files if file.suffix in _MEND)
        return _MEND[file.suffix].format(file)

    def _first_cameras(self) -> dict[str, Camera]:
        """Cameras for images that are recorded before the first camera_info."""
        cameras: dict[str, Camera] = {}
        wanted = {role for role in self._roles.values() if role.endswith("info")}
        for role, message in self._messages():
            if role in wanted:
                cameras.setdefault(role, messages.camera_from(message))
            if cameras.keys() == wanted:
                break
        if "info" not in cameras:
            raise DepthRosError(
                f"{self.path} has no message on {self.camera_info_topic}: images need a camera"
            )
        return cameras

    def _ready(self, waiting: dict[int, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Takes out the oldest stamps that are complete or have waited long enough."""
        all_parts = {role for role in self._roles.values() if not role.endswith("info")}
        while waiting:
            stamp = next(iter(waiting))
            if waiting[stamp].keys() != all_parts and len(waiting) <= _WINDOW:
                return
            parts = waiting.pop(stamp)
            if "image" in parts:
                yield parts

    def _sample(self, parts: dict[str, Any], cameras: dict[str, Camera]) -> Sample:
        left = self._frame(parts["image"], cameras["info"])
        pair = "right" in parts and "right_info" in cameras
        depth = messages.depth_from(parts["depth"]) if "depth" in parts else None
        T = _pose_of(parts["odometry"]) @ T_BODY_OPTICAL if "odometry" in parts else None
        right = self._frame(parts["right"], cameras["right_info"]) if pair else None
        return Sample(f"{left.stamp:019d}", left, right, depth, T)

    def _frame(self, image: Any, camera: Camera) -> Frame:
        """image_rect and image_raw share one camera_info; of the rectified image only its P is true."""
        rectified = "rect" in self.image_topic.removesuffix("/compressed").rsplit("/", 1)[-1]
        return messages.frame_from(image, camera.rectified() if rectified else camera)


def _camera_topics(topics: list[str]) -> list[str]:
    """Those of a camera: rectified rather than raw, raw rather than compressed, left of a pair."""
    taken = [topic for topic in topics if not any(word in topic.lower() for word in _NO_CAMERA)]
    best: dict[str, str] = {}
    for topic in sorted(taken, key=lambda name: ("/image_rect" not in name, name.endswith("/compressed"))):
        best.setdefault(topic.removesuffix("/compressed").rsplit("/", 1)[0], topic)
    right = {place for place in best if place.replace("right", "left") in best.keys() - {place}}
    return [topic for place, topic in best.items() if place not in right]


def _info_beside(topic: str) -> str:
    return topic.removesuffix("/compressed").rsplit("/", 1)[0] + "/camera_info"


def _pose_of(odometry: Any) -> np.ndarray:
    p, q = odometry.pose.pose.position, odometry.pose.pose.orientation
    return pose_from(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))
