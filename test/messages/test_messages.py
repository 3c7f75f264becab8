"""messages.py on real messages of rosbags (ROS 2 and ROS 1 types); the rclpy ones are in test/nodes."""

from __future__ import annotations

import array
import copy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from depth_ros import messages
from depth_ros.datatypes import Camera, Depth, ObjectMotion, Pose
from depth_ros.errors import DepthRosError

TYPES = get_typestore(Stores.ROS2_HUMBLE).types
TYPES_ROS1 = get_typestore(Stores.ROS1_NOETIC).types
EMPTY = np.zeros(0, np.uint8)


def header(stamp: int = 5_000_000_007, frame_id: str = "optical"):
    sec, nanosec = divmod(stamp, 10**9)
    time = TYPES["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return TYPES["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image(width, height, encoding, data, step=None, is_bigendian=0):
    data = np.frombuffer(bytes(data), np.uint8)
    step = len(data) // max(height, 1) if step is None else step
    return TYPES["sensor_msgs/msg/Image"](
        header=header(),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=step,
        data=data,
    )


def camera_info(types=TYPES, width=640, height=480, k=None, d=(), p=None, r=None, model="plumb_bob", **more):
    K = [500.0, 0, 320, 0, 510, 240, 0, 0, 1] if k is None else k
    values = {"k": K, "d": d, "r": np.eye(3).ravel() if r is None else r,
              "p": [500.0, 0, 320, 0, 0, 510, 240, 0, 0, 0, 1, 0] if p is None else p}  # fmt: skip
    values = {name: np.array(value, np.float64) for name, value in values.items()}
    if types is TYPES_ROS1:
        values = {name.upper(): value for name, value in values.items()}
    roi = dict(zip(("x_offset", "y_offset", "width", "height"), more.pop("roi", (0, 0, 0, 0)), strict=True))
    binning = dict(zip(("binning_x", "binning_y"), more.pop("binning", (0, 0)), strict=True))
    return types["sensor_msgs/msg/CameraInfo"](
        header=header(), width=width, height=height, distortion_model=model, **values, **binning,
        roi=types["sensor_msgs/msg/RegionOfInterest"](**roi, do_rectify=False),
    )  # fmt: skip


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth colour picture, 32 x 24, every channel another: conversions that lose detail keep it."""
    v, u = np.mgrid[0:24, 0:32]
    return np.stack([40 + 5 * u, 200 - 3 * v, 90 + 2 * u + 2 * v], axis=-1).astype(np.uint8)


def encoded(rgb: np.ndarray, encoding: str) -> tuple[bytes, int]:
    """The picture as a driver would send it in `encoding` (little endian), and how far off it may be."""
    name = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8", "yuv422": "uyvy", "yuv422_yuy2": "yuyv",
            "16UC1": "mono16", "16UC3": "bgr16", "16UC4": "bgra16"}.get(encoding, encoding)  # fmt: skip
    if name.endswith("16"):
        wide = np.frombuffer(encoded(rgb, name[:-2] + "8")[0], np.uint8).astype("<u2") * 257
        return wide.tobytes(), encoded(rgb, name[:-2] + "8")[1]
    if name.startswith("bayer"):
        colours = name[len("bayer_") : -1]
        index = np.array(["rgb".index(c) for c in colours]).reshape(2, 2)
        v, u = np.mgrid[0 : rgb.shape[0], 0 : rgb.shape[1]]
        return rgb[v, u, index[v % 2, u % 2]].tobytes(), 8
    if name in ("uyvy", "yuyv", "nv12", "nv21", "nv24"):
        return encoded_yuv(rgb, name), 8
    order = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "rgba8": [0, 1, 2, 3], "bgra8": [2, 1, 0, 3]}
    if name == "mono8":
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).tobytes(), 0
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)])
    return rgba[..., order[name]].tobytes(), 0


def encoded_yuv(rgb: np.ndarray, name: str) -> bytes:
    """BT.601 video range, chroma of the left (and upper) pixel."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = np.rint(16 + 0.257 * r + 0.504 * g + 0.098 * b).astype(np.uint8)
    u = np.rint(128 - 0.148 * r - 0.291 * g + 0.439 * b).astype(np.uint8)
    v = np.rint(128 + 0.439 * r - 0.368 * g - 0.071 * b).astype(np.uint8)
    uv = np.stack([u, v], axis=-1)
    if name == "nv24":
        return y.tobytes() + uv.tobytes()
    if name.startswith("nv"):
        return y.tobytes() + np.ascontiguousarray(uv[::2, ::2, :: 1 if name == "nv12" else -1]).tobytes()
    chroma = uv[:, ::2].reshape(y.shape)
    return np.stack([chroma, y] if name == "uyvy" else [y, chroma], axis=-1).tobytes()


@pytest.mark.parametrize("encoding", messages.ENCODINGS)
def test_every_encoding_becomes_the_same_rgb(rgb, encoding):
    data, tolerance = encoded(rgb, encoding)
    got = messages.decode_image(image(32, 24, encoding, data, step=None if "nv" not in encoding else 32))
    want = rgb if "mono" not in encoding and not encoding.endswith("C1") else np.repeat(
        cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)  # fmt: skip
    assert got.shape == (24, 32, 3) and got.dtype == np.uint8
    inner = (slice(2, -2), slice(2, -2))  # demosaicing guesses at the border
    assert np.abs(got[inner].astype(int) - want[inner]).max() <= tolerance


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_order_of_16_bits(order):
    values = np.array([[0x0101, 0x7F80, 0xFF00], [0x00FF, 0x8000, 0xFFFF]], f"{order}u2")
    got = messages.decode_image(image(3, 2, "mono16", values.tobytes(), is_bigendian=int(order == ">")))
    assert got[..., 0].tolist() == np.rint(values / 257).astype(int).tolist()


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "mono16", "uyvy"])
def test_padding_of_rows_is_skipped(rgb, encoding):
    data, _ = encoded(rgb, encoding)
    rows = np.frombuffer(data, np.uint8).reshape(24, -1)
    padded = np.pad(rows, ((0, 0), (0, 6)), constant_values=255)
    plain = messages.decode_image(image(32, 24, encoding, data))
    assert np.array_equal(messages.decode_image(image(32, 24, encoding, padded.tobytes())), plain)


@pytest.mark.parametrize("padding", [0, 5])
def test_rgb8_is_not_copied(rgb, padding):
    rows = np.pad(rgb.reshape(24, -1), ((0, 0), (0, padding)))
    message = image(32, 24, "rgb8", rows.tobytes())
    assert np.shares_memory(messages.decode_image(message), message.data)


@pytest.mark.parametrize(
    "width, height, encoding, size, step, named",
    [
        (4, 2, "jpeg2000", 24, 12, ["'jpeg2000'", "rgb8", "bayer_rggb8"]),
        (4, 2, "32FC1", 32, 16, ["'32FC1'"]),
        (4, 2, "rgb8", 23, 12, ["23 bytes", "step 12"]),
        (4, 2, "rgb8", 25, 12, ["25 bytes"]),
        (4, 2, "rgb8", 22, 11, ["step 11", "at least 12"]),
        (4, 2, "nv12", 8, 4, ["8 bytes", "3 rows"]),
        (0, 0, "rgb8", 0, 0, ["0x0"]),
        (0, 2, "mono8", 0, 0, ["0x2"]),
        (3, 2, "uyvy", 12, 6, ["3x2", "'uyvy'"]),
    ],
)
def test_bad_images_are_named(width, height, encoding, size, step, named):
    with pytest.raises(DepthRosError) as error:
        messages.decode_image(image(width, height, encoding, bytes(size), step))
    assert all(part in str(error.value) for part in named), error.value


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_compressed(rgb, kind):
    data = cv2.imencode(f".{kind}", rgb[..., ::-1])[1].ravel()
    message = TYPES["sensor_msgs/msg/CompressedImage"](header(), f"rgb8; {kind} compressed bgr8", data)
    got = messages.decode_image(message)
    assert np.abs(got.astype(int) - rgb).max() <= (0 if kind == "png" else 12)


@pytest.mark.parametrize(
    "form, data, named",
    [
        ("jpeg", b"", "0 bytes"),
        ("jpeg", b"no image at all", "damaged"),
        ("16UC1; compressedDepth png", b"x", "depth image"),
    ],
)
def test_bad_compressed_images_are_named(form, data, named):
    message = TYPES["sensor_msgs/msg/CompressedImage"](header(), form, np.frombuffer(data, np.uint8))
    with pytest.raises(DepthRosError, match=named):
        messages.decode_image(message)


@pytest.mark.parametrize("types", [TYPES, TYPES_ROS1], ids=["ros2", "ros1"])
def test_camera(types):
    camera = messages.camera_from(camera_info(types, d=[0.1, -0.2, 0.001, 0.002, 0.0]))
    assert (camera.width, camera.height, camera.fx, camera.fy) == (640, 480, 500, 510)
    assert camera.distortion == (0.1, -0.2, 0.001, 0.002, 0.0) and not camera.is_rectified


def test_p_of_zeros_means_k():
    camera = messages.camera_from(camera_info(p=[0.0] * 12, r=[0.0] * 9))
    assert camera.is_rectified and np.array_equal(camera.P[:, :3], camera.K)


def test_binning_and_roi():
    """A point of the full image must project where cropping and 2x2 averaging of the pixels put it."""
    info = camera_info(roi=(100, 60, 400, 200), binning=(2, 4))
    camera = messages.camera_from(info)
    assert (camera.width, camera.height) == (200, 50)
    ray = np.array([0.1, -0.05, 1.0])
    u, v, _ = np.reshape(info.k, (3, 3)) @ ray
    delivered = camera.K @ ray
    # Full-resolution pixels 2i and 2i+1 have their common centre at 2i + 0.5.
    assert delivered[0] == pytest.approx((u - 100 - 0.5) / 2)
    assert delivered[1] == pytest.approx((v - 60 - 1.5) / 4)
    assert camera.P[:, :3] == pytest.approx(camera.K)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"k": [0.0] * 9, "p": [0.0] * 12}, ["not calibrated", "cameracalibrator"]),
        ({"k": [np.nan] * 9}, ["NaN or Inf in K", "cameracalibrator"]),
        ({"p": [np.inf] + [0.0] * 11}, ["NaN or Inf in P"]),
        ({"d": [0.1, np.nan, 0, 0, 0]}, ["NaN or Inf in D"]),
        ({"r": [np.nan] * 9}, ["NaN or Inf in R"]),
        ({"d": [0.1, 0.2, 0.3]}, ["3 numbers in D", "4 or 5"]),
        ({"d": [0.1] * 5, "model": "equidistant"}, ["5 numbers in D", "'equidistant' has 4"]),
        ({"d": [0.1] * 5, "model": "magic"}, ["'magic'", "plumb_bob"]),
        ({"p": [0.0] * 11 + [1.0]}, ["fx 0", "in P"]),
        ({"width": 0}, ["0x480"]),
        ({"roi": (600, 0, 100, 100)}, ["100x100 at (600, 0)", "640x480"]),
    ],
)
def test_bad_camera_infos_are_named(change, named):
    with pytest.raises(DepthRosError) as error:
        messages.camera_from(camera_info(**change))
    assert all(part in str(error.value) for part in named), error.value


def test_frame_copies_the_header_and_checks_the_size(rgb):
    message = image(32, 24, "rgb8", rgb.tobytes())
    frame = messages.frame_from(message, Camera.pinhole(32, 24, 30, 30, 16, 12))
    assert (frame.stamp, frame.frame_id) == (5_000_000_007, "optical") and np.array_equal(frame.image, rgb)
    with pytest.raises(DepthRosError, match="32x24 but camera_info describes 64x48"):
        messages.frame_from(message, Camera.pinhole(64, 48, 30, 30, 16, 12))


def test_depth_goes_out_and_in():
    depth = np.array([[1.2344, np.nan, 65.535, 65.54], [0.0004, 0.0006, 3.0, 100.0]], np.float32)
    message = image(1, 1, "", b"0")
    messages.fill_depth(message, depth, "32FC1")
    assert (message.encoding, message.step) == ("32FC1", 16)
    assert np.array_equal(messages.depth_from(message), depth, equal_nan=True)
    messages.fill_depth(message, depth, "16UC1")
    assert message.data.view("<u2").tolist() == [1234, 0, 65535, 0, 0, 1, 3000, 0]
    want = np.array([[1.234, np.nan, 65.535, np.nan], [np.nan, 0.001, 3.0, np.nan]], np.float32)
    np.testing.assert_allclose(messages.depth_from(message), want, rtol=1e-6)


def test_depth_that_is_no_distance_becomes_nan():
    data = np.array([[0.0, -1.0, np.inf, 2.0]], "<f4")
    assert np.array_equal(
        np.isnan(messages.depth_from(image(4, 1, "32FC1", data.tobytes()))), [[True] * 3 + [False]]
    )
    with pytest.raises(DepthRosError, match="'rgb8'; allowed: 32FC1, 16UC1"):
        messages.depth_from(image(1, 1, "rgb8", bytes(3)))
    with pytest.raises(DepthRosError, match="'mono8'; allowed"):
        messages.fill_depth(image(1, 1, "", b""), data, "mono8")


@pytest.mark.parametrize("empty", [EMPTY, array.array("B")], ids=["rosbags", "rclpy"])
def test_a_buffer_of_the_same_size_is_kept(empty):
    message = image(1, 1, "", b"")
    message.data = copy.copy(empty)
    messages.fill_depth(message, np.ones((4, 6), np.float32))
    first = message.data
    assert type(first) is type(empty)
    messages.fill_depth(message, np.full((4, 6), 2, np.float32))
    assert message.data is first and np.all(messages.depth_from(message) == 2)
    messages.fill_depth(message, np.ones((4, 5), np.float32))
    assert len(message.data) == 80


def test_non_contiguous_pixels_are_written_right(rgb):
    message = image(1, 1, "", b"")
    messages.fill_image(message, rgb[::2, ::2], "rgb8")
    assert (message.height, message.width, message.step) == (12, 16, 48)
    assert np.array_equal(messages.decode_image(message), rgb[::2, ::2])


def test_camera_info_goes_out_and_in():
    camera = messages.camera_from(camera_info(d=[0.1, -0.2, 0.001, 0.002, 0.003]))
    message = camera_info(width=1, height=1)
    messages.fill_camera_info(message, camera)
    again = messages.camera_from(message)
    assert again.distortion == camera.distortion and np.array_equal(again.K, camera.K)
    messages.fill_camera_info(message, camera.rectified())
    assert message.d.tolist() == [0.0] * 5 and messages.camera_from(message).is_rectified


@pytest.mark.parametrize("stride", [1, 3])
def test_points(stride):
    """Positions, colours and unknown points of every stride-th pixel, against the pinhole formula."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 9, (20, 31)).astype(np.float32)
    depth[0, 0], depth[3, 3] = np.nan, np.inf
    colours = rng.integers(0, 256, (20, 31, 3), np.uint8)
    camera = Camera.pinhole(31, 20, 25.0, 26.0, 15.0, 9.0)
    message = SimpleNamespace(data=array.array("B"))
    messages.fill_points(message, Depth(0, "", depth, camera, colours), stride)
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


def test_moving_points():
    """Every point has velocity, covariance and id of its object; no object is an empty cloud."""
    covariance = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    one, two = (
        ObjectMotion(
            label, np.ones((1, 1), bool), np.eye(4), np.zeros(3), np.array([label, 0.5, -1]), covariance
        )
        for label in (3, 1 << 20)
    )
    points = [np.arange(6.0).reshape(2, 3), np.full((1, 3), 7.0)]
    message = SimpleNamespace(data=array.array("B"))
    messages.fill_moving_points(message, points, [one, two])
    kinds = [(name, "<u4" if name == "id" else "<f4") for name, _ in messages.MOVING_POINT_FIELDS]
    rows = np.frombuffer(message.data, np.dtype(kinds))
    assert (message.height, message.width, message.row_step) == (1, 3, 3 * message.point_step)
    assert rows["id"].tolist() == [3, 3, 1 << 20] and rows["vx"].tolist() == [3, 3, 1 << 20]
    assert rows["y"].tolist() == [1, 4, 7] and rows["vz"].tolist() == [-1, -1, -1]
    assert [rows[name][0] for name in ("vxx", "vxy", "vxz", "vyy", "vyz", "vzz")] == [1, 2, 3, 4, 5, 6]
    messages.fill_moving_points(message, [], [])
    assert (message.width, len(message.data)) == (0, 0)


@pytest.mark.parametrize("encoding, dtype", [("mono8", np.uint8), ("16UC1", np.uint16), ("32SC1", np.int32)])
def test_labels(encoding, dtype):
    """At the size of the depth, by the nearest; ids that fit nowhere and another view are refused."""
    camera = Camera.pinhole(8, 4, 10.0, 10.0, 4.0, 2.0)
    labels = np.array([[0, 1, 2, 200], [3, 3, 0, 0]], dtype)
    message = SimpleNamespace(data=array.array("B"))
    messages.fill_image(message, labels, encoding)
    assert np.array_equal(messages.labels_at(message, camera), labels.repeat(2, 0).repeat(2, 1))
    with pytest.raises(DepthRosError, match="another shape"):
        messages.labels_at(message, Camera.pinhole(8, 8, 10.0, 10.0, 4.0, 4.0))
    messages.fill_image(message, np.full((2, 4), 70000, np.int32), "32SC1")
    with pytest.raises(DepthRosError, match="0 to 65535"):
        messages.labels_at(message, camera)
    messages.fill_image(message, np.zeros((2, 4, 3), np.uint8), "rgb8")
    with pytest.raises(DepthRosError, match="encoding 'rgb8'"):
        messages.labels_at(message, camera)


def test_odometry():
    types = TYPES
    point = types["geometry_msgs/msg/Point"](0, 0, 0)
    quaternion = types["geometry_msgs/msg/Quaternion"](0, 0, 0, 1)
    pose = types["geometry_msgs/msg/PoseWithCovariance"](
        types["geometry_msgs/msg/Pose"](point, quaternion), None
    )
    message = types["nav_msgs/msg/Odometry"](header(), "", pose, None)
    T = np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    messages.fill_odometry(message, Pose(7, T, np.diag(np.arange(6.0))), "map", "camera")
    assert messages.stamp_ns(message.header) == 7
    assert (message.header.frame_id, message.child_frame_id) == ("map", "camera")
    assert (point.x, point.y, point.z) == (1, 2, 3)
    assert (quaternion.z, quaternion.w) == pytest.approx((np.sqrt(0.5), np.sqrt(0.5)))
    assert message.pose.covariance.reshape(6, 6)[5, 5] == 5
