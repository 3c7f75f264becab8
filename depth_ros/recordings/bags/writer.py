"""Writer of recordings as rosbag2.

Frames follow REP-103 and REP-105. `base_link` is at the left optical centre, x forward, y left, z up;
`/tf_static` holds the optical frames in it. `/ground_truth/odometry` is the pose of `base_link` in `odom`. The origin
of `odom` is the first known pose of `base_link`, so that forward is +x whatever the recording's world frame.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame, Pose
from depth_ros.errors import DepthRosError
from depth_ros.geometry import T_BODY_OPTICAL, inverse
from depth_ros.messages.fill import (
    fill_camera_info,
    fill_depth,
    fill_header,
    fill_image,
    fill_odometry,
    fill_transform,
)
from depth_ros.recordings import Recording, Sample, readable

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, Qos
    from rosbags.rosbag2 import Writer
    from rosbags.typesys.store import Typestore

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, ODOMETRY, TF = "sensor_msgs/msg/CameraInfo", "nav_msgs/msg/Odometry", "tf2_msgs/msg/TFMessage"
GROUND_TRUTH_DEPTH, GROUND_TRUTH_ODOMETRY = "/ground_truth/depth/image_rect", "/ground_truth/odometry"
_GROUND_TRUTH_INFO = "/ground_truth/depth/camera_info"


def write_bag(
    folder: Recording,
    path: str | Path,
    storage: str = "mcap",
    compressed: bool = False,
    progress: bool = False,
) -> None:
    """Write a recording as a rosbag2 directory: images, camera_info, /tf_static and available ground truth.

    compressed: write images as CompressedImage in PNG, which is lossless. A failed bag is deleted.
    Raises DepthRosError if `path` exists or `storage` is neither mcap nor sqlite3.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer
    from tqdm import tqdm

    plugins = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
    if storage not in plugins:
        raise DepthRosError(f"storage is '{storage}'; allowed: {', '.join(plugins)}")
    path = Path(path)
    if path.exists():
        raise DepthRosError(f"{path} already exists: remove it or give another name")
    try:
        with Writer(path, version=9, storage_plugin=plugins[storage]) as writer:
            bag = SampleWriter(MessageWriter(writer), compressed)
            samples = readable(folder)
            for _, sample in tqdm(samples, path.name, len(folder), unit="frame", disable=not progress):
                bag.write(sample)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


class MessageWriter:
    """Writes messages to an open rosbags writer; each topic is added with its first message."""

    def __init__(self, writer: Writer) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._writer = writer
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Connection] = {}

    def message(self, kind: str, stamp: int = 0, frame_id: str = "") -> Any:
        """A message with default values and a filled header."""
        message = default_message(self._types, kind)
        if hasattr(message, "header"):
            fill_header(message.header, stamp, frame_id)
        return message

    def add(self, topic: str, stamp: int, message: Any) -> None:
        """Write a message with its time of recording, ns."""
        kind = message.__msgtype__
        if topic not in self._connections:
            qos = [_static_qos()] if topic == "/tf_static" else []
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._types, offered_qos_profiles=qos
            )
        self._writer.write(self._connections[topic], stamp, self._types.serialize_cdr(message, kind))


class SampleWriter:
    """Writes samples: images, camera_info, /tf_static and ground truth.

    T_base_camera: (4, 4) pose of the left camera in `base_frame`.
    """

    def __init__(
        self, messages: MessageWriter, compressed: bool, base_frame: str = "base_link",
        T_base_camera: np.ndarray = T_BODY_OPTICAL,
    ) -> None:  # fmt: skip
        self._messages, self._compressed = messages, compressed
        self._base_frame, self._T_base_camera = base_frame, T_base_camera
        self._is_first = True
        self._T_world_odom: np.ndarray | None = None  # first known pose of base_link

    def write(self, sample: Sample) -> None:
        left, stamp = sample.left, sample.left.stamp
        self.write_frames(sample)
        if sample.depth is not None:
            image = self._messages.message(IMAGE, stamp, left.frame_id)
            fill_depth(image, sample.depth, "32FC1")
            self._messages.add(GROUND_TRUTH_DEPTH, stamp, image)
            self._write_info(_GROUND_TRUTH_INFO, stamp, left.frame_id, left.camera.rectified())
        if sample.T_world_camera is not None:
            T_world_base = sample.T_world_camera @ inverse(self._T_base_camera)
            if self._T_world_odom is None:
                self._T_world_odom = T_world_base
            odometry = self._messages.message(ODOMETRY, stamp, "odom")
            pose = Pose(stamp, inverse(self._T_world_odom) @ T_world_base)
            fill_odometry(odometry, pose, "odom", self._base_frame)
            self._messages.add(GROUND_TRUTH_ODOMETRY, stamp, odometry)

    def write_frames(self, sample: Sample) -> None:
        """The images alone, with their calibration and their place on the robot."""
        left, right = sample.left, sample.right
        if self._is_first:
            self._write_transforms(left, right)
            self._is_first = False
        self._write_frame("/stereo/left" if right else "/camera", left)
        if right:
            self._write_frame("/stereo/right", right)

    def _write_frame(self, namespace: str, frame: Frame) -> None:
        topic = f"{namespace}/image_raw"
        if self._compressed:
            image = self._messages.message(COMPRESSED, frame.stamp, frame.frame_id)
            image.format = "rgb8; png compressed bgr8"  # as written by compressed_image_transport
            _, image.data = cv2.imencode(".png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
            self._messages.add(f"{topic}/compressed", frame.stamp, image)
        else:
            image = self._messages.message(IMAGE, frame.stamp, frame.frame_id)
            fill_image(image, frame.image, "rgb8")
            self._messages.add(topic, frame.stamp, image)
        self._write_info(f"{namespace}/camera_info", frame.stamp, frame.frame_id, frame.camera)

    def _write_info(self, topic: str, stamp: int, frame_id: str, camera: Camera) -> None:
        info = self._messages.message(CAMERA_INFO, stamp, frame_id)
        fill_camera_info(info, camera)
        self._messages.add(topic, stamp, info)

    def _write_transforms(self, left: Frame, right: Frame | None) -> None:
        message = self._messages.message(TF)
        for frame in (left, right) if right else (left,):
            transform = self._messages.message(
                "geometry_msgs/msg/TransformStamped", left.stamp, self._base_frame
            )
            transform.child_frame_id = frame.frame_id
            offset = np.eye(4)
            offset[0, 3] = frame.camera.baseline
            fill_transform(transform.transform, self._T_base_camera @ offset)
            message.transforms.append(transform)
        self._messages.add("/tf_static", left.stamp, message)


def default_message(types: Typestore, kind: str) -> Any:
    """A message of zeros and empty strings and sequences; rosbags has no default values."""
    from rosbags.interfaces import Nodetype

    values = {}
    fields: Any = types.fielddefs[kind][1]  # nested tuples that depend on the node type
    for name, (node, detail) in fields:
        if node == Nodetype.NAME:
            values[name] = default_message(types, detail)
        elif node == Nodetype.BASE:
            values[name] = "" if detail[0] == "string" else np.zeros((), detail[0]).item()
        else:  # array or sequence
            (inner, of), length = detail
            numeric = inner == Nodetype.BASE and of[0] != "string"
            values[name] = np.zeros(length if node == Nodetype.ARRAY else 0, of[0]) if numeric else []
    return types.types[kind](**values)


def _static_qos() -> Qos:
    """QoS of /tf_static: transient local, for players and late-joining subscribers."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    never = QosTime(sec=9223372036, nsec=854775807)
    return Qos(
        QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
        never, never, QosLiveliness.AUTOMATIC, never, False,
    )  # fmt: skip
