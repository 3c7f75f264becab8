"""The topics of camera drivers, read in their sources: what a robot with such a camera has on its graph."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

import pytest

pytest.importorskip("rclpy")

from nav_msgs.msg import Odometry, Path
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, PointCloud2


@dataclass(frozen=True)
class Stream:
    """Images with their camera_info. right: of the second camera of a rectified pair.

    rotation: in R of camera_info, rad. info_frame_id: of camera_info, if it is another one.
    """

    topic: str
    encoding: str
    frame_id: str
    distorted: bool = False
    right: bool = False
    rotation: float = 0.0
    info_frame_id: str = ""

    @property
    def camera_info(self) -> str:
        """Beside the image, as in image_transport."""
        return posixpath.join(posixpath.dirname(self.topic), "camera_info")


@dataclass(frozen=True)
class Driver:
    """node: fully qualified name. others: further topics and their types."""

    node: str
    streams: tuple[Stream, ...]
    others: dict[str, type]

    @property
    def topics(self) -> dict[str, type]:
        """All topics of the driver with their types."""
        infos = {stream.camera_info: CameraInfo for stream in self.streams}
        return {stream.topic: Image for stream in self.streams} | infos | self.others

    def stream(self, topic: str) -> Stream:
        return next(stream for stream in self.streams if stream.topic == topic)


def usb(node: str) -> Driver:
    stream = Stream("/image_raw", "rgb8", "camera", distorted=True)
    return Driver(node, (stream,), {"/image_raw/compressed": CompressedImage})


CAMERA, ZED, OAK = "/camera/camera", "/zed/zed_node", "/oak"
COLOR, ZED_LEFT, OAK_RGB = (
    "camera_color_optical_frame",
    "zed_left_camera_frame_optical",
    "oak_rgb_camera_optical_frame",
)
DRIVERS = {
    "usb_cam": usb("/usb_cam"),
    "v4l2": usb("/v4l2_camera"),
    "realsense": Driver(
        "/camera/camera",
        (
            Stream(f"{CAMERA}/color/image_raw", "rgb8", COLOR, distorted=True),
            Stream(f"{CAMERA}/infra1/image_rect_raw", "mono8", "camera_infra1_optical_frame"),
            Stream(f"{CAMERA}/infra2/image_rect_raw", "mono8", "camera_infra2_optical_frame", right=True,
                   info_frame_id="camera_infra1_optical_frame"),
            Stream(f"{CAMERA}/depth/image_rect_raw", "16UC1", "camera_depth_optical_frame"),
            Stream(f"{CAMERA}/aligned_depth_to_color/image_raw", "16UC1", COLOR, distorted=True),
        ),
        {f"{CAMERA}/depth/color/points": PointCloud2, f"{CAMERA}/imu": Imu},
    ),
    "zed": Driver(
        "/zed/zed_node",
        (
            Stream(f"{ZED}/rgb/color/rect/image", "bgra8", ZED_LEFT),
            Stream(f"{ZED}/left/color/rect/image", "bgra8", ZED_LEFT),
            Stream(f"{ZED}/right/color/rect/image", "bgra8", "zed_right_camera_frame_optical", right=True),
            Stream(f"{ZED}/depth/depth_registered", "32FC1", ZED_LEFT),
        ),
        {
            f"{ZED}/odom": Odometry, f"{ZED}/path_odom": Path, f"{ZED}/imu/data": Imu,
            f"{ZED}/point_cloud/cloud_registered": PointCloud2,
        },
    ),
    "oak": Driver(
        "/oak",
        (
            Stream(f"{OAK}/rgb/image_raw", "bgr8", OAK_RGB, distorted=True),
            Stream(f"{OAK}/left/image_rect", "mono8", "oak_left_camera_optical_frame", rotation=0.01),
            Stream(f"{OAK}/right/image_rect", "mono8", "oak_right_camera_optical_frame", right=True, rotation=-0.01),
            Stream(f"{OAK}/stereo/image_raw", "16UC1", OAK_RGB),
        ),
        {f"{OAK}/points": PointCloud2, f"{OAK}/imu/data": Imu},
    ),
    "gazebo": Driver(
        "/ros_gz_bridge",
        (
            Stream("/camera/image", "rgb8", "camera_link"),
            Stream("/camera/depth_image", "32FC1", "camera_link"),
            Stream("/camera/left/image", "rgb8", "left_camera_link"),
            Stream("/camera/right/image", "rgb8", "right_camera_link", right=True),
        ),
        {"/camera/points": PointCloud2, "/camera/imu": Imu, "/odom": Odometry},
    ),
}  # fmt: skip
"""Those of realsense2_camera 4.57, zed_wrapper 5.4, depthai_ros_driver 3, usb_cam 0.8 and v4l2_camera 0.7; and of
ros_gz_bridge with sensors whose <topic> is camera."""
