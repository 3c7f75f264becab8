"""Decoding of messages of rosbags (ROS 2 and ROS 1 types); messages of rclpy are tested in test/nodes."""

from __future__ import annotations

import array
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rosbags_messages import image

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.messages.decode import ENCODINGS, decode_image, depth_from, labels_from
from depth_ros.messages.fill import fill_image


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth colour image, 32 x 24, different in every channel, that survives conversions which lose detail."""
    v, u = np.mgrid[0:24, 0:32]
    return np.stack([40 + 5 * u, 200 - 3 * v, 90 + 2 * u + 2 * v], axis=-1).astype(np.uint8)


def encoded(rgb: np.ndarray, encoding: str) -> tuple[bytes, int]:
    """Data of the image in `encoding` (little endian), and the maximum error of decoding them."""
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
    if name in ("uyvy", "yuyv", "nv12", "nv21"):
        return encoded_yuv(rgb, name), 8
    order = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "rgba8": [0, 1, 2, 3], "bgra8": [2, 1, 0, 3]}
    if name == "mono8":
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).tobytes(), 0
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)])
    return rgba[..., order[name]].tobytes(), 0


def encoded_yuv(rgb: np.ndarray, name: str) -> bytes:
    """YUV data, BT.601 limited range, with the chroma of the left (and upper) pixel."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = np.rint(16 + 0.257 * r + 0.504 * g + 0.098 * b).astype(np.uint8)
    u = np.rint(128 - 0.148 * r - 0.291 * g + 0.439 * b).astype(np.uint8)
    v = np.rint(128 + 0.439 * r - 0.368 * g - 0.071 * b).astype(np.uint8)
    uv = np.stack([u, v], axis=-1)
    if name.startswith("nv"):
        return y.tobytes() + np.ascontiguousarray(uv[::2, ::2, :: 1 if name == "nv12" else -1]).tobytes()
    chroma = uv[:, ::2].reshape(y.shape)
    return np.stack([chroma, y] if name == "uyvy" else [y, chroma], axis=-1).tobytes()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_decoded_to_the_same_rgb(rgb, encoding):
    data, tolerance = encoded(rgb, encoding)
    got = decode_image(image(32, 24, encoding, data, step=None if "nv" not in encoding else 32))
    want = rgb if "mono" not in encoding and not encoding.endswith("C1") else np.repeat(
        cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)  # fmt: skip
    assert got.shape == (24, 32, 3) and got.dtype == np.uint8
    inner = (slice(2, -2), slice(2, -2))  # demosaicing extrapolates at the border
    assert np.abs(got[inner].astype(int) - want[inner]).max() <= tolerance


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_of_16_bit_images_are_decoded(order):
    values = np.array([[0x0101, 0x7F80, 0xFF00], [0x00FF, 0x8000, 0xFFFF]], f"{order}u2")
    got = decode_image(image(3, 2, "mono16", values.tobytes(), is_bigendian=int(order == ">")))
    assert got[..., 0].tolist() == np.rint(values / 257).astype(int).tolist()


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "mono16", "uyvy"])
def test_padding_of_rows_is_ignored(rgb, encoding):
    data, _ = encoded(rgb, encoding)
    rows = np.frombuffer(data, np.uint8).reshape(24, -1)
    padded = np.pad(rows, ((0, 0), (0, 6)), constant_values=255)
    without_padding = decode_image(image(32, 24, encoding, data))
    assert np.array_equal(decode_image(image(32, 24, encoding, padded.tobytes())), without_padding)


@pytest.mark.parametrize("padding", [0, 5])
def test_rgb8_is_not_copied(rgb, padding):
    rows = np.pad(rgb.reshape(24, -1), ((0, 0), (0, padding)))
    message = image(32, 24, "rgb8", rows.tobytes())
    assert np.shares_memory(decode_image(message), message.data)


@pytest.mark.parametrize(
    "width, height, encoding, size, step, parts",
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
        (4, 2, "nv24", 24, 4, ["'nv24'", "nv12"]),
    ],
)
def test_errors_name_what_is_wrong_with_an_image(width, height, encoding, size, step, parts):
    with pytest.raises(DepthRosError) as error:
        decode_image(image(width, height, encoding, bytes(size), step))
    assert all(part in str(error.value) for part in parts), error.value


CONVERTED = ["bayer_rggb8", "bayer_grbg16", "yuv422", "yuyv"]
"""Encodings that cv_bridge decodes."""


@pytest.mark.parametrize("encoding", CONVERTED)
@pytest.mark.parametrize("padding", [0, 6])
def test_other_encodings_are_decoded_by_cv_bridge(rgb, encoding, padding, monkeypatch):
    """cv_bridge gets the pixels without padding, which the version on PyPI would read as pixels."""
    import cv_bridge

    received = []

    class Recorder:
        def imgmsg_to_cv2(self, message, encoding):
            received.append((message.encoding, message.step, bytes(message.data), encoding))
            return rgb

    monkeypatch.setattr(cv_bridge, "CvBridge", Recorder)
    rows = np.frombuffer(encoded(rgb, encoding)[0], np.uint8).reshape(24, -1)
    assert decode_image(image(32, 24, encoding, np.pad(rows, ((0, 0), (0, padding))).tobytes())) is rgb
    name = {"bayer_grbg16": "bayer_grbg8", "yuyv": "yuv422_yuy2"}.get(encoding, encoding)
    data = encoded(rgb, name)[0]
    assert received == [(name, len(data) // 24, data, "rgb8")]


@pytest.mark.parametrize("encoding", CONVERTED)
def test_missing_cv_bridge_is_named_with_the_package_to_install(rgb, encoding, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(
        DepthRosError, match=r"'\w+' requires cv_bridge.*ros-\$ROS_DISTRO-cv-bridge.*pip install"
    ) as e:
        decode_image(image(32, 24, encoding, encoded(rgb, encoding)[0]))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "bgra8", "rgb16", "8UC3", "nv12"])
def test_common_encodings_are_decoded_without_cv_bridge(rgb, encoding, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    data, tolerance = encoded(rgb, encoding)
    got = decode_image(image(32, 24, encoding, data, step=None if encoding != "nv12" else 32))
    want = (
        rgb
        if encoding != "mono8"
        else cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    )
    assert np.abs(got.astype(int) - want).max() <= max(tolerance, 1)


def test_depth_without_a_distance_becomes_nan():
    data = np.array([[0.0, -1.0, np.inf, 2.0]], "<f4")
    assert np.array_equal(np.isnan(depth_from(image(4, 1, "32FC1", data.tobytes()))), [[True] * 3 + [False]])
    for encoding in ("16UC1", "mono16"):
        millimetres = np.array([[0, 1500, 65535]], "<u2")
        got = depth_from(image(3, 1, encoding, millimetres.tobytes()))
        assert got[0].tolist() == pytest.approx([np.nan, 1.5, 65.535], nan_ok=True)
    with pytest.raises(DepthRosError, match="'rgb8' is not supported; supported are 32FC1, 16UC1"):
        depth_from(image(1, 1, "rgb8", bytes(3)))


@pytest.mark.parametrize("encoding, dtype", [("mono8", np.uint8), ("16UC1", np.uint16), ("32SC1", np.int32)])
def test_labels_are_resized_to_the_camera_and_other_views_and_large_ids_are_rejected(encoding, dtype):
    camera = Camera.pinhole(8, 4, 10.0, 10.0, 4.0, 2.0)
    labels = np.array([[0, 1, 2, 200], [3, 3, 0, 0]], dtype)
    message = SimpleNamespace(data=array.array("B"))
    fill_image(message, labels, encoding)
    assert np.array_equal(labels_from(message, camera), labels.repeat(2, 0).repeat(2, 1))
    with pytest.raises(DepthRosError, match="different aspect ratios"):
        labels_from(message, Camera.pinhole(8, 8, 10.0, 10.0, 4.0, 4.0))
    fill_image(message, np.full((2, 4), 70000, np.int32), "32SC1")
    with pytest.raises(DepthRosError, match="0 to 65535"):
        labels_from(message, camera)
    fill_image(message, np.zeros((2, 4, 3), np.uint8), "rgb8")
    with pytest.raises(DepthRosError, match="encoding 'rgb8'"):
        labels_from(message, camera)
