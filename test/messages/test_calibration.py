"""camera_info as drivers publish it: what it means, what is refused and what is doubted."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags_messages import TYPES, TYPES_ROS1, camera_info

from depth_ros.errors import DepthRosError
from depth_ros.messages.calibration import (
    calibration_from,
    camera_from,
    names_rectified_images,
    visible_fraction,
)

K = [500.0, 0, 320, 0, 510, 240, 0, 0, 1]
P = [400.0, 0, 300, 0, 0, 410, 250, 0, 0, 0, 1, 0]
D = [-0.3, 0.1, 0.001, -0.001, 0.0]
FISHEYE = [-0.0022, 0.0376, -0.0364, 0.0059]


def doubts(**change) -> str:
    is_rectified = change.pop("is_rectified", False)
    return "; ".join(calibration_from(camera_info(**change), is_rectified).doubts)


@pytest.mark.parametrize("types", [TYPES, TYPES_ROS1], ids=["ros2", "ros1"])
def test_camera_info_of_ros_2_and_ros_1_is_decoded(types):
    camera = camera_from(camera_info(types, d=[0.1, -0.2, 0.001, 0.002, 0.0]))
    assert (camera.width, camera.height, camera.fx, camera.fy) == (640, 480, 500, 510)
    assert camera.distortion == (0.1, -0.2, 0.001, 0.002, 0.0) and not camera.is_rectified


def test_camera_info_without_p_and_r_is_rectified_with_the_intrinsics_k():
    camera = camera_from(camera_info(p=[0.0] * 12, r=[0.0] * 9))
    assert camera.is_rectified and np.array_equal(camera.P[:, :3], camera.K)


def test_region_of_interest_and_binning_move_the_principal_point():
    """A point of the full image has to project to where cropping and 2x4 averaging of the pixels put it."""
    info = camera_info(roi=(100, 60, 400, 200), binning=(2, 4))
    camera = camera_from(info)
    assert (camera.width, camera.height) == (200, 50)
    ray = np.array([0.1, -0.05, 1.0])
    u, v, _ = np.reshape(info.k, (3, 3)) @ ray
    binned = camera.K @ ray
    # Full-resolution pixels 2i and 2i+1 have their common centre at 2i + 0.5.
    assert binned[0] == pytest.approx((u - 100 - 0.5) / 2)
    assert binned[1] == pytest.approx((v - 60 - 1.5) / 4)
    assert camera.P[:, :3] == pytest.approx(camera.K)


@pytest.mark.parametrize(
    "change, parts",
    [
        ({"k": [0.0] * 9, "p": [0.0] * 12}, ["not calibrated", "cameracalibrator"]),
        ({"k": [np.nan] * 9}, ["NaN or Inf in K", "cameracalibrator"]),
        ({"p": [np.inf] + [0.0] * 11}, ["NaN or Inf in P"]),
        ({"d": [0.1, np.nan, 0, 0, 0]}, ["NaN or Inf in D"]),
        ({"r": [np.nan] * 9}, ["NaN or Inf in R"]),
        ({"d": [0.1, 0.2, 0.3]}, ["3 coefficients in D", "4 or 5"]),
        ({"d": [0.1] * 5, "model": "equidistant"}, ["5 coefficients in D", "'equidistant' requires 4"]),
        ({"d": [0.1] * 8, "model": "fisheye"}, ["8 coefficients in D", "'fisheye' requires 4"]),
        (
            {"d": [0.1] * 5, "model": "inverse_brown_conrady"},
            ["'inverse_brown_conrady'", "rectify the image first"],
        ),
        ({"d": D, "k": [0.0] * 9}, ["P and D but no K", "parameter rectified"]),
        ({"k": [500.0, 0, 0, 0, 510, 0, 320, 240, 1]}, ["K of camera_info is", "stored by columns"]),
        ({"k": [5.0e5, 0, 3.2e5, 0, 5.1e5, 2.4e5, 0, 0, 1000]}, ["fx 0 cx, 0 fy cy, 0 0 1", "scaled"]),
        ({"r": [1.0, 0, 0, 0, 1, 0, 0, 0, -1]}, ["R of camera_info", "not a rotation matrix"]),
        ({"r": [2.0, 0, 0, 0, 2, 0, 0, 0, 2]}, ["not a rotation matrix"]),
        ({"d": [0.1] * 5, "model": "magic"}, ["'magic'", "plumb_bob"]),
        ({"p": [-500.0, *P[1:]]}, ["P has fx -500", "cameracalibrator"]),
        ({"width": 0}, ["0x480", "cameracalibrator"]),
        ({"binning": (2, 500)}, ["binning of camera_info, 2x500", "640x480"]),
        ({"roi": (600, 0, 100, 100)}, ["100x100 at (600, 0)", "640x480"]),
    ],
)
def test_errors_name_what_is_wrong_with_a_camera_info(change, parts):
    with pytest.raises(DepthRosError) as error:
        camera_from(camera_info(**change))
    assert all(part in str(error.value) for part in parts), error.value


@pytest.mark.parametrize(
    "topic, expected",
    [
        ("/camera/image_rect", True),
        ("/camera/image_rect_color", True),
        ("/camera/infra1/image_rect_raw", True),
        ("/zed/zed_node/rgb/color/rect/image", True),
        ("/oak/left/image_rect/compressed", True),
        ("/camera/leftRectified", True),
        ("/camera/image_raw", False),
        ("/camera/image", False),
        ("/rect/left/image_raw", False),
        ("/zed/zed_node/rgb/color/raw/image", False),
        ("/direct/rectangle/image", False),
        ("/camera/image_unrectified", False),
    ],
)
def test_topics_say_whether_their_images_are_rectified(topic, expected):
    assert names_rectified_images(topic) is expected


def test_p_describes_a_rectified_image_and_k_and_d_do_not():
    camera = camera_from(camera_info(d=D, p=P, r=np.diag([-1.0, -1, 1]).ravel()), is_rectified=True)
    assert camera.is_rectified and camera.K.ravel().tolist() == [400, 0, 300, 0, 410, 250, 0, 0, 1]


@pytest.mark.parametrize(
    "unset", [[0.0] * 9, np.eye(3).ravel(), [0.0] * 8 + [1.0]], ids=["zero", "identity", "last"]
)
@pytest.mark.parametrize("is_rectified", [False, True])
def test_p_alone_is_the_camera_of_an_image_without_distortion(unset, is_rectified):
    camera = camera_from(camera_info(k=unset, r=[0.0] * 9, p=P, d=D if is_rectified else []), is_rectified)
    assert camera.is_rectified and (camera.fx, camera.fy, camera.cx, camera.cy) == (400, 410, 300, 250)


def test_k_alone_is_the_camera_of_a_rectified_image_but_doubted_beside_a_distortion():
    info = camera_info(p=[0.0] * 12, d=D)
    assert camera_from(info, is_rectified=True).fx == 500
    assert "P is zero although the image is rectified" in doubts(p=[0.0] * 12, d=D, is_rectified=True)
    assert not doubts(p=[0.0] * 12, d=D) and not doubts(p=[0.0] * 12, is_rectified=True)


def test_the_last_element_of_k_may_be_zero():
    assert camera_from(camera_info(k=[*K[:8], 0.0])).is_rectified


@pytest.mark.parametrize(
    "model, coefficients, expected, count",
    [
        ("equidistant", FISHEYE, "equidistant", 4),
        ("equidistant", [*FISHEYE, 0.0], "equidistant", 4),  # T265
        ("fisheye", [*FISHEYE, 0.0, 0.0, 0.0, 0.0], "equidistant", 4),
        ("kannala_brandt4", FISHEYE, "equidistant", 4),
        ("Kannala Brandt4", FISHEYE, "equidistant", 4),
        ("", D, "plumb_bob", 5),
        ("plumb_bob", D[:4], "plumb_bob", 4),
        ("plumb_bob", [*D, 0.0, 0.0, 0.0], "plumb_bob", 8),
        ("plumb_bob", [*D[:4], 0.1, 0.0], "plumb_bob", 5),
        ("Brown Conrady", D, "plumb_bob", 5),
        ("radtan", D[:4], "plumb_bob", 4),
        ("rational_polynomial", [0.1] * 8, "rational_polynomial", 8),
        ("rational_polynomial", [0.1] * 12, "rational_polynomial", 12),
        ("rational_polynomial", [0.01] * 14, "rational_polynomial", 14),
        ("rational_polynomial", D, "rational_polynomial", 5),
        ("thin_prism", [0.1] * 12, "rational_polynomial", 12),
        ("none", [0.0] * 5, "plumb_bob", 5),
        ("pinhole", [], "plumb_bob", 0),
    ],
)
def test_names_and_coefficients_of_distortion_models(model, coefficients, expected, count):
    camera = camera_from(camera_info(model=model, d=coefficients))
    assert (camera.distortion_model, camera.distortion) == (expected, tuple(coefficients[:count]))


@pytest.mark.parametrize(
    "change, part",
    [
        ({"k": [1.0, 0, 320, 0, 1, 240, 0, 0, 1]}, "focal length 1 px of K is a field of view of 179.6 deg"),
        ({"k": [3.6, 0, 320, 0, 3.6, 240, 0, 0, 1]}, "focal length 3.6 px of K"),
        (
            {"k": [5.0e5, 0, 320, 0, 5.0e5, 240, 0, 0, 1]},
            "is a field of view of 0.1 deg in an image 640 px wide",
        ),
        ({"p": [20.0, 0, 320, 0, 0, 20, 240, 0, 0, 0, 1, 0]}, "focal length 20 px of P"),
        (
            {"k": [1000.0, 0, 640, 0, 1000, 360, 0, 0, 1]},
            "is the calibration that of an image of 1280x720 pixels?",
        ),
        (
            {"k": [250.0, 0, 160, 0, 250, 120, 0, 0, 1]},
            "(160.0, 120.0) of K is far from the centre of the 640x480",
        ),
        ({"p": [500.0, 0, 700, 0, 0, 500, 240, 0, 0, 0, 1, 0]}, "(700.0, 240.0) of P"),
        ({"k": [541.0, 0, 320, 0, 477, 240, 0, 0, 1]}, "the focal lengths 541 and 477 px of K differ"),
        ({"d": [-30.0, 0, 0, 0, 0]}, "the raw image covers only"),
        ({"r": [0.0, 0, 1, 0, 1, 0, -1, 0, 0]}, "the raw image covers only 0% of the rectified image"),
        ({"d": [0.0] * 4, "model": "equidistant"}, "the model is equidistant, but D is zero"),
    ],
)
def test_implausible_calibrations_are_doubted(change, part):
    assert part in doubts(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"d": D},
        {"roi": (0, 0, 100, 100)},
        {"binning": (4, 4)},
        {"width": 848, "height": 800, "k": [285.0, 0, 420, 0, 286, 400, 0, 0, 1], "d": FISHEYE, "model": "equidistant",
         "p": [285.0, 0, 420, 0, 0, 286, 400, 0, 0, 0, 1, 0]},
        {"width": 1242, "height": 375, "k": [721.5, 0, 609.6, 0, 721.5, 172.9, 0, 0, 1], "p": [0.0] * 12},
        {"width": 1920, "height": 1080, "k": [30000.0 / 3, 0, 960, 0, 10000, 540, 0, 0, 1], "p": [0.0] * 12},
    ],
)  # fmt: skip
def test_usual_calibrations_are_not_doubted(change):
    assert doubts(**change) == ""


def test_visible_fraction_is_that_of_the_pixels_that_remap_finds():
    import cv2

    from depth_ros.geometry import rectify

    camera = camera_from(camera_info(d=D, p=[300.0, 0, 320, 0, 0, 300, 240, 0, 0, 0, 1, 0]))
    white = cv2.threshold(rectify(np.full((480, 640), 255, np.uint8), camera)[0], 0, 1, cv2.THRESH_BINARY)[1]
    assert visible_fraction(camera) == pytest.approx(white.mean(), abs=0.05)
