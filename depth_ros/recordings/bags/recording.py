"""A bag as a recording: its frames by number, with their cameras, right images, depth and poses."""

from __future__ import annotations

import bisect
import functools
import logging
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import T_BODY_OPTICAL, pose_from
from depth_ros.messages.calibration import Calibration, calibration_from
from depth_ros.messages.decode import depth_from, labels_from
from depth_ros.messages.frames import frame_from
from depth_ros.messages.transform_tree import TF_STATIC, TransformTree
from depth_ros.recordings.bags.imu import choose_imu, read_imu
from depth_ros.recordings.bags.parts import Bag, Message
from depth_ros.recordings.bags.topics import BagTopics, choose_topics
from depth_ros.recordings.bags.tracks import Deserialize, Track
from depth_ros.recordings.bags.video_frames import frames_of, track_for
from depth_ros.recordings.bags.video_packets import FOXGLOVE, register
from depth_ros.recordings.calibration import camera_from_fov, read_cameras
from depth_ros.recordings.files import NS
from depth_ros.recordings.imu import Imu
from depth_ros.recordings.options import DEFAULTS, RecordingOptions
from depth_ros.recordings.sample import Contents, DamagedFrame, Sample, readable

log = logging.getLogger("depth_ros.recordings")


class BagRecording:
    """The images of one camera of a bag. Closed by `close`, or as a context manager.

    Stamps are those of the headers; where one is 0, the time of recording. The bag is read once to find its frames;
    images are decoded on access. damage: what could not be read and how to repair it, one line each.
    """

    layout = "bag"

    def __init__(self, path: Path, options: RecordingOptions = DEFAULTS) -> None:
        self.path, self._options = path, options
        self._doubts: set[str] = set()
        self._bag = Bag(path)
        try:
            self.topics: BagTopics = choose_topics(path, self._bag.topics, options)
            self._given = read_cameras(options.cameras) if options.cameras else ()
            self.imu_topic = choose_imu(path, self._bag.topics, options.imu_topic)
            self._deserialize = _deserializer(self._bag.ros1)
            self._read_index()
            if self.damage:  # an index may hide intact messages behind damaged ones
                self._reopen()
        except BaseException:
            self.close()
            raise

    def _reopen(self) -> None:
        damage = self.damage
        self._bag.close()
        self._bag = Bag(self.path, by_record=True)
        self._read_index()
        self._bag.damage[:] = damage

    def __enter__(self) -> BagRecording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._bag.close()

    @property
    def damage(self) -> list[str]:
        return self._bag.damage

    def __len__(self) -> int:
        return len(self.stamps)

    def _read_index(self) -> None:
        """Find all frames: one pass over the serialised messages."""
        roles = {topic: role for role, topic in vars(self.topics).items() if topic}
        self._infos: dict[str, list[tuple[int, Calibration]]] = {
            role: [] for role in roles.values() if role.endswith("info")
        }
        tracks: dict[str, Track] = {}
        without_stamp, frame_ids = 0, dict[str, str]()
        for part, message in self._bag.messages(roles):
            role = roles[message.topic]
            stamp, frame_id = _header(message, self._bag.ros1)
            frame_ids.setdefault(role, frame_id)
            without_stamp += role == "image" and not stamp
            if role in self._infos:
                self._add_camera(role, message, stamp or message.time)
            else:
                track = tracks.get(role) or tracks.setdefault(role, track_for(message, self._deserialize))
                track.add(part, message, stamp or message.time)
        if "image" not in tracks:
            raise DepthRosError(f"{self.path} has no image on {self.topics.image}")
        if without_stamp:
            log.warning(
                "%s: %d of %d images of %s have no stamp (0); the time of recording is used for them",
                self.path, without_stamp, len(tracks["image"].entries), self.topics.image,
            )  # fmt: skip
        self._check_camera(frame_ids)
        self._streams = {
            role: frames_of(self._bag, track, self._deserialize) for role, track in tracks.items()
        }
        self.stamps = self._streams["image"].stamps
        self.names = [f"{stamp:019d}" for stamp in self.stamps]
        gaps = np.diff(self.stamps)
        median = float(np.median(gaps)) if len(gaps) else 0.0
        self.rate = NS / median if median > 0 else 30.0
        self._partners = {
            role: _nearest(self.stamps, stream.stamps, round(self._options.sync_tolerance * NS))
            for role, stream in self._streams.items()
            if role != "image"
        }
        found = {role: sum(i is not None for i in indices) for role, indices in self._partners.items()}
        known = {role for role, count in found.items() if 2 * count >= len(self)}
        self.contents = Contents(
            pairs="right" in known,
            depth="depth" in known,
            poses="odometry" in known,
            instances="masks" in known,
            imu=bool(self.imu_topic),
        )

    def _add_camera(self, role: str, message: Message, stamp: int) -> None:
        info = self._deserialize(message.data, message.kind)
        known = self._infos[role]
        calibration = calibration_from(info, self.topics.is_rectified and role != "depth_info")
        for doubt in calibration.doubts:
            self._warn(f"camera_info: {doubt}")
        if self._options.camera_info_topic:
            calibration = replace(calibration, frame_id="")  # it was chosen, whatever its frame
        if not known or not _same(known[-1][1].full, calibration.full):
            known.append((stamp, calibration))

    def _warn(self, doubt: str) -> None:
        """Log a doubt once."""
        if doubt not in self._doubts:
            log.warning("%s: %s", self.path, doubt)
        self._doubts.add(doubt)

    def _check_camera(self, frame_ids: dict[str, str]) -> None:
        """Raise DepthRosError if there is no camera_info, or it is that of another camera and was not asked for."""
        topic = self.topics.camera_info
        if topic and not self._infos["camera_info"]:
            raise DepthRosError(
                f"{self.path} has no message on {topic}: give a calibration file with --camera FILE"
            )
        image, info = (frame_ids.get(role, "").lstrip("/") for role in ("image", "camera_info"))
        if image and info and image != info and not self._options.camera_info_topic:
            raise DepthRosError(
                f"{self.path}: the images of {self.topics.image} are of '{image}', but {topic} is of '{info}': choose "
                "the calibration with --camera-info-topic or --camera"
            )

    @property
    def camera_source(self) -> str:
        if self._given:
            return ", ".join(map(str, self._options.cameras))
        return self.topics.camera_info or f"field of view {self._options.fov:g} degrees, as given"

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        left = self._frame("image", index, self.stamps[index])
        right = depth = T = None
        if (partner := self._partner("right", index)) is not None:
            right = self._frame("right", partner, left.stamp)
        if (partner := self._partner("depth", index)) is not None:
            depth = self._depth(partner, left)
        if (partner := self._partner("odometry", index)) is not None:
            T = _pose_of(self._message("odometry", partner)) @ T_BODY_OPTICAL
        instances = None
        if (partner := self._partner("masks", index)) is not None:
            instances = self._masks(partner, left)
        return Sample(self.names[index], left, right, depth, T, instances=instances)

    def imu(self) -> Imu | None:
        """The measurements of the IMU; the calibration of the first image is that of its extrinsics."""
        if not self.imu_topic:
            return None
        first = next(sample.left for _, sample in readable(self))
        imu = read_imu(self._bag, self.imu_topic, self._deserialize, first.frame_id)
        if imu.T_camera_imu is None or first.camera.is_rectified:
            return imu
        T_rectified_camera = np.eye(4)
        T_rectified_camera[:3, :3] = first.camera.R
        return replace(imu, T_camera_imu=T_rectified_camera @ imu.T_camera_imu)

    def transform(self, a: str, b: str) -> np.ndarray | None:
        """(4, 4) T_a_b by the static transforms of the bag; None if they do not connect the frames."""
        return self._transforms.between(a, b)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def _partner(self, role: str, index: int) -> int | None:
        return self._partners[role][index] if role in self._partners else None

    def _message(self, role: str, index: int) -> Any:
        try:
            return self._streams[role].message(index)
        except DamagedFrame as error:
            raise DamagedFrame(
                f"{self.path}, {getattr(self.topics, role)}, message {index}: {error}"
            ) from error
        except DepthRosError:
            raise
        except Exception as error:  # damaged data
            raise DamagedFrame(f"{self.path}: message {index} of its {role} topic: {error}") from error

    def _frame(self, role: str, index: int, stamp: int) -> Frame:
        message = self._message(role, index)
        try:
            frame = frame_from(message, self._calibration(role, stamp, message), self._warn)
        except DepthRosError as error:
            raise DamagedFrame(
                f"{self.path}, {getattr(self.topics, role)}, image {index}: {error}"
            ) from error
        return Frame(stamp, frame.frame_id, frame.image, frame.camera)

    def _calibration(self, role: str, stamp: int, message: Any) -> Calibration:
        """The calibration of an image: the one given, or the last camera_info up to its stamp."""
        if self._given:
            camera = self._given[-1] if role == "right" else self._given[0]
            camera = camera.rectified() if self.topics.is_rectified else camera
            return Calibration(camera, camera)
        if not self.topics.camera_info:
            camera = camera_from_fov(*_size(message), self._options.fov)
            return Calibration(camera, camera)
        known = self._infos["right_info" if role == "right" else "camera_info"]
        at = bisect.bisect_right(known, stamp, key=lambda each: each[0])
        return known[max(at - 1, 0)][1]

    def _masks(self, index: int, left: Frame) -> np.ndarray:
        message = self._message("masks", index)
        try:
            return labels_from(message, left.camera)
        except DepthRosError as error:
            raise DamagedFrame(f"{self.path}, {self.topics.masks}, image {index}: {error}") from error

    def _depth(self, index: int, left: Frame) -> np.ndarray:
        from depth_ros.recordings.bags.depth_registration import registered

        message = self._message("depth", index)
        try:
            depth = depth_from(message)
        except DepthRosError as error:
            raise DamagedFrame(f"{self.path}, {self.topics.depth}, image {index}: {error}") from error
        cameras = self._infos.get("depth_info")
        if not cameras or self.topics.depth_info == self.topics.camera_info:
            return depth
        return registered(depth, cameras[0][1].camera, message.header.frame_id, left, self._transforms)

    @functools.cached_property
    def _transforms(self) -> TransformTree:
        tree = TransformTree()
        for _, message in self._bag.messages([TF_STATIC]):
            for ignored in tree.add(self._deserialize(message.data, message.kind).transforms):
                self._warn(f"transform {ignored} on /tf_static ignored: it is not finite, or no rotation")
        return tree


def _deserializer(ros1: bool) -> Deserialize:
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    register(types)
    return types.deserialize_ros1 if ros1 else types.deserialize_cdr


def _header(message: Message, ros1: bool) -> tuple[int, str]:
    """Stamp, ns, and frame_id of the header that a message begins with; 0 and "" if it is too short.

    A header of ROS 1 begins with a sequence number, and CDR with its encapsulation.
    """
    data, begin = message.data, 0 if ros1 and message.kind == FOXGLOVE else 4
    if len(data) < begin + 8:
        return 0, ""
    order = ">" if not ros1 and data[1] == 0 else "<"
    seconds, nanoseconds = struct.unpack_from(order + "iI", data, begin)
    stamp = int(seconds) * NS + int(nanoseconds)
    if len(data) < begin + 12:
        return stamp, ""
    size = min(*struct.unpack_from(order + "I", data, begin + 8), 256)
    name = bytes(data[begin + 12 : begin + 12 + size])
    return stamp, name.rstrip(b"\0").decode(errors="replace")


def _nearest(stamps: list[int], others: list[int], tolerance: int) -> list[int | None]:
    """For each stamp the number of the nearest of others, None if all are farther away than `tolerance` ns."""
    order = sorted(range(len(others)), key=lambda index: others[index])
    times = [others[index] for index in order]
    found: list[int | None] = []
    for stamp in stamps:
        after = bisect.bisect_left(times, stamp)
        near = [i for i in (after - 1, after) if 0 <= i < len(times) and abs(times[i] - stamp) <= tolerance]
        found.append(order[min(near, key=lambda i: abs(times[i] - stamp))] if near else None)
    return found


def _same(a: Camera, b: Camera) -> bool:
    sizes = (a.width, a.height, a.distortion, a.distortion_model), (
        b.width, b.height, b.distortion, b.distortion_model,
    )  # fmt: skip
    return sizes[0] == sizes[1] and all(np.array_equal(x, y) for x, y in ((a.K, b.K), (a.P, b.P), (a.R, b.R)))


def _size(message: Any) -> tuple[int, int]:
    """Width and height px of a raw or compressed image."""
    if hasattr(message, "width"):
        return int(message.width), int(message.height)
    import cv2

    image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DepthRosError(f"a compressed image of {len(message.data)} bytes cannot be decoded")
    return image.shape[1], image.shape[0]


def _pose_of(odometry: Any) -> np.ndarray:
    p, q = odometry.pose.pose.position, odometry.pose.pose.orientation
    return pose_from(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))
