"""The IMU of a bag: sensor_msgs/Imu, and its place by /tf_static."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.transform_tree import TF_STATIC, TransformTree
from depth_ros.recordings.bags.parts import Bag
from depth_ros.recordings.bags.tracks import Deserialize
from depth_ros.recordings.imu import Imu

IMU = "sensor_msgs/msg/Imu"


def choose_imu(path: Path, topics: Mapping[str, str], requested: str) -> str:
    """The requested topic, or the only one of its type; empty if there is none, or several.

    Raises DepthRosError if the requested one is not there.
    """
    found = [topic for topic, kind in topics.items() if kind == IMU]
    if requested and requested not in found:
        raise DepthRosError(
            f"{path} has no IMU topic '{requested}'; it has: {', '.join(sorted(found)) or 'none'}"
        )
    return requested or (found[0] if len(found) == 1 else "")


def read_imu(bag: Bag, topic: str, deserialize: Deserialize, camera_frame: str) -> Imu:
    """All measurements of a topic; those without a stamp, not after the one before or not finite are left out."""
    rows: list[tuple[int, list[float]]] = []
    transforms, frame_id = TransformTree(), ""
    for _, message in bag.messages([topic, TF_STATIC]):
        content = deserialize(message.data, message.kind)
        if message.topic == TF_STATIC:
            transforms.add(content.transforms)
            continue
        frame_id = frame_id or content.header.frame_id.lstrip("/")
        stamp, w, a = stamp_ns(content.header), content.angular_velocity, content.linear_acceleration
        row = [w.x, w.y, w.z, a.x, a.y, a.z]
        if stamp > (rows[-1][0] if rows else 0) and np.isfinite(row).all():
            rows.append((stamp, row))
    values = np.array([row for _, row in rows]).reshape(-1, 6)
    stamps = np.array([stamp for stamp, _ in rows], np.int64)
    T = transforms.between(camera_frame, frame_id)
    return Imu(stamps, values[:, :3], values[:, 3:], frame_id, T)
