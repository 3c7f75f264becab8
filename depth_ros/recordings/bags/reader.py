"""Reader of rosbag2 directories, single .mcap and .db3 files and ROS 1 .bag files, intact or truncated."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.geometry import T_BODY_OPTICAL, pose_from
from depth_ros.messages.calibration import Calibration, calibration_from, names_rectified_images
from depth_ros.messages.decode import depth_from, stamp_ns
from depth_ros.messages.frames import frame_from
from depth_ros.recordings import Sample
from depth_ros.recordings.bags.recovery import recover
from depth_ros.recordings.bags.writer import (
    CAMERA_INFO,
    COMPRESSED,
    GROUND_TRUTH_DEPTH,
    GROUND_TRUTH_ODOMETRY,
    IMAGE,
    ODOMETRY,
)

if TYPE_CHECKING:
    from rosbags import rosbag1, rosbag2

T = TypeVar("T")
log = logging.getLogger("depth_ros.recordings")

_MAX_PENDING_STAMPS = 8
"""Number of stamps that wait for ground truth and right image, which may be recorded a little later."""

_NON_CAMERA_WORDS = ("depth", "disparity", "ground_truth", "mask", "label")
"""Image topics whose name contains one of these words are not colour images of a camera."""

_NO_METADATA = "metadata.yaml is missing: the recorder was killed"

_REPAIR_COMMANDS = {
    ".mcap": "mcap recover {0} -o repaired.mcap",
    ".db3": "sqlite3 {0} .recover | sqlite3 repaired.db3, then ros2 bag reindex",
    ".bag": "rosbag reindex {0}",
    ".active": "rosbag reindex {0}",
}


class BagReader:
    """The camera images of a bag with their ground truth, as samples in recorded order. A context manager.

    Topics that are not given are detected if there is a single candidate; `image_topic` may be raw or compressed.
    The right image is read if the image topic has a counterpart under /right/. Ground truth is read from the topics
    that `write_bag` writes, matched by equal stamps; `T_world_camera` is then the left camera in `odom`.

    A truncated bag yields every intact frame and then raises one DepthRosError that describes the damage.
    """

    def __init__(self, path: str | Path, image_topic: str = "", camera_info_topic: str = "") -> None:
        self.path, self.image_topic, self.camera_info_topic = Path(path), image_topic, camera_info_topic
        self.topics: dict[str, str] = {}
        self.damage = ""
        self._doubts: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._reader: rosbag1.Reader | rosbag2.Reader | None = None
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
        """Open the bag with rosbags or, if it is damaged, scan it once for recoverable messages."""
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
            no_metadata = self.path.is_dir() and not (self.path / "metadata.yaml").exists()
            self.damage = _NO_METADATA if no_metadata else str(error) or type(error).__name__
            for topic, kind, _ in self._until_damage(recover(self.path)):
                self.topics[topic] = kind
                self._counts[topic] += 1
            if not self.topics:
                raise DepthRosError(
                    f"{self.path} is not a readable bag ({self.damage}): give a rosbag2 directory or a .mcap, "
                    ".db3 or .bag file; to convert a folder of images: depth_ros bag FOLDER BAG"
                ) from error
            return
        self._reader = reader
        for connection in reader.connections:
            self.topics[connection.topic] = connection.msgtype
            self._counts[connection.topic] += connection.msgcount

    def _choose_topics(self) -> None:
        images = [topic for topic, kind in self.topics.items() if kind in (IMAGE, COMPRESSED)]
        infos = [topic for topic, kind in self.topics.items() if kind == CAMERA_INFO]
        self.image_topic = self._select_topic("image", self.image_topic, images, _camera_topics(images))
        sibling = _camera_info_topic(self.image_topic)
        candidates = [sibling] if sibling in infos else infos
        self.camera_info_topic = self._select_topic("camera_info", self.camera_info_topic, infos, candidates)
        self._roles = {self.image_topic: "image", self.camera_info_topic: "info"}
        right = self.image_topic.replace("/left/", "/right/")
        if right != self.image_topic and right in images and _camera_info_topic(right) in infos:
            self._roles |= {right: "right", _camera_info_topic(right): "right_info"}
        ground_truth = ((GROUND_TRUTH_DEPTH, IMAGE, "depth"), (GROUND_TRUTH_ODOMETRY, ODOMETRY, "odometry"))
        for topic, kind, role in ground_truth:
            if self.topics.get(topic) == kind:
                self._roles[topic] = role

    def _select_topic(self, kind: str, requested: str, topics: list[str], candidates: list[str]) -> str:
        """The requested topic of a kind, raw or compressed, or the only candidate."""
        found = ", ".join(sorted(topics)) or "none"
        bag = f"{self.path} (truncated or damaged: {self.damage})" if self.damage else str(self.path)
        if requested:
            for topic in (requested, f"{requested}/compressed"):
                if topic in topics:
                    return topic
            raise DepthRosError(f"{bag} has no {kind} topic '{requested}'; it has: {found}")
        if len(candidates) == 1:
            return candidates[0]
        if not topics:
            all_topics = ", ".join(sorted(self.topics)) or "none"
            raise DepthRosError(f"{bag} has no {kind} topic; its topics: {all_topics}")
        problem = (
            f"several {kind} topics" if candidates else f"no {kind} topic named like that of a colour camera"
        )
        raise DepthRosError(f"{bag} has {problem}: choose one of {found}")

    def _messages(self) -> Iterator[tuple[str, Any]]:
        """Role and message of the selected topics, up to the first damage."""
        if self._reader:
            connections = [c for c in self._reader.connections if c.topic in self._roles]
            raw = ((c.topic, c.msgtype, data) for c, _, data in self._reader.messages(connections))
        else:
            raw = (message for message in recover(self.path) if message[0] in self._roles)
        decoded = ((self._roles[topic], self._deserialize(data, kind)) for topic, kind, data in raw)
        yield from self._until_damage(decoded)

    def _until_damage(self, stream: Iterator[T]) -> Iterator[T]:
        """The items of a stream up to its first exception, which is stored as the damage."""
        try:
            yield from stream
        except Exception as error:
            self.damage = self.damage or f"{type(error).__name__}: {error}"

    def __iter__(self) -> Iterator[Sample]:
        cameras = self._first_cameras()
        pending: dict[int, dict[str, Any]] = {}  # role -> message by stamp, oldest first
        frames = 0
        for role, message in self._messages():
            if role.endswith("info"):
                cameras[role] = self._calibration(role, message)
                continue
            pending.setdefault(stamp_ns(message.header), {})[role] = message
            for parts in self._pop_complete(pending):
                frames += 1
                yield self._sample(parts, cameras)
        for parts in pending.values():
            if "image" in parts:
                frames += 1
                yield self._sample(parts, cameras)
        if self.damage:
            raise DepthRosError(
                f"{self.path} is truncated or damaged ({self.damage}): {frames} frames could be read; "
                f"to repair it: {self._repair_command()}"
            )

    def _repair_command(self) -> str:
        if self.damage == _NO_METADATA:
            return f"ros2 bag reindex {self.path}"
        files = [self.path] if self.path.is_file() else sorted(self.path.iterdir())
        file = next(file for file in files if file.suffix in _REPAIR_COMMANDS)
        return _REPAIR_COMMANDS[file.suffix].format(file)

    def _first_cameras(self) -> dict[str, Calibration]:
        """The first camera_info of each camera, for images recorded before it."""
        cameras: dict[str, Calibration] = {}
        required = {role for role in self._roles.values() if role.endswith("info")}
        for role, message in self._messages():
            if role in required:
                cameras.setdefault(role, self._calibration(role, message))
            if cameras.keys() == required:
                break
        if "info" not in cameras:
            raise DepthRosError(
                f"{self.path} has no message on {self.camera_info_topic}: its images cannot be used without one"
            )
        return cameras

    def _pop_complete(self, pending: dict[int, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Remove and return the oldest stamps that are complete, or that too many newer ones follow."""
        all_parts = {role for role in self._roles.values() if not role.endswith("info")}
        while pending:
            stamp = next(iter(pending))
            if pending[stamp].keys() != all_parts and len(pending) <= _MAX_PENDING_STAMPS:
                return
            parts = pending.pop(stamp)
            if "image" in parts:
                yield parts

    def _calibration(self, role: str, info: Any) -> Calibration:
        """image_rect and image_raw share one camera_info, whose K and distortion are those of image_raw."""
        calibration = calibration_from(info, names_rectified_images(self.image_topic))
        for doubt in calibration.doubts:
            self._warn(f"camera_info: {doubt}")
        return calibration

    def _warn(self, doubt: str) -> None:
        if doubt not in self._doubts:
            log.warning("%s: %s", self.path, doubt)
        self._doubts.add(doubt)

    def _sample(self, parts: dict[str, Any], cameras: dict[str, Calibration]) -> Sample:
        left = frame_from(parts["image"], cameras["info"], self._warn)
        is_pair = "right" in parts and "right_info" in cameras
        depth = depth_from(parts["depth"]) if "depth" in parts else None
        T = _pose_of(parts["odometry"]) @ T_BODY_OPTICAL if "odometry" in parts else None
        right = frame_from(parts["right"], cameras["right_info"], self._warn) if is_pair else None
        return Sample(f"{left.stamp:019d}", left, right, depth, T)


def _camera_topics(topics: list[str]) -> list[str]:
    """One image topic per camera: rectified before raw, uncompressed before compressed, the left one of a pair."""
    colour = [topic for topic in topics if not any(word in topic.lower() for word in _NON_CAMERA_WORDS)]
    best: dict[str, str] = {}  # by namespace
    for topic in sorted(colour, key=lambda name: ("/image_rect" not in name, name.endswith("/compressed"))):
        best.setdefault(topic.removesuffix("/compressed").rsplit("/", 1)[0], topic)
    right = {name for name in best if name.replace("right", "left") in best.keys() - {name}}
    return [topic for name, topic in best.items() if name not in right]


def _camera_info_topic(topic: str) -> str:
    return topic.removesuffix("/compressed").rsplit("/", 1)[0] + "/camera_info"


def _pose_of(odometry: Any) -> np.ndarray:
    p, q = odometry.pose.pose.position, odometry.pose.pose.orientation
    return pose_from(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))
