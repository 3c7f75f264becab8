"""Recordings -> rosbag2.

REP-103 and REP-105 are followed. `base_link` is at the left optical centre, x forward, y left, z up;
`/tf_static` places the optical frames in it. `/ground_truth/odometry` is the pose of `base_link` in `odom`,
which is where `base_link` was at the first known pose, so that forward is +x whatever the recording's world.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros import messages
from depth_ros.datasets import Folder, Sample
from depth_ros.datatypes import Camera, Frame, Pose
from depth_ros.errors import DepthRosError
from depth_ros.geometry import T_BODY_OPTICAL, inverse, quaternion_from_matrix

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, ODOMETRY, TF = "sensor_msgs/msg/CameraInfo", "nav_msgs/msg/Odometry", "tf2_msgs/msg/TFMessage"
TRUTH_DEPTH, TRUTH_ODOMETRY = "/ground_truth/depth/image_rect", "/ground_truth/odometry"
_TRUTH_INFO = "/ground_truth/depth/camera_info"


def write_bag(
    folder: Folder, path: str | Path, storage: str = "mcap", compressed: bool = False, progress: bool = False
) -> None:
    """Write a recording as a rosbag2 directory: images, camera_info, /tf_static and the truth it has.

    compressed: images as CompressedImage, PNG, so that no pixel changes. Nothing is left behind on failure.
    Raises DepthRosError if `path` exists or `storage` is neither mcap nor sqlite3.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer
    from tqdm import tqdm

    plugins = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
    if storage not in plugins:
        raise DepthRosError(f"storage is '{storage}'; allowed: {', '.join(plugins)}")
    path = Path(path)
    if path.exists():
        raise DepthRosError(f"{path} exists already: remove it or give another name")
    try:
        with Writer(path, version=9, storage_plugin=plugins[storage]) as writer:
            bag = _Output(writer, compressed)
            for index in tqdm(range(len(folder)), desc=path.name, unit="frame", disable=not progress):
                bag.write(folder[index])
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


class _Output:
    """Samples -> messages of an open rosbags writer; a topic is added with its first message."""

    def __init__(self, writer: Any, compressed: bool) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._writer, self._compressed = writer, compressed
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Any] = {}
        self._T_start: np.ndarray | None = None  # pose of the first known base_link in the recording's world

    def write(self, sample: Sample) -> None:
        left, right, stamp = sample.left, sample.right, sample.left.stamp
        if not self._connections:
            self._write_transforms(left, right)
        self._write_frame("/stereo/left" if right else "/camera", left)
        if right:
            self._write_frame("/stereo/right", right)
        if sample.depth is not None:
            image = self._blank(IMAGE, stamp, left.frame_id)
            messages.fill_depth(image, sample.depth, "32FC1")
            self._add(TRUTH_DEPTH, IMAGE, stamp, image)
            self._write_info(_TRUTH_INFO, stamp, left.frame_id, left.camera.rectified())
        if sample.T_world_camera is not None:
            T_world_base = sample.T_world_camera @ inverse(T_BODY_OPTICAL)
            self._T_start = T_world_base if self._T_start is None else self._T_start
            odometry = self._blank(ODOMETRY, stamp, "odom")
            pose = Pose(stamp, inverse(self._T_start) @ T_world_base)
            messages.fill_odometry(odometry, pose, "odom", "base_link")
            self._add(TRUTH_ODOMETRY, ODOMETRY, stamp, odometry)

    def _write_frame(self, namespace: str, frame: Frame) -> None:
        topic = f"{namespace}/image_raw"
        if self._compressed:
            image = self._blank(COMPRESSED, frame.stamp, frame.frame_id)
            image.format = "rgb8; png compressed bgr8"  # as compressed_image_transport writes it
            _, image.data = cv2.imencode(".png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
            self._add(f"{topic}/compressed", COMPRESSED, frame.stamp, image)
        else:
            image = self._blank(IMAGE, frame.stamp, frame.frame_id)
            messages.fill_image(image, frame.image, "rgb8")
            self._add(topic, IMAGE, frame.stamp, image)
        self._write_info(f"{namespace}/camera_info", frame.stamp, frame.frame_id, frame.camera)

    def _write_info(self, topic: str, stamp: int, frame_id: str, camera: Camera) -> None:
        info = self._blank(CAMERA_INFO, stamp, frame_id)
        messages.fill_camera_info(info, camera)
        self._add(topic, CAMERA_INFO, stamp, info)

    def _write_transforms(self, left: Frame, right: Frame | None) -> None:
        message = self._blank(TF)
        for frame in (left, right) if right else (left,):
            transform = self._blank("geometry_msgs/msg/TransformStamped", left.stamp, "base_link")
            transform.child_frame_id = frame.frame_id
            x, y, z, w = map(float, quaternion_from_matrix(T_BODY_OPTICAL[:3, :3]))
            rotation, translation = transform.transform.rotation, transform.transform.translation
            rotation.x, rotation.y, rotation.z, rotation.w = x, y, z, w
            translation.y = -frame.camera.baseline
            message.transforms.append(transform)
        self._add("/tf_static", TF, left.stamp, message)

    def _blank(self, kind: str, stamp: int = 0, frame_id: str = "") -> Any:
        """A message of zeros and empty texts with its header filled; rosbags has no default values."""
        message = _zeros(self._types, kind)
        if hasattr(message, "header"):
            messages.fill_header(message.header, stamp, frame_id)
        return message

    def _add(self, topic: str, kind: str, stamp: int, message: Any) -> None:
        if topic not in self._connections:
            qos = [_latched()] if topic == "/tf_static" else []
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._types, offered_qos_profiles=qos
            )
        self._writer.write(self._connections[topic], stamp, self._types.serialize_cdr(message, kind))


def _zeros(types: Any, kind: str) -> Any:
    from rosbags.interfaces import Nodetype

    values = {}
    for name, (node, detail) in types.fielddefs[kind][1]:
        if node == Nodetype.NAME:
            values[name] = _zeros(types, detail)
        elif node == Nodetype.BASE:
            values[name] = "" if detail[0] == "string" else np.zeros((), detail[0]).item()
        else:  # an array of fixed or free length
            (inner, of), length = detail
            plain = inner == Nodetype.BASE and of[0] != "string"
            values[name] = np.zeros(length if node == Nodetype.ARRAY else 0, of[0]) if plain else []
    return types.types[kind](**values)


def _latched() -> Any:
    """Quality of service of /tf_static: players and late subscribers need it."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    never = QosTime(sec=9223372036, nsec=854775807)
    return Qos(
        QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
        never, never, QosLiveliness.AUTOMATIC, never, False,
    )  # fmt: skip
