"""Cloud output: clouds that mark and clear the cells of costmaps and octomaps, and a laser scan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import LaserScan, PointCloud2

from depth_ros.datatypes import Depth
from depth_ros.estimators.clouds import CloudSettings, RateLimit, clearing_points, filtered_points, scan_of
from depth_ros.estimators.filters import FilterSettings
from depth_ros.messages.fill import (
    FILTERED_POINT_FIELDS,
    XYZ_FIELDS,
    fill_filtered_points,
    fill_header,
    fill_scan,
    fill_xyz,
)
from depth_ros.nodes.inputs.transforms import Transforms
from depth_ros.nodes.outputs.publishers import Publishers, point_cloud
from depth_ros.nodes.topics import Topic

CLOUD_TOPICS = (
    Topic(
        "points_filtered", PointCloud2, "out",
        "One point in every voxel after all filters (x, y, z, rgb, std of z), to mark obstacles; at most `cloud_rate`.",
    ),
    Topic(
        "points_clearing", PointCloud2, "out",
        "The farthest points that are known to be free, floor and sky included, to clear along the rays to them; of "
        "the same frames as points_filtered.",
    ),
    Topic(
        "scan", LaserScan, "out",
        "Distances to the nearest points of the height band; inf: none within clearing_range, NaN: unknown (REP-117).",
    ),
)  # fmt: skip


class CloudOutput:
    """Fills and publishes those messages that have subscribers. They are reused: publishing copies them.

    Missing transforms and settings are passed to `warn`; what needs them is not published.
    """

    def __init__(self, publishers: Publishers, transforms: Transforms, warn: Callable[[str], None]) -> None:
        self._publishers, self._transforms, self._warn = publishers, transforms, warn
        self._filtered, self._clearing = point_cloud(FILTERED_POINT_FIELDS), point_cloud(XYZ_FIELDS)
        self._scan = LaserScan()
        self._limit, self._last_scan = RateLimit(), 0

    def has_subscribers(self) -> bool:
        """Whether one of the topics has a subscriber."""
        return self._publishers.has_subscribers(*(topic.name for topic in CLOUD_TOPICS))

    def publish(self, depth: Depth, kept: Depth, filters: FilterSettings, settings: CloudSettings) -> None:
        """Publish one frame, before and after the filters of pixels."""
        if not self.has_subscribers() or not self._limit.is_due(depth.stamp, settings.cloud_rate):
            return
        for message in (self._filtered, self._clearing):
            fill_header(message.header, depth.stamp, depth.frame_id)
        T_base_camera = self._transform(filters.base_frame, depth)
        keep = np.isfinite(kept.depth)
        if self._publishers.has_subscribers("points_clearing"):
            fill_xyz(self._clearing, clearing_points(depth, keep, filters, settings.clearing_range))
            self._publishers.publish("points_clearing", self._clearing)
        if filters.needs_base_frame and T_base_camera is None:
            if not filters.base_frame:
                self._warn(
                    "min_height, max_height and region are measured in base_frame, which is empty: set it"
                )
            return
        if self._publishers.has_subscribers("points_filtered"):
            points = filtered_points(kept, settings.voxel_size, T_base_camera, filters)
            fill_filtered_points(self._filtered, points)
            self._publishers.publish("points_filtered", self._filtered)
        if self._publishers.has_subscribers("scan"):
            self._publish_scan(depth, keep, T_base_camera, filters, settings)

    def _publish_scan(
        self, depth: Depth, keep: np.ndarray, T_base_camera: np.ndarray | None, filters: FilterSettings,
        settings: CloudSettings,
    ) -> None:  # fmt: skip
        if T_base_camera is None or not filters.needs_base_frame:
            self._warn("scan is not published: set base_frame, and min_height above the ground")
            return
        frame = settings.scan_frame or filters.base_frame
        T_scan_camera = self._transform(frame, depth)
        if T_scan_camera is None:
            return
        scan = scan_of(depth, keep, T_scan_camera, T_base_camera, filters, settings)
        fill_header(self._scan.header, depth.stamp, frame)
        fill_scan(self._scan, scan, 1e-9 * max(depth.stamp - self._last_scan, 0) if self._last_scan else 0.0)
        self._last_scan = depth.stamp
        self._publishers.publish("scan", self._scan)

    def _transform(self, frame: str, depth: Depth) -> np.ndarray | None:
        """(4, 4) from the camera to a frame; None if it is empty or TF does not connect them."""
        if not frame:
            return None
        T = self._transforms.between(frame, depth.frame_id, depth.stamp)
        if T is None:
            self._warn(self._transforms.missing_transform_text(frame, depth.frame_id))
        return T
