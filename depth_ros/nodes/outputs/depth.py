"""Depth output: depth image, its camera_info and confidence, and a point cloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_ros.config import setting
from depth_ros.datatypes import Depth
from depth_ros.estimators.filters import confidence_image
from depth_ros.messages.fill import POINT_FIELDS, fill_camera_info, fill_depth, fill_header, fill_points
from depth_ros.nodes.outputs.publishers import Publishers, point_cloud
from depth_ros.nodes.topics import Topic

DEPTH_TOPICS = (
    Topic("depth/image_rect", Image, "out", "Depth along the optical axis; 32FC1 in m or 16UC1 in mm."),
    Topic("depth/camera_info", CameraInfo, "out", "Calibration of the depth image."),
    Topic(
        "depth/confidence", Image, "out",
        "Probability (32FC1) of a disparity error below 1 px, for one camera of a depth error below 10 %; invalid "
        "pixels are 0. Only from models with standard deviations.",
    ),
    Topic("points", PointCloud2, "out", "Points in the optical frame with their colours (x, y, z, rgb)."),
)  # fmt: skip


@dataclass(frozen=True)
class DepthOutputSettings:
    """Parameters of the nodes that publish depth."""

    depth_encoding: str = setting(
        "32FC1",
        "Encoding of the depth image: 32FC1 is in m with NaN for invalid pixels, 16UC1 in mm with 0.",
        choices=("32FC1", "16UC1"),
        dynamic=True,
    )
    point_stride: int = setting(
        1, "Step between the rows and columns of the point cloud. Increase it for a smaller cloud.", "px", 1, 16,
        dynamic=True,
    )  # fmt: skip


class DepthOutput:
    """Fills and publishes those messages that have subscribers. They are reused: publishing copies them."""

    def __init__(self, publishers: Publishers, warn: Callable[[str], None]) -> None:
        self._publishers, self._warn = publishers, warn
        self._image, self._info, self._points = Image(), CameraInfo(), point_cloud(POINT_FIELDS)
        self._confidence = Image()

    def publish(self, depth: Depth, kept: Depth, settings: DepthOutputSettings) -> None:
        """Publish one frame, before and after the filters."""
        for message in (self._image, self._info, self._points, self._confidence):
            fill_header(message.header, depth.stamp, depth.frame_id)
        if self._publishers.has_subscribers("depth/image_rect"):
            fill_depth(self._image, kept.depth, settings.depth_encoding)
            self._publishers.publish("depth/image_rect", self._image)
        if self._publishers.has_subscribers("depth/camera_info"):
            fill_camera_info(self._info, depth.camera)
            self._publishers.publish("depth/camera_info", self._info)
        if self._publishers.has_subscribers("points"):
            fill_points(self._points, kept, settings.point_stride)
            self._publishers.publish("points", self._points)
        if self._publishers.has_subscribers("depth/confidence"):
            self._publish_confidence(depth)

    def _publish_confidence(self, depth: Depth) -> None:
        confidence = confidence_image(depth)
        if confidence is None:
            self._warn("the model gives no standard deviations: depth/confidence is not published")
            return
        fill_depth(self._confidence, confidence)
        self._publishers.publish("depth/confidence", self._confidence)
