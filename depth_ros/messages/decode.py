"""ROS messages to values. Messages are read by attribute: those of rclpy, of rosbags and of ROS 1 bags are accepted.

RGB images are not copied: the array is a view of the message's data.
"""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.messages.protocols import CameraInfo, CompressedImage, DisparityImage, Header, Image

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

_DEPTH_TYPES: dict[str, np.dtype] = {"32FC1": np.dtype(np.float32), "16UC1": np.dtype(np.uint16)}
_LABEL_TYPES: dict[str, np.dtype] = {
    "mono8": np.dtype(np.uint8), "8UC1": np.dtype(np.uint8), "mono16": np.dtype(np.uint16),
    "16UC1": np.dtype(np.uint16), "32SC1": np.dtype(np.int32),
}  # fmt: skip
_COEFFICIENT_COUNTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}
_CALIBRATE = (
    "calibrate the camera (ros2 run camera_calibration cameracalibrator) and load the result in its driver"
)

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
        return _decompress(message)
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
            "sudo apt install ros-$ROS_DISTRO-cv-bridge; without a ROS distribution: pip install cv-bridge"
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


def _decompress(message: CompressedImage) -> np.ndarray:
    if "compressedDepth" in message.format:
        raise DepthRosError(
            f"compressed image has format '{message.format}', which is a depth image; a colour image is required: "
            "check the topic remappings"
        )
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # camera_info does not take EXIF into account
    data = np.frombuffer(message.data, np.uint8)
    image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise DepthRosError(
            f"compressed image of {data.size} bytes with format '{message.format}' cannot be decoded: it is damaged or "
            "OpenCV does not support its format; use jpeg or png"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def depth_from(message: Image) -> np.ndarray:
    """(H, W) float32 m of a depth image, 32FC1 (m) or 16UC1 (mm); zero, negative and infinite values become NaN."""
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


def camera_from(info: CameraInfo) -> Camera:
    """Camera of the image as published: the region of interest of the full-resolution image, then binned.

    Binning averages neighbouring pixels (sensor_msgs/CameraInfo), so the principal point shifts as in `Camera.resized`.
    If P is all zero, as from some single cameras, P = [K | 0]; if R is all zero, there is no rotation.
    Raises DepthRosError if the camera is not calibrated or the message is inconsistent.
    """
    if not info.width or not info.height:
        raise DepthRosError(
            f"camera_info is not calibrated (image size {info.width}x{info.height}): {_CALIBRATE}"
        )
    K, R = _matrix(info, "k", (3, 3)), _matrix(info, "r", (3, 3))
    P, distortion = _matrix(info, "p", (3, 4)), _matrix(info, "d", (-1,))
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise DepthRosError(
            f"camera_info is not calibrated (K has fx {K[0, 0]:g} and fy {K[1, 1]:g}): {_CALIBRATE}"
        )
    if not P.any():
        P = np.hstack([K, np.zeros((3, 1))])
    if P[0, 0] <= 0 or P[1, 1] <= 0:
        raise DepthRosError(
            f"camera_info is not calibrated (P has fx {P[0, 0]:g} and fy {P[1, 1]:g}): {_CALIBRATE}"
        )
    model = info.distortion_model or "plumb_bob"
    _check_distortion(model, distortion)
    camera = Camera(info.width, info.height, K, P, R if R.any() else np.eye(3), tuple(distortion), model)
    return _crop_and_bin(camera, info)


def _matrix(info: CameraInfo, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Matrix of a camera_info; in ROS 1 its name is upper case. Raises DepthRosError if it is not finite."""
    values = np.array(getattr(info, name if hasattr(info, name) else name.upper()), float)
    if not np.all(np.isfinite(values)):
        raise DepthRosError(f"camera_info has NaN or Inf in {name.upper()}: {_CALIBRATE}")
    return values.reshape(shape)


def _check_distortion(model: str, distortion: np.ndarray) -> None:
    if not distortion.any():
        return
    if model not in _COEFFICIENT_COUNTS:
        raise DepthRosError(
            f"distortion_model '{model}' of camera_info is not supported; supported are "
            f"{', '.join(_COEFFICIENT_COUNTS)}: recalibrate with one of these, or rectify the image first"
        )
    if len(distortion) not in _COEFFICIENT_COUNTS[model]:
        allowed = " or ".join(map(str, _COEFFICIENT_COUNTS[model]))
        raise DepthRosError(
            f"camera_info has {len(distortion)} coefficients in D; '{model}' requires {allowed}: {_CALIBRATE}"
        )


def _crop_and_bin(camera: Camera, info: CameraInfo) -> Camera:
    """`camera` after the region of interest (full-resolution px; all zero = whole image) and the binning of `info`."""
    roi = info.roi
    if roi.width or roi.height:
        if roi.x_offset + roi.width > camera.width or roi.y_offset + roi.height > camera.height:
            raise DepthRosError(
                f"roi of camera_info, {roi.width}x{roi.height} at ({roi.x_offset}, {roi.y_offset}), exceeds the "
                f"{camera.width}x{camera.height} image: roi is in pixels before binning; fix the camera driver"
            )
        width, height = roi.width or camera.width, roi.height or camera.height
        camera = camera.cropped(roi.x_offset, roi.y_offset, width, height)
    x, y = max(info.binning_x, 1), max(info.binning_y, 1)  # 0 means 1
    return camera.resized(camera.width // x, camera.height // y) if (x, y) != (1, 1) else camera


def frame_from(message: Image | CompressedImage, camera: Camera) -> Frame:
    """Frame of an Image or CompressedImage taken by `camera`. Raises DepthRosError if the sizes differ."""
    image = decode_image(message)
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise DepthRosError(
            f"image is {width}x{height} but camera_info describes {camera.width}x{camera.height}: "
            "use the camera_info of the same stream (a resized image needs a resized camera_info)"
        )
    return Frame(stamp_ns(message.header), message.header.frame_id, image, camera)
