"""Object motion output: markers, label image, and point clouds with velocities."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from depth_ros.datatypes import Depth, ObjectMotion
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.geometry import back_project
from depth_ros.messages.fill import (
    MOVING_POINT_FIELDS,
    POINT_FIELDS,
    fill_camera_info,
    fill_header,
    fill_image,
    fill_moving_points,
    fill_points,
)
from depth_ros.nodes.outputs.motion_markers import motion_markers
from depth_ros.nodes.outputs.publishers import Publishers, point_cloud
from depth_ros.nodes.topics import Topic

OBJECT_MOTION_TOPICS = (
    Topic("moving", MarkerArray, "out", "Velocity arrows, ids and speeds of the moving objects."),
    Topic("moving/labels", Image, "out", "Label image (mono16): ids of the moving objects, 0 = none."),
    Topic("moving/camera_info", CameraInfo, "out", "Calibration of the label image."),
    Topic("moving/points", PointCloud2, "out", "Moving points with velocity, its covariance and id."),
    Topic("moving/objects", PointCloud2, "out", "The same for the centre of each object."),
    Topic(
        "points_static",
        PointCloud2,
        "out",
        "The points of all pixels that do not move (x, y, z, rgb), organised.",
    ),
    Topic("points_moving", PointCloud2, "out", "The points of the moving objects (x, y, z, rgb), organised."),
)
FRINGE = 2
"""px around a moving object that are not static either: the edge of a mask is not exact."""


class ObjectMotionOutput:
    """Fills and publishes those messages that have subscribers. They are reused: publishing copies them."""

    def __init__(self, publishers: Publishers) -> None:
        self._publishers = publishers
        self._labels, self._info = Image(), CameraInfo()
        self._cloud = point_cloud(MOVING_POINT_FIELDS, id=PointField.UINT32)
        self._part = point_cloud(POINT_FIELDS)

    def publish(
        self, depth: Depth, objects: list[ObjectMotion], point_stride: int, arrow_seconds: float
    ) -> None:
        """Publish the moving objects of one frame. point_stride: step between rows and columns of the points."""
        for message in (self._labels, self._info, self._cloud):
            fill_header(message.header, depth.stamp, depth.frame_id)
        if self._publishers.has_subscribers("moving"):
            self._publishers.publish("moving", motion_markers(depth, objects, arrow_seconds))
        if self._publishers.has_subscribers("moving/labels"):
            fill_image(self._labels, label_image(depth, objects), "mono16")
            self._publishers.publish("moving/labels", self._labels)
        if self._publishers.has_subscribers("moving/camera_info"):
            fill_camera_info(self._info, depth.camera)
            self._publishers.publish("moving/camera_info", self._info)
        if self._publishers.has_subscribers("moving/points"):
            sampled = np.s_[::point_stride, ::point_stride]
            points = back_project(depth.depth, depth.camera)[sampled]
            valid = np.isfinite(points[..., 2])
            of_objects = [points[each.mask[sampled] & valid] for each in objects]
            self._publish_points("moving/points", of_objects, objects)
        if self._publishers.has_subscribers("moving/objects"):
            self._publish_points("moving/objects", [each.centre[None] for each in objects], objects)
        self._publish_parts(depth, objects, point_stride)

    def _publish_parts(self, depth: Depth, objects: list[ObjectMotion], point_stride: int) -> None:
        """Publish the points without, and those with only, the moving objects."""
        if not self._publishers.has_subscribers("points_static", "points_moving"):
            return
        moving = label_image(depth, objects) > 0
        fringe = cv2.dilate(moving.astype(np.uint8), np.ones((2 * FRINGE + 1,) * 2, np.uint8)) > 0
        kept = filtered(depth, FilterSettings())
        fill_header(self._part.header, depth.stamp, depth.frame_id)
        for topic, without in (("points_static", fringe), ("points_moving", ~moving)):
            if self._publishers.has_subscribers(topic):
                part = np.where(without, np.float32(np.nan), kept.depth)
                fill_points(self._part, replace(kept, depth=part), point_stride)
                self._publishers.publish(topic, self._part)

    def _publish_points(self, topic: str, points: list[np.ndarray], objects: list[ObjectMotion]) -> None:
        fill_moving_points(self._cloud, points, objects)
        self._publishers.publish(topic, self._cloud)


def label_image(depth: Depth, objects: list[ObjectMotion]) -> np.ndarray:
    """(H, W) uint16 ids, 0 = no moving object."""
    labels = np.zeros(depth.depth.shape, np.uint16)
    for each in objects:
        labels[each.mask] = each.label % (1 << 16)
    return labels
