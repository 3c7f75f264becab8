"""Planes output: markers, label image and a point cloud on the planes."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from depth_ros.datatypes import Depth, Planes
from depth_ros.messages.fill import (
    PLANE_POINT_FIELDS,
    fill_camera_info,
    fill_header,
    fill_image,
    fill_plane_points,
)
from depth_ros.nodes.outputs.plane_markers import plane_markers
from depth_ros.nodes.outputs.publishers import Publishers, point_cloud
from depth_ros.nodes.topics import Topic

PLANES_TOPICS = (
    Topic("planes", MarkerArray, "out", "Outlines and equations of the planes."),
    Topic("planes/labels", Image, "out", "Label image (mono8): 0 = no plane, K + 1 = plane K."),
    Topic("planes/camera_info", CameraInfo, "out", "Calibration of the label image."),
    Topic("planes/points", PointCloud2, "out", "Points on the planes, with their normals."),
)


class PlanesOutput:
    """Fills and publishes those messages that have subscribers. They are reused: publishing copies them."""

    def __init__(self, publishers: Publishers) -> None:
        self._publishers = publishers
        self._labels, self._info, self._points = Image(), CameraInfo(), point_cloud(PLANE_POINT_FIELDS)

    def publish(self, depth: Depth, planes: Planes, point_stride: int) -> None:
        """Publish the planes of one frame. point_stride: step between rows and columns of the point cloud."""
        for message in (self._labels, self._info, self._points):
            fill_header(message.header, depth.stamp, depth.frame_id)
        if self._publishers.has_subscribers("planes"):
            self._publishers.publish("planes", plane_markers(depth, planes))
        if self._publishers.has_subscribers("planes/labels"):
            fill_image(self._labels, (planes.labels + 1).astype(np.uint8), "mono8")
            self._publishers.publish("planes/labels", self._labels)
        if self._publishers.has_subscribers("planes/camera_info"):
            fill_camera_info(self._info, depth.camera)
            self._publishers.publish("planes/camera_info", self._info)
        if self._publishers.has_subscribers("planes/points"):
            fill_plane_points(self._points, depth, planes, point_stride)
            self._publishers.publish("planes/points", self._points)
