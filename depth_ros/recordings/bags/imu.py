"""The IMU of a bag: sensor_msgs/Imu, and its place by /tf_static."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse, pose_from
from depth_ros.messages.decode import stamp_ns
from depth_ros.recordings.bags.parts import Bag
from depth_ros.recordings.bags.tracks import Deserialize
from depth_ros.recordings.imu import Imu

IMU, TF_STATIC = "sensor_msgs/msg/Imu", "/tf_static"
MAX_CHAIN = 64
"""Maximum number of frames in a chain of transforms; a longer one is a loop."""


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
    parents: dict[str, tuple[str, np.ndarray]] = {}  # child -> parent, T_parent_child
    frame_id = ""
    for _, message in bag.messages([topic, TF_STATIC]):
        content = deserialize(message.data, message.kind)
        if message.topic == TF_STATIC:
            parents |= _parents(content)
            continue
        frame_id = frame_id or content.header.frame_id.lstrip("/")
        stamp, w, a = stamp_ns(content.header), content.angular_velocity, content.linear_acceleration
        row = [w.x, w.y, w.z, a.x, a.y, a.z]
        if stamp > (rows[-1][0] if rows else 0) and np.isfinite(row).all():
            rows.append((stamp, row))
    values = np.array([row for _, row in rows]).reshape(-1, 6)
    stamps = np.array([stamp for stamp, _ in rows], np.int64)
    T = _between(parents, camera_frame, frame_id)
    return Imu(stamps, values[:, :3], values[:, 3:], frame_id, T)


def _parents(message: Any) -> dict[str, tuple[str, np.ndarray]]:
    found = {}
    for each in message.transforms:
        t, q = each.transform.translation, each.transform.rotation
        T = pose_from(np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w]))
        found[each.child_frame_id.lstrip("/")] = (each.header.frame_id.lstrip("/"), T)
    return found


def _between(parents: Mapping[str, tuple[str, np.ndarray]], a: str, b: str) -> np.ndarray | None:
    """(4, 4) T_a_b, or None if no chain of transforms connects the frames."""
    above_a, above_b = _ancestors(parents, a), _ancestors(parents, b)
    root = next((frame for frame in above_a if frame in above_b), None)
    return None if root is None else inverse(above_a[root]) @ above_b[root]


def _ancestors(parents: Mapping[str, tuple[str, np.ndarray]], frame: str) -> dict[str, np.ndarray]:
    """{ancestor: T_ancestor_frame}, nearest first, starting with the frame itself."""
    found, T = {frame: np.eye(4)}, np.eye(4)
    while frame in parents and len(found) < MAX_CHAIN:
        frame, T_parent = parents[frame]
        T = T_parent @ T
        found[frame] = T
    return found
