"""The clouds and scans that the nodes publish for costmaps, as messages of a bag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.estimators.clouds import RateLimit, clearing_points, filtered_points, scan_of
from depth_ros.messages.fill import (
    FILTERED_POINT_FIELDS,
    POINT_FIELDS,
    XYZ_FIELDS,
    fill_filtered_points,
    fill_points,
    fill_scan,
    fill_xyz,
)
from depth_ros.playback.robot import Robot
from depth_ros.recordings.bags.writer import MessageWriter

POINT_STRIDE = 2
"""px; a quarter of the points of each frame is written to points."""
FLOAT32 = 7
"""sensor_msgs/PointField.FLOAT32."""


class BagClouds:
    """points_filtered and points_clearing of every frame, at most `cloud_rate`; scan if the robot has a height band."""

    def __init__(self, messages: MessageWriter, robot: Robot) -> None:
        self._messages, self._robot = messages, robot
        self._limit, self._last_scan = RateLimit(), 0

    def of(self, depth: Depth, kept: Depth) -> Iterator[tuple[str, Any]]:
        """Topics and messages of a frame, before and after the filters of pixels."""
        robot = self._robot
        if not self._limit.is_due(depth.stamp, robot.clouds.cloud_rate):
            return
        keep = np.isfinite(kept.depth)
        clearing = cloud(self._messages, depth, XYZ_FIELDS)
        fill_xyz(clearing, clearing_points(depth, keep, robot.filters, robot.clouds.clearing_range))
        yield "/points_clearing", clearing
        filtered = cloud(self._messages, depth, FILTERED_POINT_FIELDS)
        points = filtered_points(kept, robot.clouds.voxel_size, robot.T_base_camera, robot.filters)
        fill_filtered_points(filtered, points)
        yield "/points_filtered", filtered
        if robot.T_base_camera is not None and robot.filters.needs_base_frame:
            yield "/scan", self._scan_message(depth, keep, robot.T_base_camera)

    def _scan_message(self, depth: Depth, keep: np.ndarray, T: np.ndarray) -> Any:
        message = self._messages.message("sensor_msgs/msg/LaserScan", depth.stamp, self._robot.base_frame)
        scan = scan_of(depth, keep, T, T, self._robot.filters, self._robot.clouds)
        fill_scan(message, scan, 1e-9 * max(depth.stamp - self._last_scan, 0) if self._last_scan else 0.0)
        self._last_scan = depth.stamp
        return message


def point_message(messages: MessageWriter, depth: Depth) -> Any:
    """The organised cloud of a depth image."""
    message = cloud(messages, depth, POINT_FIELDS)
    fill_points(message, depth, POINT_STRIDE)
    return message


def cloud(messages: MessageWriter, depth: Depth, fields: tuple[tuple[str, int], ...]) -> Any:
    """An empty cloud with these fields, of the frame of a depth image."""
    message = messages.message("sensor_msgs/msg/PointCloud2", depth.stamp, depth.frame_id)
    for name, offset in fields:
        field = messages.message("sensor_msgs/msg/PointField")
        field.name, field.offset, field.datatype, field.count = name, offset, FLOAT32, 1
        message.fields.append(field)
    return message
