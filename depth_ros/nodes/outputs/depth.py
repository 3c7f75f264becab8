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

UP_TO_SCALE = "_up_to_scale"
_WITHOUT_SCALE = "a model of scale up_to_scale"
UP_TO_SCALE_TOPICS = (
    Topic("depth_up_to_scale/image_rect", Image, "out",
          "Depth in an unknown unit, 32FC1, while the scale is unknown.", _WITHOUT_SCALE),
    Topic("depth_up_to_scale/camera_info", CameraInfo, "out", "Calibration of the depth image.", _WITHOUT_SCALE),
    Topic("depth_up_to_scale/confidence", Image, "out", "As depth/confidence.", _WITHOUT_SCALE),
    Topic("points_up_to_scale", PointCloud2, "out", "Points in the same unit, with their colours.", _WITHOUT_SCALE),
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
    """Fills and publishes those messages that have subscribers. They are reused: publishing copies them.

    suffix: of the names of `DEPTH_TOPICS`, or UP_TO_SCALE.
    """

    def __init__(self, publishers: Publishers, warn: Callable[[str], None], suffix: str = "") -> None:
        self._publishers, self._warn = publishers, warn
        self._depth_topic, self._points_topic = f"depth{suffix}", f"points{suffix}"
        self._image, self._info, self._points = Image(), CameraInfo(), point_cloud(POINT_FIELDS)
        self._confidence = Image()

    def publish(self, depth: Depth, kept: Depth, settings: DepthOutputSettings) -> None:
        """Publish one frame, before and after the filters."""
        for message in (self._image, self._info, self._points, self._confidence):
            fill_header(message.header, depth.stamp, depth.frame_id)
        if self._publishers.has_subscribers(f"{self._depth_topic}/image_rect"):
            fill_depth(self._image, kept.depth, settings.depth_encoding)
            self._publishers.publish(f"{self._depth_topic}/image_rect", self._image)
        if self._publishers.has_subscribers(f"{self._depth_topic}/camera_info"):
            fill_camera_info(self._info, depth.camera)
            self._publishers.publish(f"{self._depth_topic}/camera_info", self._info)
        if self._publishers.has_subscribers(self._points_topic):
            fill_points(self._points, kept, settings.point_stride)
            self._publishers.publish(self._points_topic, self._points)
        if self._publishers.has_subscribers(f"{self._depth_topic}/confidence"):
            self._publish_confidence(depth)

    def _publish_confidence(self, depth: Depth) -> None:
        confidence = confidence_image(depth)
        if confidence is None:
            self._warn(
                f"the model gives no standard deviations: {self._depth_topic}/confidence is not published"
            )
            return
        fill_depth(self._confidence, confidence)
        self._publishers.publish(f"{self._depth_topic}/confidence", self._confidence)
