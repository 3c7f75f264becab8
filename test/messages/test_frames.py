"""Frames from images and camera_info: size, frame id, and pixels that look wrong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rosbags_messages import TYPES, camera_info, header, image

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify, se3_exp
from depth_ros.messages.calibration import Calibration, calibration_from
from depth_ros.messages.frames import depth_frame_from, frame_from

SMALL = Camera.pinhole(32, 24, 30, 30, 16, 12)


def calibration(camera: Camera = SMALL, frame_id: str = "optical") -> Calibration:
    return Calibration(camera, camera, frame_id)


def image_in(frame_id: str):
    message = image(32, 24, "rgb8", bytes(range(256)) * 9)
    message.header.frame_id = frame_id
    return message


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def scene() -> np.ndarray:
    """A textured colour image, 320 x 240."""
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 2)


def test_frame_has_stamp_and_frame_id_of_the_image_and_requires_a_camera_of_its_size(warnings):
    message = image_in("optical")
    frame = frame_from(message, calibration(), warnings.append)
    assert (frame.stamp, frame.frame_id) == (5_000_000_007, "optical") and not warnings
    assert np.array_equal(frame.image, np.reshape(message.data, (24, 32, 3)))
    with pytest.raises(DepthRosError, match="32x24 but camera_info describes 64x48"):
        frame_from(message, calibration(Camera.pinhole(64, 48, 30, 30, 16, 12)), warnings.append)


def test_a_full_image_is_used_although_camera_info_declares_binning_or_a_region(warnings):
    """K is that of the full image, whatever is declared."""
    info = camera_info(binning=(2, 2), roi=(64, 48, 320, 240))
    info.header.frame_id = "optical"
    calibrated = calibration_from(info)
    full = image(640, 480, "mono8", bytes([7]) * 640 * 480)
    assert frame_from(full, calibrated, warnings.append).camera.fx == 500
    assert "(of 640x480, after roi and binning): roi and binning are ignored" in warnings[0]
    binned = image(160, 120, "mono8", bytes([7]) * 160 * 120)
    assert frame_from(binned, calibrated, warnings.append).camera.fx == 250 and len(warnings) == 1
    with pytest.raises(
        DepthRosError, match=r"image is 320x240 but camera_info describes 160x120 \(of 640x480"
    ):
        frame_from(image(320, 240, "mono8", bytes(320 * 240)), calibrated, warnings.append)


@pytest.mark.parametrize(
    "image_frame, info_frame",
    [
        ("left_camera_optical", "right_camera_optical"),
        ("camera_color_optical_frame", "camera_depth_optical_frame"),
        ("camera_depth_optical_frame", "camera_rgb_optical_frame"),
        ("camera_infra1_optical_frame", "camera_infra2_optical_frame"),
        ("cam0", "cam1"),
        ("robot/front_camera/optical", "robot/rear_camera/optical"),
    ],
)
def test_camera_info_of_another_camera_is_refused(image_frame, info_frame, warnings):
    with pytest.raises(
        DepthRosError, match=f"image is in frame '{image_frame}' but camera_info in '{info_frame}'"
    ):
        frame_from(image_in(image_frame), calibration(frame_id=info_frame), warnings.append)


@pytest.mark.parametrize(
    "image_frame, info_frame, is_doubted",
    [
        ("usb_cam", "head_camera", True),
        ("front_optical", "base_link", True),
        ("camera_infra1_optical_frame", "camera_depth_optical_frame", True),
        ("camera_link", "camera_optical_frame", False),
        ("front_camera", "front_camera_optical_frame", False),
        ("front", "", False),
        ("front", "front", False),
    ],
)
def test_camera_info_of_another_frame_is_doubted_unless_it_is_the_same_camera(
    image_frame, info_frame, is_doubted, warnings
):
    frame = frame_from(image_in(image_frame), calibration(frame_id=info_frame), warnings.append)
    assert frame.frame_id == image_frame and bool(warnings) == is_doubted


def test_an_empty_frame_id_is_that_of_camera_info(warnings):
    assert frame_from(image_in(""), calibration(frame_id="front"), warnings.append).frame_id == "front"
    assert frame_from(image_in("/front"), calibration(frame_id="front"), warnings.append).frame_id == "front"
    assert not warnings
    assert frame_from(image_in(""), calibration(frame_id=""), warnings.append).frame_id == ""
    assert "frame_id is empty" in warnings[0]


def compressed(format: str, pixels: np.ndarray):
    data = cv2.imencode(".png" if "png" in format else ".jpg", pixels)[1].ravel()
    return TYPES["sensor_msgs/msg/CompressedImage"](header(), format, data)


def mosaic(rgb: np.ndarray) -> np.ndarray:
    v, u = np.mgrid[0 : rgb.shape[0], 0 : rgb.shape[1]]
    return rgb[v, u, v % 2 + u % 2]


def test_pixels_that_look_wrong_are_doubted(scene, warnings):
    colours = (scene * np.array([0.3, 1.0, 0.6])).astype(np.uint8)
    camera = calibration(Camera.pinhole(320, 240, 300, 300, 160, 120))
    cases = {
        "use 12 of 16 bits": image(
            320, 240, "mono16", np.linspace(0, 4095, 320 * 240, dtype="<u2").tobytes()
        ),
        "the image is white": image(320, 240, "rgb8", bytes([255]) * 3 * 320 * 240),
        "the image is black": image(320, 240, "rgb8", bytes(3 * 320 * 240)),
        "Bayer mosaic but its encoding is 'mono8'": image(320, 240, "mono8", mosaic(colours).tobytes()),
        "Bayer mosaic but its encoding is 'jpeg'": compressed("jpeg", mosaic(colours)),
        "has made the Bayer image": compressed("bayer_rggb8; jpeg compressed mono8", scene[..., 1]),
        "16UC1 is usually that of a depth image": image(320, 240, "16UC1", bytes([1]) * 2 * 320 * 240),
        "": compressed("16UC1; png compressed ", scene[..., 1].astype(np.uint16)),
    }
    for expected, message in cases.items():
        frame_from(message, camera, warnings.append)
        assert expected in warnings.pop(), expected
    for fine in (
        image(320, 240, "mono8", scene[..., 1].tobytes()),
        image(320, 240, "rgb8", colours.tobytes()),
        image(320, 240, "mono16", (scene[..., 1].astype("<u2") * 257).tobytes()),
        image(320, 240, "bayer_rggb8", mosaic(colours).tobytes()),
        compressed("jpeg", colours),
        compressed("bayer_rggb8; png compressed ", mosaic(colours)),
        image(320, 240, "mono8", np.random.default_rng(1).integers(0, 255, 320 * 240, np.uint8).tobytes()),
    ):
        frame_from(fine, camera, warnings.append)
    assert warnings == []


def depth_image(values: np.ndarray):
    encoding = "32FC1" if values.dtype == np.float32 else "16UC1"
    return image(values.shape[1], values.shape[0], encoding, values.tobytes())


@pytest.mark.parametrize(
    "values, part",
    [
        (np.zeros((24, 32), np.float32), "no valid pixel"),
        (np.full((24, 32), np.inf, np.float32), "no valid pixel"),
        (np.full((24, 32), 1500, np.float32), "median of the depth image is 1500 m"),
        (np.full((24, 32), 2, np.uint16), "median of the depth image is 0.002 m"),
        (np.full((24, 32), 1500, np.uint16), ""),
        (np.full((24, 32), 1.5, np.float32), ""),
    ],
)
def test_depth_in_the_wrong_unit_and_without_a_valid_pixel_is_doubted(values, part, warnings):
    depth = depth_frame_from(depth_image(values), calibration(), warnings.append)
    assert (depth.stamp, depth.depth.shape) == (5_000_000_007, (24, 32))
    assert len(warnings) == bool(part) and part in "".join(warnings)


def test_depth_with_distortion_is_rectified_like_its_image(warnings):
    """A ramp along x: where the rectified image shows the raw column u, the rectified depth is that of u."""
    K = np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]])
    P = np.hstack([K, np.zeros((3, 1))])
    distorted = Camera(32, 24, K, P, distortion=(-0.3, 0.1, 0.0, 0.0, 0.0))
    ramp = np.tile(np.arange(1, 33, dtype=np.float32), (24, 1))
    depth = depth_frame_from(depth_image(ramp), calibration(distorted), warnings.append)
    expected, camera = rectify(ramp, distorted)
    valid = np.isfinite(depth.depth)
    assert valid.mean() > 0.9 and depth.camera.is_rectified and np.array_equal(depth.camera.K, camera.K)
    assert np.abs(depth.depth - expected)[valid].max() <= 0.5 + 1 / 32
    assert np.abs(depth.depth - ramp)[valid].max() > 1  # the distortion is not ignored


def test_depth_in_an_image_that_calibration_rotates_is_refused(warnings):
    rotated = Camera(32, 24, SMALL.K, SMALL.P, R=se3_exp(np.array([0, 0, 0, 0, 0.05, 0.0]))[:3, :3])
    with pytest.raises(DepthRosError, match="R in the camera_info of the depth image is a rotation"):
        depth_frame_from(depth_image(np.ones((24, 32), np.float32)), calibration(rotated), warnings.append)


@pytest.mark.parametrize(
    ("image", "info"),
    [("camera_infra2_optical_frame", "camera_infra1_optical_frame"), ("right_optical", "left_optical")],
)
def test_camera_info_of_a_right_camera_may_be_in_the_frame_of_the_left_one(image: str, info: str, warnings):
    """As realsense2_camera publishes it; the reverse is the camera_info of the wrong camera."""
    right = Camera.pinhole(SMALL.width, SMALL.height, 30, 30, 15.5, 11.5, 0.1)
    assert frame_from(image_in(image), calibration(right, info), warnings.append).frame_id == image
    assert not warnings
    for camera, frames in ((right, (info, image)), (SMALL, (image, info))):
        with pytest.raises(DepthRosError, match="use the camera_info of the same camera"):
            frame_from(image_in(frames[0]), calibration(camera, frames[1]), warnings.append)
