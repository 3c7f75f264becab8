"""Filling of messages of rosbags; messages of rclpy are tested in test/nodes."""

from __future__ import annotations

import array
import copy
from types import SimpleNamespace

import numpy as np
import pytest
from rosbags_messages import TYPES, camera_info, header, image

from depth_ros.datatypes import Camera, Depth, Disparity, ObjectMotion, Planes, Points, Pose, Scan
from depth_ros.errors import DepthRosError
from depth_ros.messages.calibration import camera_from
from depth_ros.messages.decode import decode_image, depth_from, disparity_from, stamp_ns
from depth_ros.messages.fill import (
    MOVING_POINT_FIELDS,
    PLANE_POINT_FIELDS,
    fill_camera_info,
    fill_depth,
    fill_disparity,
    fill_filtered_points,
    fill_image,
    fill_moving_points,
    fill_odometry,
    fill_plane_points,
    fill_points,
    fill_scan,
    fill_xyz,
)

EMPTY = np.zeros(0, np.uint8)


def test_depth_is_written_and_read_in_metres_and_millimetres():
    depth = np.array([[1.2344, np.nan, 65.535, 65.54], [0.0004, 0.0006, 3.0, 100.0]], np.float32)
    message = image(1, 1, "", b"0")
    fill_depth(message, depth, "32FC1")
    assert (message.encoding, message.step) == ("32FC1", 16)
    assert np.array_equal(depth_from(message), depth, equal_nan=True)
    fill_depth(message, depth, "16UC1")
    assert message.data.view("<u2").tolist() == [1234, 0, 65535, 0, 0, 1, 3000, 0]
    expected = np.array([[1.234, np.nan, 65.535, np.nan], [np.nan, 0.001, 3.0, np.nan]], np.float32)
    np.testing.assert_allclose(depth_from(message), expected, rtol=1e-6)


def test_depth_in_another_encoding_is_rejected():
    with pytest.raises(DepthRosError, match="'mono8'; use 32FC1 or 16UC1"):
        fill_depth(image(1, 1, "", b""), np.ones((2, 2), np.float32), "mono8")


def test_filtered_points_and_scans():
    points = Points(
        np.array([[1, 2, 3], [4, 5, 6]], np.float32), np.array([[255, 1, 2], [0, 0, 7]], np.uint8), None
    )
    message = SimpleNamespace(data=EMPTY)
    fill_filtered_points(message, points)
    rows = message.data.view("<f4").reshape(2, 5)
    assert np.array_equal(rows[:, :3], points.xyz) and np.isnan(rows[:, 4]).all()
    assert rows[:, 3].view("<u4").tolist() == [0xFF0102, 7] and (message.width, message.row_step) == (2, 40)
    fill_filtered_points(message, Points(points.xyz[:0], points.rgb[:0]))
    assert (message.width, len(message.data)) == (0, 0)
    fill_xyz(message, points.xyz)
    assert message.data.view("<f4").tolist() == [1, 2, 3, 4, 5, 6] and message.point_step == 12
    scan = SimpleNamespace(ranges=np.zeros(0))
    fill_scan(scan, Scan(0, -0.5, 0.25, np.array([1, np.inf, np.nan], np.float32), 8.0), 0.1)
    assert (scan.angle_min, scan.angle_max, scan.angle_increment, scan.range_max) == (-0.5, 0.0, 0.25, 8.0)
    assert scan.ranges[0] == 1 and np.isinf(scan.ranges[1]) and np.isnan(scan.ranges[2])


def test_disparity_is_written_relative_to_infinity_and_invalid_below_its_range():
    """Offset 2 px: a disparity of 5 px becomes 3 px; below 0 px, above 10 px and NaN become -1."""
    camera = Camera.pinhole(4, 1, 50.0, 50.0, 2.0, 0.5)
    values = np.array([[5.0, 1.0, 12.5, np.nan]], np.float32)
    result = Disparity(7, "left", values, camera, np.zeros((1, 4, 3), np.uint8), baseline=0.1, offset=2.0)
    message = SimpleNamespace(
        header=header(), image=image(1, 1, "", b""), t=0.0, valid_window=SimpleNamespace()
    )
    fill_disparity(message, result, disparity_range=10, step=0.25)
    assert (message.f, message.t, message.delta_d) == (50.0, 0.1, 0.25)
    assert (message.min_disparity, message.max_disparity) == (0.0, 10.0)
    assert message.image.data.view("<f4").tolist() == [3.0, -1.0, -1.0, -1.0]
    assert np.array_equal(disparity_from(message), [[3.0, np.nan, np.nan, np.nan]], equal_nan=True)


@pytest.mark.parametrize("empty", [EMPTY, array.array("B")], ids=["rosbags", "rclpy"])
def test_the_buffer_of_a_message_is_kept_while_its_size_stays(empty):
    message = image(1, 1, "", b"")
    message.data = copy.copy(empty)
    fill_depth(message, np.ones((4, 6), np.float32))
    first = message.data
    assert type(first) is type(empty)
    fill_depth(message, np.full((4, 6), 2, np.float32))
    assert message.data is first and np.all(depth_from(message) == 2)
    fill_depth(message, np.ones((4, 5), np.float32))
    assert len(message.data) == 80


def test_non_contiguous_pixels_are_written():
    rgb = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
    message = image(1, 1, "", b"")
    fill_image(message, rgb[::2, ::2], "rgb8")
    assert (message.height, message.width, message.step) == (12, 16, 48)
    assert np.array_equal(decode_image(message), rgb[::2, ::2])


def test_camera_info_is_written_and_read():
    camera = camera_from(camera_info(d=[0.1, -0.2, 0.001, 0.002, 0.003]))
    message = camera_info(width=1, height=1)
    fill_camera_info(message, camera)
    again = camera_from(message)
    assert again.distortion == camera.distortion and np.array_equal(again.K, camera.K)
    fill_camera_info(message, camera.rectified())
    assert message.d.tolist() == [0.0] * 5 and camera_from(message).is_rectified


@pytest.mark.parametrize("stride", [1, 3])
def test_points_have_position_and_colour_of_every_stride_th_pixel(stride):
    """Against the pinhole formula; invalid depth becomes NaN."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 9, (20, 31)).astype(np.float32)
    depth[0, 0], depth[3, 3] = np.nan, np.inf
    colours = rng.integers(0, 256, (20, 31, 3), np.uint8)
    camera = Camera.pinhole(31, 20, 25.0, 26.0, 15.0, 9.0)
    message = SimpleNamespace(data=array.array("B"))
    fill_points(message, Depth(0, "", depth, camera, colours), stride)
    rows, columns = -(-20 // stride), -(-31 // stride)
    assert (message.height, message.width) == (rows, columns)
    assert (message.point_step, message.row_step, len(message.data)) == (
        16,
        16 * columns,
        16 * columns * rows,
    )
    assert message.is_dense is False and message.is_bigendian is False
    points = np.frombuffer(message.data, "<f4").reshape(rows, columns, 4)
    v, u = np.mgrid[0:20:stride, 0:31:stride]
    z = np.where(np.isfinite(depth), depth, np.nan)[::stride, ::stride]
    np.testing.assert_allclose(points[..., 0], (u - 15) / 25 * z, rtol=1e-5)
    np.testing.assert_allclose(points[..., 1], (v - 9) / 26 * z, rtol=1e-5)
    np.testing.assert_array_equal(points[..., 2], z)
    assert np.isnan(points[0, 0, :3]).all() and np.isnan(points[3 // stride, 3 // stride, :3]).all()
    packed = np.frombuffer(message.data, np.uint8).reshape(rows, columns, 16)[..., 12:]
    assert np.array_equal(packed[..., 2::-1], colours[::stride, ::stride]) and not packed[..., 3].any()


def test_plane_points_lie_on_their_plane_and_have_its_normal():
    """A wall 2 m away in the left half, tilted by the slope 0.5; no plane in the right half."""
    camera = Camera.pinhole(6, 4, 10.0, 10.0, 3.0, 2.0)
    n = np.array([0.5, 0.0, -1.0]) / np.sqrt(1.25)
    equation = np.append(n, -n @ [0.0, 0.0, 2.0])
    labels = np.full((4, 6), -1, np.int32)
    labels[:, :3] = 0
    depth = Depth(0, "", np.ones((4, 6), np.float32), camera, np.full((4, 6, 3), 9, np.uint8))
    message = SimpleNamespace(data=array.array("B"))
    fill_plane_points(message, depth, Planes(labels, equation[None]))
    assert message.point_step == 4 * len(PLANE_POINT_FIELDS)
    points = np.frombuffer(message.data, "<f4").reshape(4, 6, 8)
    assert np.isnan(np.delete(points[:, 3:], 3, axis=-1)).all() and np.isfinite(points[:, :3]).all()
    np.testing.assert_allclose(points[:, :3, :3] @ n + equation[3], 0, atol=1e-6)
    np.testing.assert_allclose(points[1, 0, :3], [-0.3 * 2 / 1.15, -0.1 * 2 / 1.15, 2 / 1.15], rtol=1e-5)
    np.testing.assert_allclose(points[:, :3, 4:7], np.broadcast_to(n, (4, 3, 3)), rtol=1e-6)


def test_moving_points_have_velocity_covariance_and_id_of_their_object():
    covariance = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    one, two = (
        ObjectMotion(
            label, np.ones((1, 1), bool), np.eye(4), np.zeros(3), np.array([label, 0.5, -1]), covariance
        )
        for label in (3, 1 << 20)
    )
    points = [np.arange(6.0).reshape(2, 3), np.full((1, 3), 7.0)]
    message = SimpleNamespace(data=array.array("B"))
    fill_moving_points(message, points, [one, two])
    types = [(name, "<u4" if name == "id" else "<f4") for name, _ in MOVING_POINT_FIELDS]
    rows = np.frombuffer(message.data, np.dtype(types))
    assert (message.height, message.width, message.row_step) == (1, 3, 3 * message.point_step)
    assert rows["id"].tolist() == [3, 3, 1 << 20] and rows["vx"].tolist() == [3, 3, 1 << 20]
    assert rows["y"].tolist() == [1, 4, 7] and rows["vz"].tolist() == [-1, -1, -1]
    assert [rows[name][0] for name in ("vxx", "vxy", "vxz", "vyy", "vyz", "vzz")] == [1, 2, 3, 4, 5, 6]
    fill_moving_points(message, [], [])
    assert (message.width, len(message.data)) == (0, 0)


def test_odometry_has_pose_covariance_and_frames():
    point = TYPES["geometry_msgs/msg/Point"](0, 0, 0)
    quaternion = TYPES["geometry_msgs/msg/Quaternion"](0, 0, 0, 1)
    pose = TYPES["geometry_msgs/msg/PoseWithCovariance"](
        TYPES["geometry_msgs/msg/Pose"](point, quaternion), None
    )
    message = TYPES["nav_msgs/msg/Odometry"](header(), "", pose, None)
    T = np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    fill_odometry(message, Pose(7, T, np.diag(np.arange(6.0))), "map", "camera")
    assert stamp_ns(message.header) == 7
    assert (message.header.frame_id, message.child_frame_id) == ("map", "camera")
    assert (point.x, point.y, point.z) == (1, 2, 3)
    assert (quaternion.z, quaternion.w) == pytest.approx((np.sqrt(0.5), np.sqrt(0.5)))
    assert message.pose.covariance.reshape(6, 6)[5, 5] == 5
