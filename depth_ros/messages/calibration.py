"""camera_info messages to cameras, what makes them unusable, and what about them is implausible.

Messages are read by attribute, as in `decode`. REP-104 and the definition of sensor_msgs/CameraInfo say what is meant
by binning and region of interest; image_geometry takes D of zeros as no distortion, whatever the model, as here.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.messages.protocols import CameraInfo

_COEFFICIENT_COUNTS = {
    "plumb_bob": (4, 5, 8, 12, 14),  # OpenCV tells its models apart by the number of coefficients
    "rational_polynomial": (4, 5, 8, 12, 14),
    "equidistant": (4,),
}
_MODEL_NAMES = {
    "": "plumb_bob", "radtan": "plumb_bob", "radial_tangential": "plumb_bob", "brown_conrady": "plumb_bob",
    "rational": "rational_polynomial", "thin_prism": "rational_polynomial",
    "fisheye": "equidistant", "kannala_brandt": "equidistant", "kannala_brandt4": "equidistant",
    "kannala_brandt_4": "equidistant",
}  # fmt: skip
"""Names that drivers use beside those of sensor_msgs/distortion_models.hpp."""
_CALIBRATE = (
    "calibrate the camera (ros2 run camera_calibration cameracalibrator) and load the result in its driver"
)

MIN_FIELD_OF_VIEW, MAX_FIELD_OF_VIEW = 5.0, 170.0
"""Degrees, horizontal, of a plausible pinhole camera."""
MAX_CENTRE_OFFSET = 0.2
"""Largest plausible distance of the principal point of K from the image centre, as a fraction of the size."""
MAX_PIXEL_ASPECT = 1.1
"""Largest plausible ratio of fx and fy."""
MIN_VISIBLE_FRACTION = 0.5
"""Smallest plausible fraction of a rectified image that its raw image covers."""


@dataclass(frozen=True)
class Calibration:
    """What one camera_info says. camera: of the image as published; full: before region of interest and binning.

    doubts: what is implausible about it.
    """

    camera: Camera
    full: Camera
    frame_id: str = ""
    doubts: tuple[str, ...] = ()


def names_rectified_images(topic: str) -> bool:
    """Whether an image topic says that its images are rectified: image_rect, image_rect_color, color/rect/image.

    The word nearest to the end decides, so that left_rect/image_raw is raw, but image_rect_raw (RealSense) rectified.
    """
    for name in reversed(re.sub(r"([a-z])([A-Z])", r"\1_\2", topic).lower().split("/")):
        words = set(name.split("_"))
        if words & {"rect", "rectified", "undistorted"}:
            return True
        if words & {"raw", "unrectified", "distorted"}:
            return False
    return False


def calibration_from(info: CameraInfo, is_rectified: bool = False) -> Calibration:
    """The calibration of a camera_info. is_rectified: the image is rectified, so that P describes it and not K and D.

    If P is unset (zero), as from some single cameras, P = [K | 0]; if K is unset and there is no distortion, K is that
    of P; if R is all zero, there is no rotation. In ROS 1 the names of the matrices are upper case.
    Raises DepthRosError if the camera is not calibrated or the message is inconsistent.
    """
    K, D, R, P = (tuple(map(float, getattr(info, n if hasattr(info, n) else n.upper()))) for n in "kdrp")
    roi = (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height)
    binning = (info.binning_x, info.binning_y)
    content = _Content(
        info.width, info.height, info.distortion_model, K, D, R, P, roi, binning, info.header.frame_id
    )
    return _calibration(content, is_rectified)


def camera_from(info: CameraInfo, is_rectified: bool = False) -> Camera:
    """The camera of `calibration_from`."""
    return calibration_from(info, is_rectified).camera


class _Content(NamedTuple):
    """What a camera_info says beside its stamp; usually the same all the time."""

    width: int
    height: int
    distortion_model: str
    K: tuple[float, ...]
    D: tuple[float, ...]
    R: tuple[float, ...]
    P: tuple[float, ...]
    roi: tuple[int, ...]
    binning: tuple[int, int]
    frame_id: str


@functools.lru_cache(maxsize=16)
def _calibration(info: _Content, is_rectified: bool) -> Calibration:
    full = _full_camera(info, is_rectified)
    camera = _cropped_and_binned(full, info)
    doubts = doubts_about(full, camera)
    if is_rectified and any(info.D) and not any(info.P):
        doubts.append("P is zero although the image is rectified: K is used, which is that of the raw image")
    return Calibration(camera, full, info.frame_id, tuple(doubts))


def _full_camera(info: _Content, is_rectified: bool) -> Camera:
    if not info.width or not info.height:
        raise DepthRosError(
            f"camera_info is not calibrated (image size {info.width}x{info.height}): {_CALIBRATE}"
        )
    K, R = _matrix(info, "K", (3, 3)), _matrix(info, "R", (3, 3))
    P, D = _matrix(info, "P", (3, 4)), _matrix(info, "D", (-1,))
    has_K, has_P = _is_set(K), _is_set(P)
    if not has_K and not has_P:
        raise DepthRosError(
            f"camera_info is not calibrated (K has fx {K[0, 0]:g} and fy {K[1, 1]:g}): {_CALIBRATE}"
        )
    if has_K:
        K = _checked("K", K)
    P = _checked("P", P) if has_P else np.hstack([K, np.zeros((3, 1))])
    if is_rectified:
        return Camera(info.width, info.height, P[:, :3], P)
    if not has_K:
        if D.any():
            raise DepthRosError(
                "camera_info has P and D but no K, so that the image cannot be rectified: set the parameter rectified "
                f"if it is rectified already, otherwise {_CALIBRATE}"
            )
        return Camera(info.width, info.height, P[:, :3], P)
    model, coefficients = _distortion(info.distortion_model, D)
    return Camera(info.width, info.height, K, P, _rotation(R), coefficients, model)


def _matrix(info: _Content, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Matrix of a camera_info. Raises DepthRosError if it is not finite."""
    values = np.array(getattr(info, name), float)
    if not np.all(np.isfinite(values)):
        raise DepthRosError(f"camera_info has NaN or Inf in {name}: {_CALIBRATE}")
    return values.reshape(shape)


def _is_set(matrix: np.ndarray) -> bool:
    """Whether K or P was filled in: drivers leave it zero, or the identity."""
    return bool(matrix[0, 0] or matrix[1, 1]) and not np.array_equal(matrix[:, :3], np.eye(3))


def _checked(name: str, matrix: np.ndarray) -> np.ndarray:
    """K or P with 1 at the end of its diagonal. Raises DepthRosError if it is not that of a camera."""
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise DepthRosError(
            f"camera_info is not calibrated ({name} has fx {matrix[0, 0]:g} and fy {matrix[1, 1]:g}): {_CALIBRATE}"
        )
    if matrix[2, :2].any() or matrix[1, 0] or matrix[2, 2] not in (0.0, 1.0):
        rows = "fx 0 cx, 0 fy cy, 0 0 1" if name == "K" else "fx 0 cx Tx, 0 fy cy Ty, 0 0 1 0"
        raise DepthRosError(
            f"{name} of camera_info is {np.array2string(matrix.ravel(), precision=1, separator=', ')}; its rows have "
            f"to be {rows}: was it stored by columns, as MATLAB does, or scaled?"
        )
    matrix[2, 2] = 1.0
    return matrix


def _rotation(R: np.ndarray) -> np.ndarray:
    if not R.any():
        return np.eye(3)
    if not np.allclose(R @ R.T, np.eye(3), atol=0.01) or np.linalg.det(R) < 0:
        raise DepthRosError(
            f"R of camera_info, {np.array2string(R.ravel(), precision=3, separator=', ')}, is not a rotation matrix: "
            f"{_CALIBRATE}"
        )
    return R


def _distortion(name: str, D: np.ndarray) -> tuple[str, tuple[float, ...]]:
    """Model and coefficients of a raw image. Zeros beyond those of the model are cut off: the T265 sends five."""
    key = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    model = _MODEL_NAMES.get(key, key)
    if not D.any():
        return model if model in _COEFFICIENT_COUNTS else "plumb_bob", tuple(D.tolist())
    if model not in _COEFFICIENT_COUNTS:
        raise DepthRosError(
            f"distortion_model '{name}' of camera_info is not supported; supported are "
            f"{', '.join(_COEFFICIENT_COUNTS)}: recalibrate with one of these, or rectify the image first"
        )
    counts = _COEFFICIENT_COUNTS[model]
    used = int(np.flatnonzero(D)[-1]) + 1
    count = len(D) if len(D) in counts else next((n for n in counts if used <= n < len(D)), 0)
    if not count:
        raise DepthRosError(
            f"camera_info has {len(D)} coefficients in D; '{name or model}' requires "
            f"{' or '.join(map(str, counts))}: {_CALIBRATE}"
        )
    return model, tuple(D[:count].tolist())


def _cropped_and_binned(camera: Camera, info: _Content) -> Camera:
    """`camera` after the region of interest (full-resolution px; all zero = whole image) and the binning of `info`.

    Binning averages neighbouring pixels (sensor_msgs/CameraInfo), so the principal point shifts as in `Camera.resized`.
    """
    left, top, width, height = info.roi
    if width or height:
        if left + width > camera.width or top + height > camera.height:
            raise DepthRosError(
                f"roi of camera_info, {width}x{height} at ({left}, {top}), exceeds the "
                f"{camera.width}x{camera.height} image: roi is in pixels before binning; fix the camera driver"
            )
        camera = camera.cropped(left, top, width or camera.width, height or camera.height)
    x, y = (max(binning, 1) for binning in info.binning)  # 0 means 1
    if x > camera.width or y > camera.height:
        raise DepthRosError(
            f"binning of camera_info, {x}x{y}, exceeds the {camera.width}x{camera.height} image: fix the camera driver"
        )
    return camera.resized(camera.width // x, camera.height // y) if (x, y) != (1, 1) else camera


def doubts_about(full: Camera, published: Camera | None = None) -> list[str]:
    """What is implausible about a camera. published: after region of interest and binning, if there are any."""
    doubts, camera = [], published or full
    if full.distortion_model != "equidistant":
        doubts += _doubts_about_lens("K", full.K, full)
    elif not np.any(full.distortion):
        doubts.append("the model is equidistant, but D is zero: the image is taken as rectified")
    if not doubts:
        doubts += _doubts_about_lens("P", full.P, full)
    if not camera.is_rectified and (fraction := visible_fraction(camera)) < MIN_VISIBLE_FRACTION:
        doubts.append(
            f"the raw image covers only {fraction:.0%} of the rectified image: K, D, R and P do not fit together"
        )
    return doubts


def _doubts_about_lens(name: str, M: np.ndarray, camera: Camera) -> list[str]:
    """Implausible focal lengths and principal points of K or P. That of P may lie off centre after rectification."""
    doubts, (width, height) = [], (camera.width, camera.height)
    fx, fy, cx, cy = M[0, 0], M[1, 1], M[0, 2], M[1, 2]
    fov = float(np.degrees(2 * np.arctan(width / 2 / fx)))
    if not MIN_FIELD_OF_VIEW <= fov <= MAX_FIELD_OF_VIEW:
        doubts.append(
            f"the focal length {fx:g} px of {name} is a field of view of {fov:.1f} deg in an image {width} px wide: is "
            "it in pixels, and of this resolution?"
        )
    if max(fx / fy, fy / fx) > MAX_PIXEL_ASPECT:
        doubts.append(
            f"the focal lengths {fx:g} and {fy:g} px of {name} differ: is the calibration of another aspect ratio?"
        )
    limit = MAX_CENTRE_OFFSET if name == "K" else 0.5
    if abs(cx / width - 0.5) > limit or abs(cy / height - 0.5) > limit:
        doubts.append(
            f"the principal point ({cx:.1f}, {cy:.1f}) of {name} is far from the centre of the {width}x{height} image: "
            f"is the calibration that of an image of {2 * cx:.0f}x{2 * cy:.0f} pixels?"
        )
    return doubts


def visible_fraction(camera: Camera) -> float:
    """Fraction of the rectified image that the raw image covers, on a grid of pixels."""
    u, v = np.meshgrid(np.linspace(0, camera.width - 1, 32), np.linspace(0, camera.height - 1, 24))
    pixels = np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    rays = (camera.R.T @ np.linalg.inv(camera.P[:, :3]) @ pixels).T[:, None]
    project = cv2.fisheye.projectPoints if camera.distortion_model == "equidistant" else cv2.projectPoints
    D = np.array(camera.distortion or (0.0,) * 4)
    raw = project(rays, np.zeros(3), np.zeros(3), camera.K, D)[0][:, 0]
    inside = (raw >= 0).all(axis=1) & (raw[:, 0] < camera.width) & (raw[:, 1] < camera.height)
    return float((inside & (rays[:, 0, 2] > 0)).mean())
