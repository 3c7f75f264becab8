"""ROS messages to values. Messages are read by attribute: those of rclpy, of rosbags and of ROS 1 bags are accepted.

RGB images are not copied: the array is a view of the message's data.
"""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.messages.compressed import decompressed
from depth_ros.messages.protocols import CompressedImage, DisparityImage, Header, Image

_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB, "rgba8": cv2.COLOR_RGBA2RGB, "bgra8": cv2.COLOR_BGRA2RGB, "mono8": cv2.COLOR_GRAY2RGB,
    "nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21,  # cv_bridge has no planar encodings
}  # fmt: skip
_BY_CV_BRIDGE = ("bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8", "yuv422", "yuv422_yuy2")
_NOT_IN_CV_BRIDGE_1 = {
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,  # OpenCV names a Bayer pattern by its second row, ROS by its first
    "yuv422": cv2.COLOR_YUV2RGB_UYVY, "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUYV,
}  # fmt: skip
"""What cv-bridge 1.13, the version on PyPI, lacks; those of ROS distributions have it."""

_OTHER_NAMES = {
    "8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8", "16UC1": "mono16", "16UC3": "bgr16", "16UC4": "bgra16",
    "uyvy": "yuv422", "yuyv": "yuv422_yuy2",  # since Iron; cv_bridge knows the older ones
}  # fmt: skip
_EIGHT_BIT = ("rgb8", *_TO_RGB, *_BY_CV_BRIDGE)
_SIXTEEN_BIT = tuple(name[:-1] + "16" for name in _EIGHT_BIT if name.endswith("8"))
_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "yuv422": 2, "yuv422_yuy2": 2}

ENCODINGS = tuple(sorted((*_EIGHT_BIT, *_SIXTEEN_BIT, *_OTHER_NAMES)))
"""Encodings that `decode_image` reads."""

_DEPTH_TYPES: dict[str, np.dtype] = {
    "32FC1": np.dtype(np.float32), "16UC1": np.dtype(np.uint16), "mono16": np.dtype(np.uint16),
}  # fmt: skip
_LABEL_TYPES: dict[str, np.dtype] = {
    "mono8": np.dtype(np.uint8), "8UC1": np.dtype(np.uint8), "mono16": np.dtype(np.uint16),
    "16UC1": np.dtype(np.uint16), "32SC1": np.dtype(np.int32),
}  # fmt: skip
MAX_ASPECT_DIFFERENCE = 0.06
"""Relative difference of the aspect ratios of a label image and a depth image: networks round to multiples of 32 px."""


def stamp_ns(header: Header) -> int:
    """Stamp of a header, ns."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def decode_image(message: Image | CompressedImage) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an Image or CompressedImage; for rgb8 a view of the message's data.

    Raises DepthRosError if the encoding is not supported or the data do not have the size that the message declares.
    """
    if isinstance(message, CompressedImage):
        message = decompressed(message)
    if message.encoding not in ENCODINGS:
        raise DepthRosError(
            f"image encoding '{message.encoding}' is not supported; supported are {', '.join(ENCODINGS)}: "
            "configure the camera driver for one of these"
        )
    encoding = _OTHER_NAMES.get(message.encoding, message.encoding)
    dtype = np.dtype(np.uint16 if encoding in _SIXTEEN_BIT else np.uint8)
    encoding = encoding[:-2] + "8" if encoding in _SIXTEEN_BIT else encoding
    rows = message.height * 3 // 2 if encoding.startswith("nv") else message.height
    pixels = _pixels(message, rows, _CHANNELS.get(encoding, 1), dtype)
    if dtype.itemsize == 2:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)  # 65535 becomes 255
    if encoding == "rgb8":
        return pixels
    try:
        if encoding in _TO_RGB:
            return cv2.cvtColor(pixels, _TO_RGB[encoding])
        return _by_cv_bridge(pixels, encoding)
    except cv2.error as error:
        raise DepthRosError(
            f"image of {message.width}x{message.height} pixels cannot be converted from '{message.encoding}' to RGB: "
            f"{error.err}; check the image size in the camera driver"
        ) from error


def _by_cv_bridge(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """RGB of Bayer or YUV pixels. Raises DepthRosError if cv_bridge is missing or cannot convert them."""
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except Exception as error:  # built for another NumPy, it raises AttributeError or SystemError
        raise DepthRosError(
            f"image encoding '{encoding}' requires cv_bridge, which cannot be imported ({error}): "
            "sudo apt install ros-$ROS_DISTRO-cv-bridge; with ROS 2 from PyPI: pip install cv-bridge"
        ) from error
    height, width = pixels.shape[:2]
    message = SimpleNamespace(
        height=height, width=width, encoding=encoding, data=np.ascontiguousarray(pixels),
        is_bigendian=0, step=pixels[0].nbytes,
    )  # fmt: skip
    try:
        return CvBridge().imgmsg_to_cv2(message, "rgb8")
    except KeyError:  # of a table of cv-bridge 1.13
        return cv2.cvtColor(message.data, _NOT_IN_CV_BRIDGE_1[encoding])
    except CvBridgeError as error:
        raise DepthRosError(f"cv_bridge cannot convert '{encoding}' to rgb8: {error}") from error


def _pixels(message: Image, rows: int, channels: int, dtype: np.dtype) -> np.ndarray:
    """(rows, width[, channels]) in native byte order; a view of the message's data, padding of the rows left out."""
    width, step, data = message.width, message.step, message.data
    if not width or not message.height:
        raise DepthRosError(
            f"image is empty: its size is {width}x{message.height} pixels; check the camera driver"
        )
    row = width * channels * dtype.itemsize
    if step < row or len(data) != step * rows:
        raise DepthRosError(
            f"image of {width}x{message.height} pixels '{message.encoding}' has {len(data)} bytes and step {step}; "
            f"required are {rows} rows with a step of at least {row} bytes: fix the camera driver"
        )
    shape, strides = (rows, width, channels), (step, channels * dtype.itemsize, dtype.itemsize)
    stored = dtype.newbyteorder(">" if message.is_bigendian else "<")
    pixels: np.ndarray = np.ndarray(shape, stored, np.frombuffer(data, np.uint8), strides=strides)
    pixels = pixels if channels > 1 else pixels[..., 0]
    return pixels if stored.isnative else pixels.astype(dtype)


def depth_from(message: Image) -> np.ndarray:
    """(H, W) float32 m of a depth image, 32FC1 (m), 16UC1 or mono16 (mm); zero, negative and infinite become NaN."""
    dtype = _DEPTH_TYPES.get(message.encoding)
    if dtype is None:
        raise DepthRosError(
            f"depth image encoding '{message.encoding}' is not supported; supported are {', '.join(_DEPTH_TYPES)}: "
            "check that the topic carries a depth image"
        )
    stored = _pixels(message, message.height, 1, dtype)
    depth = stored.astype(np.float32) if dtype.kind == "f" else stored * np.float32(0.001)
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


def labels_from(message: Image, camera: Camera) -> np.ndarray:
    """(H, W) int32 ids of a label image (mono8, 8UC1, mono16, 16UC1, 32SC1), resized to `camera`; 0 = background.

    Raises DepthRosError if its aspect ratio differs from the camera's (MAX_ASPECT_DIFFERENCE), or ids exceed 16 bits.
    """
    dtype = _LABEL_TYPES.get(message.encoding)
    if dtype is None:
        raise DepthRosError(
            f"label image encoding '{message.encoding}' is not supported; supported are {', '.join(_LABEL_TYPES)}: "
            "configure the segmentation node for one of these"
        )
    labels = _pixels(message, message.height, 1, dtype).astype(np.int32)
    if labels.min() < 0 or labels.max() > np.iinfo(np.uint16).max:
        raise DepthRosError(
            f"label image has ids from {labels.min()} to {labels.max()}; they have to be from 0 to 65535"
        )
    height, width = labels.shape
    if abs(width * camera.height - height * camera.width) > MAX_ASPECT_DIFFERENCE * width * camera.height:
        raise DepthRosError(
            f"label image of {width}x{height} pixels and depth image of {camera.width}x{camera.height} pixels have "
            "different aspect ratios: label the whole rectified image"
        )
    return cv2.resize(labels, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST)


def disparity_from(message: DisparityImage) -> np.ndarray:
    """(H, W) float32 px of a DisparityImage, 0 = infinitely far; values outside its disparity range become NaN."""
    disparity = _pixels(message.image, message.image.height, 1, np.dtype(np.float32)).astype(np.float32)
    inside = (disparity >= message.min_disparity) & (disparity <= message.max_disparity)
    return np.where(inside, disparity, np.float32(np.nan))
