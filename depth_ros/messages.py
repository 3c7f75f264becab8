"""ROS messages <-> datatypes, by attribute only: serves rclpy, rosbags and ROS 1 bags alike, imports none.

Reading never copies pixels that are RGB already; writing goes straight into the message's own buffer, and
a message that is filled again with the same size keeps it. In rclpy that buffer is an `array.array('B')`,
the one type that its setter takes without looking at every byte.
"""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Depth, Disparity, Frame, ObjectMotion, Planes, Pose
from depth_ros.errors import DepthRosError
from depth_ros.geometry import quaternion_from_matrix, rays

_TO_RGB = {
    "bgr": cv2.COLOR_BGR2RGB, "rgba": cv2.COLOR_RGBA2RGB, "bgra": cv2.COLOR_BGRA2RGB,
    "mono": cv2.COLOR_GRAY2RGB, "uyvy": cv2.COLOR_YUV2RGB_UYVY, "yuyv": cv2.COLOR_YUV2RGB_YUYV,
    "nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21,
    # OpenCV names a Bayer pattern by its second row, ROS by its first.
    "bayer_rggb": cv2.COLOR_BayerBG2RGB, "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB, "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}  # fmt: skip

_CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "uyvy": 2, "yuyv": 2}

_LAYOUTS = {"uyvy": "uyvy", "yuv422": "uyvy", "yuyv": "yuyv", "yuv422_yuy2": "yuyv",
            "nv12": "nv12", "nv21": "nv21", "nv24": "nv24",
            "8UC1": "mono", "8UC3": "bgr", "8UC4": "bgra",
            "16UC1": "mono", "16UC3": "bgr", "16UC4": "bgra"}  # fmt: skip
_LAYOUTS |= {f"{name}{bits}": name for name in ("rgb", *_TO_RGB) if name not in _LAYOUTS for bits in (8, 16)}

ENCODINGS = tuple(sorted(_LAYOUTS))
"""Every encoding that `decode_image` reads: those that cv_bridge converts to rgb8, and OpenCV's BGR types."""

_DEPTHS: dict[str, np.dtype] = {"32FC1": np.dtype(np.float32), "16UC1": np.dtype(np.uint16)}
_LABELS: dict[str, np.dtype] = {
    "mono8": np.dtype(np.uint8), "8UC1": np.dtype(np.uint8), "mono16": np.dtype(np.uint16),
    "16UC1": np.dtype(np.uint16), "32SC1": np.dtype(np.int32),
}  # fmt: skip
_COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}
_CALIBRATE = (
    "calibrate the camera (ros2 run camera_calibration cameracalibrator) and give its driver the file"
)

POINT_FIELDS = (("x", 0), ("y", 4), ("z", 8), ("rgb", 12))
"""Name and byte offset of the fields (FLOAT32) of a message that `fill_points` can fill."""

PLANE_POINT_FIELDS = tuple(
    (name, 4 * i)
    for i, name in enumerate(("x", "y", "z", "rgb", "normal_x", "normal_y", "normal_z", "curvature"))
)
"""The same for `fill_plane_points`; names of PCL's PointXYZRGBNormal."""

MOVING_POINT_FIELDS = tuple(
    (name, 4 * i)
    for i, name in enumerate(
        ("x", "y", "z", "vx", "vy", "vz", "vxx", "vxy", "vxz", "vyy", "vyz", "vzz", "id")
    )
)
"""The same for `fill_moving_points`: place, velocity, its covariance, and the id, which is UINT32."""


def stamp_ns(header: Any) -> int:
    """The stamp of a header, ns."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def decode_image(message: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an Image or CompressedImage; a view of the message where it is rgb8 already.

    Raises DepthRosError if the encoding is unknown or the data do not fit what the message says of them.
    """
    if hasattr(message, "format"):
        return _decompressed(message)
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise DepthRosError(
            f"image has encoding '{message.encoding}'; allowed are {', '.join(ENCODINGS)}: "
            "set the camera driver to one of these"
        )
    rows = {"nv12": 3, "nv21": 3, "nv24": 6}.get(layout, 2) * message.height // 2
    dtype = np.dtype(np.uint16 if "16" in message.encoding else np.uint8)
    pixels = _pixels(message, rows, _CHANNELS.get(layout, 1), dtype)
    if dtype.itemsize == 2:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)  # 65535 becomes 255
    if layout == "rgb":
        return pixels
    try:
        return _nv24_to_rgb(pixels) if layout == "nv24" else cv2.cvtColor(pixels, _TO_RGB[layout])
    except cv2.error as error:
        size = f"{message.width}x{message.height}"
        raise DepthRosError(
            f"image of {size} '{message.encoding}' cannot be converted: {error.err}"
        ) from error


def _pixels(message: Any, rows: int, channels: int, dtype: np.dtype) -> np.ndarray:
    """(rows, width[, channels]) view of a message's data, native byte order; padded rows are no copy."""
    width, step, data = message.width, message.step, message.data
    if not width or not message.height:
        raise DepthRosError(
            f"image is empty: it says {width}x{message.height} pixels; check the camera driver"
        )
    row = width * channels * dtype.itemsize
    if step < row or len(data) != step * rows:
        raise DepthRosError(
            f"image of {width}x{message.height} '{message.encoding}' has {len(data)} bytes and step {step}; "
            f"needed are a step of at least {row} and {rows} rows of it: the camera driver fills it wrongly"
        )
    shape, strides = (rows, width, channels), (step, channels * dtype.itemsize, dtype.itemsize)
    stored = dtype.newbyteorder(">" if message.is_bigendian else "<")
    pixels: np.ndarray = np.ndarray(shape, stored, np.frombuffer(data, np.uint8), strides=strides)
    pixels = pixels if channels > 1 else pixels[..., 0]
    return pixels if stored.isnative else pixels.astype(dtype)


def _nv24_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """RGB of a plane of Y and one of U V pairs at full size. BT.601 video range, as OpenCV's NV12."""
    height, width = pixels.shape[0] // 3, pixels.shape[1]
    y = 1.164 * (pixels[:height].astype(np.float32) - 16)
    u, v = np.moveaxis(pixels[height:].reshape(height, width, 2).astype(np.float32) - 128, -1, 0)
    rgb = np.stack([y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u], axis=-1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def _decompressed(message: Any) -> np.ndarray:
    if "compressedDepth" in message.format:
        raise DepthRosError(
            f"compressed image has format '{message.format}', a depth image; colour is needed"
        )
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # camera_info knows nothing of EXIF
    data = np.frombuffer(message.data, np.uint8)
    image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise DepthRosError(
            f"compressed image of {data.size} bytes, format '{message.format}', cannot be decoded: "
            "it is damaged or of a kind OpenCV does not read; jpeg and png are safe"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def depth_from(message: Any) -> np.ndarray:
    """(H, W) float32 m of a depth image, 32FC1 m or 16UC1 mm; 0, negative and infinite become NaN."""
    dtype = _DEPTHS.get(message.encoding)
    if dtype is None:
        raise DepthRosError(f"depth image has encoding '{message.encoding}'; allowed: {', '.join(_DEPTHS)}")
    stored = _pixels(message, message.height, 1, dtype)
    depth = stored.astype(np.float32) if dtype.kind == "f" else stored * np.float32(0.001)
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


def labels_at(message: Any, camera: Camera) -> np.ndarray:
    """(H, W) int32 ids of a label image (mono8, 8UC1, mono16, 16UC1, 32SC1) at the size of a camera; 0 = background.

    Raises DepthRosError where it cannot be of the same view, or ids do not fit into 16 bits.
    """
    dtype = _LABELS.get(message.encoding)
    if dtype is None:
        raise DepthRosError(f"label image has encoding '{message.encoding}'; allowed: {', '.join(_LABELS)}")
    labels = _pixels(message, message.height, 1, dtype).astype(np.int32)
    if labels.min() < 0 or labels.max() > np.iinfo(np.uint16).max:
        raise DepthRosError(
            f"label image has ids from {labels.min()} to {labels.max()}; 0 to 65535 are allowed"
        )
    height, width = labels.shape
    if abs(width * camera.height - height * camera.width) > 0.02 * width * camera.height:
        raise DepthRosError(
            f"label image is {width}x{height} and depth {camera.width}x{camera.height}, another shape: give labels "
            "of the whole rectified image"
        )
    return cv2.resize(labels, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST)


def disparity_from(message: Any) -> np.ndarray:
    """(H, W) float32 px of a DisparityImage, 0 = infinitely far; what is outside its range becomes NaN."""
    disparity = _pixels(message.image, message.image.height, 1, np.dtype(np.float32)).astype(np.float32)
    inside = (disparity >= message.min_disparity) & (disparity <= message.max_disparity)
    return np.where(inside, disparity, np.float32(np.nan))


def _numbers(info: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A matrix of camera_info; ROS 1 writes its name in capitals. Raises DepthRosError unless finite."""
    values = np.array(
        getattr(info, name, None) if hasattr(info, name) else getattr(info, name.upper()), float
    )
    if not np.all(np.isfinite(values)):
        raise DepthRosError(f"camera_info has NaN or Inf in {name.upper()}: {_CALIBRATE}")
    return values.reshape(shape)


def camera_from(info: Any) -> Camera:
    """The camera of the image as delivered: the region of interest of the full one, then binned.

    Binning averages neighbouring pixels (sensor_msgs/CameraInfo), so centres shift as in `Camera.resized`.
    P of zeros, as single cameras may send, means P = [K | 0]; R of zeros means no rotation.
    Raises DepthRosError if the camera is not calibrated or the message contradicts itself.
    """
    if not info.width or not info.height:
        raise DepthRosError(f"camera_info says the image is {info.width}x{info.height}: {_CALIBRATE}")
    K, R = _numbers(info, "k", (3, 3)), _numbers(info, "r", (3, 3))
    P, distortion = _numbers(info, "p", (3, 4)), _numbers(info, "d", (-1,))
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise DepthRosError(
            f"camera_info is not calibrated (fx {K[0, 0]:g}, fy {K[1, 1]:g} in K): {_CALIBRATE}"
        )
    if not P.any():
        P = np.hstack([K, np.zeros((3, 1))])
    if P[0, 0] <= 0 or P[1, 1] <= 0:
        raise DepthRosError(f"camera_info has fx {P[0, 0]:g}, fy {P[1, 1]:g} in P: {_CALIBRATE}")
    model = info.distortion_model or "plumb_bob"
    _check_distortion(model, distortion)
    camera = Camera(info.width, info.height, K, P, R if R.any() else np.eye(3), tuple(distortion), model)
    return _delivered(camera, info)


def _check_distortion(model: str, distortion: np.ndarray) -> None:
    if not distortion.any():
        return
    if model not in _COEFFICIENTS:
        raise DepthRosError(
            f"camera_info has distortion_model '{model}'; allowed are {', '.join(_COEFFICIENTS)}: "
            "recalibrate with one of these or rectify the image before depth_ros"
        )
    if len(distortion) not in _COEFFICIENTS[model]:
        allowed = " or ".join(map(str, _COEFFICIENTS[model]))
        raise DepthRosError(
            f"camera_info has {len(distortion)} numbers in D; '{model}' has {allowed}: {_CALIBRATE}"
        )


def _delivered(camera: Camera, info: Any) -> Camera:
    """`camera` after the region of interest (in full-resolution px; zeros = all) and the binning of `info`."""
    roi = info.roi
    if roi.width or roi.height:
        if roi.x_offset + roi.width > camera.width or roi.y_offset + roi.height > camera.height:
            raise DepthRosError(
                f"camera_info has a roi of {roi.width}x{roi.height} at ({roi.x_offset}, {roi.y_offset}) outside "
                f"its {camera.width}x{camera.height} image: roi counts pixels before binning; mend the driver"
            )
        width, height = roi.width or camera.width, roi.height or camera.height
        camera = camera.cropped(roi.x_offset, roi.y_offset, width, height)
    x, y = max(info.binning_x, 1), max(info.binning_y, 1)  # 0 and 1 both mean none
    return camera.resized(camera.width // x, camera.height // y) if (x, y) != (1, 1) else camera


def frame_from(message: Any, camera: Camera) -> Frame:
    """The frame of an Image or CompressedImage taken by `camera`. DepthRosError if the sizes differ."""
    image = decode_image(message)
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise DepthRosError(
            f"image is {width}x{height} but camera_info describes {camera.width}x{camera.height}: "
            "give camera_info of the same stream (resized images need resized camera_info)"
        )
    return Frame(stamp_ns(message.header), message.header.frame_id, image, camera)


def fill_header(header: Any, stamp: int, frame_id: str) -> None:
    """Write a stamp (ns) and a frame id."""
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    header.frame_id = frame_id


def _buffer(message: Any, size: int) -> np.ndarray:
    """Writable (size,) uint8 view of `message.data`, which is replaced only if its size differs."""
    if len(message.data) != size:
        rclpy = isinstance(message.data, array.array)
        message.data = array.array("B", bytes(size)) if rclpy else np.empty(size, np.uint8)
    return np.frombuffer(message.data, np.uint8)


def fill_image(message: Any, pixels: np.ndarray, encoding: str) -> None:
    """Write pixels (H, W) or (H, W, C) and their encoding into an Image; the header stays as it is."""
    message.height, message.width = pixels.shape[:2]
    message.encoding, message.is_bigendian = encoding, 0
    message.step = pixels.nbytes // pixels.shape[0]
    stored = pixels.dtype.newbyteorder("<")
    _buffer(message, pixels.nbytes).view(stored).reshape(pixels.shape)[...] = pixels


def fill_depth(message: Any, depth: np.ndarray, encoding: str = "32FC1") -> None:
    """Write depth (H, W) m, NaN = unknown, as 32FC1 (m, NaN) or 16UC1 (mm, 0 = unknown or over 65.535 m)."""
    depth = np.asarray(depth, np.float32)
    if encoding == "16UC1":
        millimetres = np.rint(depth * 1000)
        depth = np.where((millimetres > 0) & (millimetres <= 65535), millimetres, 0).astype(np.uint16)
    elif encoding != "32FC1":
        raise DepthRosError(f"depth cannot be written as '{encoding}'; allowed: {', '.join(_DEPTHS)}")
    fill_image(message, depth, encoding)


def fill_disparity(message: Any, found: Disparity, disparity_range: int, step: float) -> None:
    """Write a DisparityImage; its header stays as it is. Unknown is -1, below `min_disparity`, as
    stereo_image_proc has it. step: px, the smallest difference between disparities.

    Z = f t / d holds, so the disparity of the infinitely far (`Disparity.offset`) is taken off.
    """
    near = found.disparity - np.float32(found.offset)
    inside = np.isfinite(near) & (near >= 0) & (near <= disparity_range)
    fill_image(message.image, np.where(inside, near, np.float32(-1)), "32FC1")
    message.image.header = message.header
    t = "t" if hasattr(message, "t") else "T"
    message.f = float(found.camera.fx)
    setattr(message, t, float(found.baseline))
    message.min_disparity, message.max_disparity = 0.0, float(disparity_range)
    message.delta_d = float(step)
    window = message.valid_window
    window.x_offset = window.y_offset = 0
    window.height, window.width = found.disparity.shape


def fill_camera_info(message: Any, camera: Camera) -> None:
    """Write `camera` into a CameraInfo; the header stays as it is."""
    distortion = camera.distortion or (0.0,) * 5
    rclpy = isinstance(message.d, array.array)
    message.height, message.width = camera.height, camera.width
    message.distortion_model = camera.distortion_model if camera.distortion else "plumb_bob"
    message.d = array.array("d", distortion) if rclpy else np.array(distortion, np.float64)
    message.k, message.r, message.p = (
        np.array(m, np.float64).ravel() for m in (camera.K, camera.R, camera.P)
    )


def fill_points(message: Any, depth: Depth, stride: int = 1) -> None:
    """Write every stride-th pixel as an organised cloud of x y z (m, optical frame) and rgb, 16 bytes each.

    Unknown depth gives NaN, never Inf (MoveIt's octomap drops NaN only). `message.fields` must be
    `POINT_FIELDS`; the header stays as it is. rgb is 0x00RRGGBB in the bytes of a float32 (PCL).
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
    cv2.merge([x, y, z, rgb], dst=points)  # three times as fast as filling the strided planes in numpy


def fill_plane_points(message: Any, depth: Depth, planes: Planes, stride: int = 1) -> None:
    """Write every stride-th pixel as an organised cloud of points on their planes, with the planes' normals.

    x y z (m, optical frame), rgb as in `fill_points`, the unit normal towards the camera and a curvature of 0. Pixels
    of no plane are NaN. `message.fields` must be `PLANE_POINT_FIELDS`; the header stays as it is.
    """
    labels = planes.labels[::stride, ::stride]
    height, width = labels.shape
    message.height, message.width = height, width
    message.point_step, message.row_step = 32, 32 * width
    message.is_bigendian, message.is_dense = False, False
    points = _buffer(message, 32 * labels.size).view(np.float32).reshape(height, width, 8)
    of_none = np.vstack([planes.equations, np.full((1, 4), np.nan)]).astype(
        np.float32
    )  # the row that -1 takes
    equations = of_none[labels]
    directions = rays(depth.camera)[::stride, ::stride]
    slope = (directions * equations[..., :3]).sum(axis=-1)
    z = -equations[..., 3] / np.where(slope < 0, slope, np.nan)  # a plane is seen from the side of its normal
    points[..., :3] = directions * z[..., None]
    rgb = depth.image[::stride, ::stride].astype(np.uint32)
    points[..., 3] = (rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]).view(np.float32)
    points[..., 4:7] = equations[..., :3]
    points[..., 7] = equations[..., 3] * 0


def fill_moving_points(message: Any, points: list[np.ndarray], objects: list[ObjectMotion]) -> None:
    """Write points (N, 3) m of every object as a flat cloud, each with velocity, covariance and id of its object.

    Metres per second in the frame of the header, ego-motion removed. `message.fields` must be `MOVING_POINT_FIELDS`;
    the header stays as it is.
    """
    count, size = sum(map(len, points)), 4 * len(MOVING_POINT_FIELDS)
    message.height, message.width, message.point_step, message.row_step = 1, count, size, size * count
    message.is_bigendian, message.is_dense = False, True
    rows = _buffer(message, size * count).view(np.float32).reshape(count, len(MOVING_POINT_FIELDS))
    begin = 0
    for some, each in zip(points, objects, strict=True):
        part = rows[begin : begin + len(some)]
        part[:, :3], part[:, 3:6] = some, each.velocity
        part[:, 6:12] = each.covariance[np.triu_indices(3)]
        part[:, 12].view(np.uint32)[:] = each.label
        begin += len(some)


def fill_odometry(message: Any, pose: Pose, frame_id: str, child_frame_id: str) -> None:
    """Write a pose of `child_frame_id` in `frame_id` into an Odometry, header included; the twist stays."""
    fill_header(message.header, pose.stamp, frame_id)
    message.child_frame_id = child_frame_id
    fill_pose(message.pose.pose, pose.T)
    message.pose.covariance = np.array(pose.covariance, np.float64).ravel()


def fill_pose(message: Any, T: np.ndarray) -> None:
    """Write T (4, 4) into a Pose."""
    message.position.x, message.position.y, message.position.z = (float(v) for v in T[:3, 3])
    fill_quaternion(message.orientation, T[:3, :3])


def fill_transform(message: Any, T: np.ndarray) -> None:
    """Write T (4, 4) into a Transform."""
    message.translation.x, message.translation.y, message.translation.z = (float(v) for v in T[:3, 3])
    fill_quaternion(message.rotation, T[:3, :3])


def fill_quaternion(message: Any, R: np.ndarray) -> None:
    """Write R (3, 3) into a Quaternion."""
    message.x, message.y, message.z, message.w = (float(v) for v in quaternion_from_matrix(R))


def fill_twist(message: Any, twist: np.ndarray, covariance: np.ndarray) -> None:
    """Write a twist (6,), m/s and rad/s, and its covariance (6, 6) into a TwistWithCovariance."""
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = (float(v) for v in twist)
    message.covariance = np.array(covariance, np.float64).ravel()
