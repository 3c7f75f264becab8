"""Values to ROS messages. Messages are written by attribute: those of rclpy and of rosbags are accepted.

Pixels and points are written into the message's own buffer, which is kept while its size stays the same. In rclpy that
buffer is an `array.array("B")`, the only type that the setter accepts without checking every byte.
"""

from __future__ import annotations

import array

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Depth, Disparity, ObjectMotion, Planes, Points, Pose, Scan
from depth_ros.errors import DepthRosError
from depth_ros.geometry import quaternion_from_matrix, rays
from depth_ros.messages import protocols

POINT_FIELDS = (("x", 0), ("y", 4), ("z", 8), ("rgb", 12))
"""Names and byte offsets of the fields (FLOAT32) that `fill_points` writes."""

FILTERED_POINT_FIELDS = (*POINT_FIELDS, ("std", 16))
"""Names and byte offsets of the fields (FLOAT32) that `fill_filtered_points` writes."""

XYZ_FIELDS = POINT_FIELDS[:3]
"""Names and byte offsets of the fields (FLOAT32) that `fill_xyz` writes."""

PLANE_POINT_FIELDS = tuple(
    (name, 4 * i)
    for i, name in enumerate(("x", "y", "z", "rgb", "normal_x", "normal_y", "normal_z", "curvature"))
)
"""Names and byte offsets of the fields (FLOAT32) that `fill_plane_points` writes; the names are those of PCL's
PointXYZRGBNormal."""

MOVING_POINT_FIELDS = tuple(
    (name, 4 * i)
    for i, name in enumerate(
        ("x", "y", "z", "vx", "vy", "vz", "vxx", "vxy", "vxz", "vyy", "vyz", "vzz", "id")
    )
)
"""Names and byte offsets of the fields that `fill_moving_points` writes: position, velocity, covariance of the velocity
(FLOAT32) and id (UINT32)."""


def fill_header(header: protocols.Header, stamp: int, frame_id: str) -> None:
    """Write a stamp, ns, and a frame id."""
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    header.frame_id = frame_id


def _buffer(message: protocols.Image | protocols.PointCloud2, size: int) -> np.ndarray:
    """Writable (size,) uint8 view of `message.data`, which is replaced if its size differs."""
    if len(message.data) != size:
        is_rclpy = isinstance(message.data, array.array)
        message.data = array.array("B", bytes(size)) if is_rclpy else np.empty(size, np.uint8)
    return np.frombuffer(message.data, np.uint8)


def fill_image(message: protocols.Image, pixels: np.ndarray, encoding: str) -> None:
    """Write pixels (H, W) or (H, W, C) and their encoding; the header is not changed."""
    message.height, message.width = pixels.shape[:2]
    message.encoding, message.is_bigendian = encoding, 0
    message.step = pixels.nbytes // pixels.shape[0]
    stored = pixels.dtype.newbyteorder("<")
    _buffer(message, pixels.nbytes).view(stored).reshape(pixels.shape)[...] = pixels


def fill_depth(message: protocols.Image, depth: np.ndarray, encoding: str = "32FC1") -> None:
    """Write depth (H, W), m, as 32FC1 (m, invalid = NaN) or 16UC1 (mm, invalid or above 65.535 m = 0)."""
    depth = np.asarray(depth, np.float32)
    if encoding == "16UC1":
        millimetres = np.rint(depth * 1000)
        depth = np.where((millimetres > 0) & (millimetres <= 65535), millimetres, 0).astype(np.uint16)
    elif encoding != "32FC1":
        raise DepthRosError(f"depth cannot be encoded as '{encoding}'; use 32FC1 or 16UC1")
    fill_image(message, depth, encoding)


def fill_disparity(
    message: protocols.DisparityImage, result: Disparity, disparity_range: int, step: float
) -> None:
    """Write disparities from 0 to `disparity_range`, px; the header is not changed.

    Invalid pixels are -1, below `min_disparity`, as in stereo_image_proc. step: px, resolution of the disparities.
    `Disparity.offset`, the disparity at infinity, is subtracted, so that Z = f t / d.
    """
    shifted = result.disparity - np.float32(result.offset)
    valid = np.isfinite(shifted) & (shifted >= 0) & (shifted <= disparity_range)
    fill_image(message.image, np.where(valid, shifted, np.float32(-1)), "32FC1")
    message.image.header = message.header
    message.f = float(result.camera.fx)
    setattr(message, "t" if hasattr(message, "t") else "T", float(result.baseline))
    message.min_disparity, message.max_disparity = 0.0, float(disparity_range)
    message.delta_d = float(step)
    window = message.valid_window
    window.x_offset = window.y_offset = 0
    window.height, window.width = result.disparity.shape


def fill_camera_info(message: protocols.CameraInfo, camera: Camera) -> None:
    """Write a camera; the header is not changed."""
    distortion = camera.distortion or (0.0,) * 5
    is_rclpy = isinstance(message.d, array.array)
    message.height, message.width = camera.height, camera.width
    message.distortion_model = camera.distortion_model if camera.distortion else "plumb_bob"
    message.d = array.array("d", distortion) if is_rclpy else np.array(distortion, np.float64)
    message.k, message.r, message.p = (
        np.array(m, np.float64).ravel() for m in (camera.K, camera.R, camera.P)
    )


def fill_points(message: protocols.PointCloud2, depth: Depth, stride: int = 1) -> None:
    """Write every stride-th pixel of every stride-th row as an organised cloud of x y z (m, optical frame) and rgb.

    Invalid depth becomes NaN, never Inf (MoveIt's octomap drops NaN only). rgb is 0x00RRGGBB in the bytes of a float32,
    as in PCL. `message.fields` must be `POINT_FIELDS`; the header is not changed.
    """
    z = depth.depth[::stride, ::stride]
    height, width = z.shape
    message.height, message.width = height, width
    message.point_step, message.row_step = 16, 16 * width
    message.is_bigendian, message.is_dense = False, False
    points = _buffer(message, 16 * height * width).view(np.float32).reshape(height, width, 4)
    z = np.where(np.isfinite(z), z, np.float32(np.nan))
    directions = rays(depth.camera)
    x, y = directions[0, ::stride, 0] * z, directions[::stride, :1, 1] * z
    bgra = cv2.cvtColor(np.ascontiguousarray(depth.image[::stride, ::stride]), cv2.COLOR_RGB2BGRA)
    rgb = (bgra.view("<u4")[..., 0] & 0xFFFFFF).view(np.float32)  # an alpha of 255 would make it a NaN
    cv2.merge([x, y, z, rgb], dst=points)  # three times as fast as assigning the strided planes in numpy


def fill_plane_points(message: protocols.PointCloud2, depth: Depth, planes: Planes, stride: int = 1) -> None:
    """Write every stride-th pixel as an organised cloud of points on their planes, with the normals of the planes.

    x y z (m, optical frame), rgb as in `fill_points`, the unit normal towards the camera and curvature 0. Pixels
    without a plane are NaN. `message.fields` must be `PLANE_POINT_FIELDS`; the header is not changed.
    """
    labels = planes.labels[::stride, ::stride]
    height, width = labels.shape
    message.height, message.width = height, width
    message.point_step, message.row_step = 32, 32 * width
    message.is_bigendian, message.is_dense = False, False
    points = _buffer(message, 32 * labels.size).view(np.float32).reshape(height, width, 8)
    no_plane = np.full((1, 4), np.nan)  # last row, selected by label -1
    equations = np.vstack([planes.equations, no_plane]).astype(np.float32)[labels]
    directions = rays(depth.camera)[::stride, ::stride]
    slope = (directions * equations[..., :3]).sum(axis=-1)
    z = -equations[..., 3] / np.where(
        slope < 0, slope, np.nan
    )  # planes are visible from the side of their normal only
    points[..., :3] = directions * z[..., None]
    rgb = depth.image[::stride, ::stride].astype(np.uint32)
    points[..., 3] = (rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]).view(np.float32)
    points[..., 4:7] = equations[..., :3]
    points[..., 7] = equations[..., 3] * 0


def fill_moving_points(
    message: protocols.PointCloud2, points: list[np.ndarray], objects: list[ObjectMotion]
) -> None:
    """Write points (N, 3), m, of every object as an unorganised cloud with velocity, covariance and id of their object.

    Velocities are in m/s in the frame of the header, ego-motion removed. `message.fields` must be
    `MOVING_POINT_FIELDS`; the header is not changed.
    """
    count, size = sum(map(len, points)), 4 * len(MOVING_POINT_FIELDS)
    message.height, message.width, message.point_step, message.row_step = 1, count, size, size * count
    message.is_bigendian, message.is_dense = False, True
    rows = _buffer(message, size * count).view(np.float32).reshape(count, len(MOVING_POINT_FIELDS))
    start = 0
    for own_points, each in zip(points, objects, strict=True):
        part = rows[start : start + len(own_points)]
        part[:, :3], part[:, 3:6] = own_points, each.velocity
        part[:, 6:12] = each.covariance[np.triu_indices(3)]
        part[:, 12].view(np.uint32)[:] = each.label
        start += len(own_points)


def fill_filtered_points(message: protocols.PointCloud2, points: Points) -> None:
    """Write an unorganised cloud of x y z (m), rgb as in `fill_points`, and std (m, NaN = unknown).

    `message.fields` must be `FILTERED_POINT_FIELDS`; the header is not changed.
    """
    rows = _unorganised(message, len(points.xyz), len(FILTERED_POINT_FIELDS))
    red, green, blue = points.rgb.astype(np.uint32).T
    rows[:, :3], rows[:, 3] = points.xyz, (red << 16 | green << 8 | blue).view(np.float32)
    rows[:, 4] = np.nan if points.std is None else points.std


def fill_xyz(message: protocols.PointCloud2, points: np.ndarray) -> None:
    """Write points (N, 3), m, as an unorganised cloud with the fields `XYZ_FIELDS`; the header is not changed."""
    _unorganised(message, len(points), 3)[...] = points


def _unorganised(message: protocols.PointCloud2, count: int, fields: int) -> np.ndarray:
    """Writable (count, fields) float32 rows of a cloud without rows and columns."""
    message.height, message.width, message.point_step, message.row_step = (
        1,
        count,
        4 * fields,
        4 * fields * count,
    )
    message.is_bigendian, message.is_dense = False, True
    return _buffer(message, 4 * fields * count).view(np.float32).reshape(count, fields)


def fill_scan(message: protocols.LaserScan, scan: Scan, scan_time: float) -> None:
    """Write a scan; the header is not changed. scan_time: s since the scan before, 0 for the first one."""
    last = scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1)
    message.angle_min, message.angle_max, message.angle_increment = scan.angle_min, last, scan.angle_increment
    message.time_increment, message.scan_time = 0.0, scan_time
    message.range_min, message.range_max = 0.0, scan.range_max
    is_rclpy = isinstance(message.ranges, array.array)
    message.ranges = array.array("f", scan.ranges.tobytes()) if is_rclpy else scan.ranges


def fill_odometry(message: protocols.Odometry, pose: Pose, frame_id: str, child_frame_id: str) -> None:
    """Write a pose of `child_frame_id` in `frame_id`, and the header; the twist is not changed."""
    fill_header(message.header, pose.stamp, frame_id)
    message.child_frame_id = child_frame_id
    fill_pose(message.pose.pose, pose.T)
    message.pose.covariance = np.array(pose.covariance, np.float64).ravel()


def fill_pose(message: protocols.Pose, T: np.ndarray) -> None:
    """Write T (4, 4)."""
    message.position.x, message.position.y, message.position.z = (float(v) for v in T[:3, 3])
    fill_quaternion(message.orientation, T[:3, :3])


def fill_transform(message: protocols.Transform, T: np.ndarray) -> None:
    """Write T (4, 4)."""
    message.translation.x, message.translation.y, message.translation.z = (float(v) for v in T[:3, 3])
    fill_quaternion(message.rotation, T[:3, :3])


def fill_quaternion(message: protocols.Quaternion, R: np.ndarray) -> None:
    """Write R (3, 3)."""
    message.x, message.y, message.z, message.w = (float(v) for v in quaternion_from_matrix(R))


def fill_twist(message: protocols.TwistWithCovariance, twist: np.ndarray, covariance: np.ndarray) -> None:
    """Write a twist (6,), m/s and rad/s, and its covariance (6, 6)."""
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = (float(v) for v in twist)
    message.covariance = np.array(covariance, np.float64).ravel()
