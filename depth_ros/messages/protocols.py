"""Attributes of the ROS messages that are read and written, whether they are classes of rclpy or of rosbags."""

from __future__ import annotations

import array
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

Data: TypeAlias = "array.array[int] | np.ndarray | bytes"
Numbers: TypeAlias = "array.array[float] | np.ndarray"


class Time(Protocol):
    """builtin_interfaces/Time."""

    sec: int
    nanosec: int


class Header(Protocol):
    """std_msgs/Header."""

    stamp: Time
    frame_id: str


class Image(Protocol):
    """sensor_msgs/Image."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Data


@runtime_checkable
class CompressedImage(Protocol):
    """sensor_msgs/CompressedImage."""

    header: Header
    format: str
    data: Data


class RegionOfInterest(Protocol):
    """sensor_msgs/RegionOfInterest."""

    x_offset: int
    y_offset: int
    height: int
    width: int


class CameraInfo(Protocol):
    """sensor_msgs/CameraInfo of ROS 2. In ROS 1 the names of the matrices are D, K, R and P."""

    header: Header
    height: int
    width: int
    distortion_model: str
    d: Numbers
    k: Numbers
    r: Numbers
    p: Numbers
    binning_x: int
    binning_y: int
    roi: RegionOfInterest


class DisparityImage(Protocol):
    """stereo_msgs/DisparityImage. The baseline is the attribute `t` in ROS 2 and `T` in ROS 1."""

    header: Header
    image: Image
    f: float
    valid_window: RegionOfInterest
    min_disparity: float
    max_disparity: float
    delta_d: float


class PointCloud2(Protocol):
    """sensor_msgs/PointCloud2 without its fields, which the caller sets."""

    header: Header
    height: int
    width: int
    is_bigendian: bool
    point_step: int
    row_step: int
    data: Data
    is_dense: bool


class LaserScan(Protocol):
    """sensor_msgs/LaserScan without intensities."""

    header: Header
    angle_min: float
    angle_max: float
    angle_increment: float
    time_increment: float
    scan_time: float
    range_min: float
    range_max: float
    ranges: Numbers


class Vector3(Protocol):
    """geometry_msgs/Vector3 or Point."""

    x: float
    y: float
    z: float


class Quaternion(Protocol):
    """geometry_msgs/Quaternion."""

    x: float
    y: float
    z: float
    w: float


class Pose(Protocol):
    """geometry_msgs/Pose."""

    position: Vector3
    orientation: Quaternion


class PoseWithCovariance(Protocol):
    """geometry_msgs/PoseWithCovariance."""

    pose: Pose
    covariance: Numbers


class Transform(Protocol):
    """geometry_msgs/Transform."""

    translation: Vector3
    rotation: Quaternion


class Twist(Protocol):
    """geometry_msgs/Twist."""

    linear: Vector3
    angular: Vector3


class TwistWithCovariance(Protocol):
    """geometry_msgs/TwistWithCovariance."""

    twist: Twist
    covariance: Numbers


class Odometry(Protocol):
    """nav_msgs/Odometry."""

    header: Header
    child_frame_id: str
    pose: PoseWithCovariance
    twist: TwistWithCovariance
