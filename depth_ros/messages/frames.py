"""Images and depth images with their calibration as frames: the same rules for nodes and recordings.

What is impossible raises DepthRosError; what is doubtful is passed to `warn`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify_depth
from depth_ros.messages.calibration import Calibration
from depth_ros.messages.decode import decode_image, depth_from, stamp_ns
from depth_ros.messages.image_doubts import doubt_about_depth, doubt_about_image
from depth_ros.messages.protocols import CompressedImage, Image

_COMMON_WORDS = {"camera", "cam", "sensor", "optical", "frame", "link"}
_OPPOSITES = (
    ({"left"}, {"right"}), ({"front"}, {"rear", "back"}), ({"color", "rgb"}, {"depth"}),
    ({"color", "rgb"}, {"ir", "infra", "infrared"}),
)  # fmt: skip
"""Words of frame ids that never belong to the same camera."""


def frame_from(
    message: Image | CompressedImage, calibration: Calibration, warn: Callable[[str], None]
) -> Frame:
    """Frame of an Image or CompressedImage. Raises DepthRosError if it or its size or frame id is wrong."""
    image = decode_image(message)
    camera = _camera_for(image, calibration, warn)
    if doubt := doubt_about_image(message, image):
        warn(doubt)
    frame_id = _frame_id(message.header.frame_id, calibration, warn)
    return Frame(stamp_ns(message.header), frame_id, image, camera)


def depth_frame_from(message: Image, calibration: Calibration, warn: Callable[[str], None]) -> Depth:
    """Rectified depth of a depth image, with a grey image. Raises DepthRosError as `frame_from` and `rectify_depth`.

    Depth registered to a colour image (RealSense: aligned_depth_to_color) has the distortion of that image.
    """
    raw = depth_from(message)
    depth, camera = rectify_depth(raw, _camera_for(raw, calibration, warn))
    if doubt := doubt_about_depth(depth):
        warn(doubt)
    frame_id = _frame_id(message.header.frame_id, calibration, warn)
    grey = np.full((*depth.shape, 3), 128, np.uint8)
    return Depth(stamp_ns(message.header), frame_id, depth, camera, grey, baseline=abs(camera.baseline))


def _camera_for(image: np.ndarray, calibration: Calibration, warn: Callable[[str], None]) -> Camera:
    """Camera of an image (H, W[, C]). A full image is known, too, because K of camera_info always is that of one."""
    height, width = image.shape[:2]
    camera, full = calibration.camera, calibration.full
    if (camera.width, camera.height) == (width, height):
        return camera
    note = ""
    if (camera.width, camera.height) != (full.width, full.height):
        note = f" (of {full.width}x{full.height}, after roi and binning)"
    text = f"image is {width}x{height} but camera_info describes {camera.width}x{camera.height}{note}"
    if (full.width, full.height) == (width, height):
        warn(f"{text}: roi and binning are ignored; fix the camera driver")
        return full
    raise DepthRosError(
        f"{text}: use the camera_info of the same stream (a resized image needs a resized camera_info)"
    )


def _frame_id(image: str, calibration: Calibration, warn: Callable[[str], None]) -> str:
    """Frame id of an image: that of its camera_info if its own is empty.

    The camera_info of the right camera of a pair may be in the frame of the left one (RealSense: infra2).
    """
    info = calibration.frame_id
    if not image and not info:
        warn("frame_id is empty, so that TF has no place for the results: set it in the camera driver")
    is_right = bool(calibration.camera.P[0, 3]) and _are_right_and_left(image, info)
    if image and info and image != info and not is_right:
        text = (
            f"image is in frame '{image}' but camera_info in '{info}': use the camera_info of the same camera (remap "
            "camera_info), or correct frame_id in the camera driver"
        )
        if _are_opposed(image, info):
            raise DepthRosError(text)
        if _words(image) - _COMMON_WORDS != _words(info) - _COMMON_WORDS:
            warn(text)
    return (image or info).lstrip("/")  # tf2 has no names with a leading slash


def _words(frame_id: str) -> set[str]:
    return set(re.findall(r"[a-z]+|\d+", frame_id.lower()))


def _are_right_and_left(one: str, other: str) -> bool:
    """Whether two frame ids belong to the right and the left camera of a pair, in this order."""
    a, b = _words(one) - _words(other), _words(other) - _words(one)
    numbers = [[int(word) for word in words if word.isdigit()] for words in (a, b)]
    return ("right" in a and "left" in b) or (all(numbers) and min(numbers[0]) > max(numbers[1]))


def _are_opposed(one: str, other: str) -> bool:
    """Whether two frame ids belong to different cameras: left and right, colour and depth, cam0 and cam1."""
    a, b = _words(one) - _words(other), _words(other) - _words(one)
    numbers = [{word for word in words if word.isdigit()} for words in (a, b)]
    return all(numbers) or any((a & x and b & y) or (a & y and b & x) for x, y in _OPPOSITES)
