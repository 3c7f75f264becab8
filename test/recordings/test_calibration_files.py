"""Calibration files of ROS, Kalibr, EuRoC and depth_ros."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from depth_ros.errors import DepthRosError
from depth_ros.recordings.calibration import read_cameras


def euroc(path, x: float, **changes):
    T = np.eye(4)
    T[0, 3] = x
    content = {
        "rate_hz": 20, "resolution": [752, 480], "camera_model": "pinhole", "intrinsics": [458.0, 457.0, 367.0, 248.0],
        "distortion_model": "radial-tangential", "distortion_coefficients": [-0.28, 0.07, 0.0002, 1e-5],
        "T_BS": {"cols": 4, "rows": 4, "data": T.ravel().tolist()},
    } | changes  # fmt: skip
    path.write_text("%YAML:1.0\n" + yaml.safe_dump(content))
    return path


def kalibr(path, model: str = "radtan"):
    def camera(**more):
        return {
            "camera_model": "pinhole", "distortion_coeffs": [0.01, 0.002, 0.0, 0.0], "distortion_model": model,
            "intrinsics": [400.0, 401.0, 320.0, 240.0], "resolution": [640, 480], "rostopic": "/cam", **more,
        }  # fmt: skip

    T = np.eye(4)
    T[0, 3] = -0.11  # points of cam0 in cam1, which is 11 cm to the right
    path.write_text(yaml.safe_dump({"cam0": camera(), "cam1": camera(T_cn_cnm1=T.tolist())}))
    return path


def test_euroc_sensor_alone_and_as_a_pair(tmp_path):
    left, right = euroc(tmp_path / "a.yaml", 0.0), euroc(tmp_path / "b.yaml", 0.11)
    (camera,) = read_cameras((left,))
    assert (camera.width, camera.height, camera.fx, camera.cy) == (752, 480, 458.0, 248.0)
    assert camera.distortion == (-0.28, 0.07, 0.0002, 1e-5) and not camera.is_rectified
    pair = read_cameras((left, right))
    assert pair[1].baseline == pytest.approx(0.11, rel=1e-6)


@pytest.mark.parametrize(("model", "expected"), [("radtan", "plumb_bob"), ("equidistant", "equidistant")])
def test_kalibr_camchain_is_a_pair(tmp_path, model, expected):
    left, right = read_cameras((kalibr(tmp_path / "chain.yaml", model),))
    assert (left.distortion_model, left.width, left.K[0, 0]) == (expected, 640, 400.0)
    assert right.baseline == pytest.approx(0.11, rel=1e-6)
    assert left.baseline == pytest.approx(0.0)


def test_general_camera_file(tmp_path):
    (tmp_path / "c.yaml").write_text("width: 10\nheight: 8\nfx: 7\nfy: 7.5\ncx: 4.5\ncy: 3.5\n")
    (camera,) = read_cameras((tmp_path / "c.yaml",))
    assert (camera.fx, camera.fy, camera.width) == (7.0, 7.5, 10) and camera.is_rectified


@pytest.mark.parametrize(("change", "problem"), [
    ({"distortion_model": "fov"}, "distortion model is 'fov'; allowed: radtan"),
    ({"intrinsics": [1.0, 2.0]}, "missing or malformed"),
    ({"resolution": None}, "missing or malformed"),
])  # fmt: skip
def test_malformed_files_are_named(tmp_path, change, problem):
    with pytest.raises(DepthRosError, match=problem):
        read_cameras((euroc(tmp_path / "a.yaml", 0.0, **change),))


def test_unknown_files_and_unknown_poses_are_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("hello: 1\n")
    with pytest.raises(
        DepthRosError, match="no calibration file that is known; allowed: YAML of camera_info or OpenCV"
    ):
        read_cameras((tmp_path / "x.yaml",))
    left = euroc(tmp_path / "a.yaml", 0.0)
    text = yaml.safe_load(left.read_text().replace("%YAML:1.0\n", ""))
    del text["T_BS"]
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(text))
    with pytest.raises(DepthRosError, match="pose of the right camera relative to the left one is missing"):
        read_cameras((left, tmp_path / "b.yaml"))


OPENCV = """%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 500., 0., 320., 0., 501., 240., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ 0.1, -0.2, 0.001, 0.002, 0.3 ]
"""
ORB_SLAM = """%YAML:1.0
Camera.type: "PinHole"
Camera1.fx: 500.0
Camera1.fy: 501.0
Camera1.cx: 320.0
Camera1.cy: 240.0
Camera1.k1: 0.1
Camera1.k2: -0.2
Camera1.p1: 0.001
Camera1.p2: 0.002
Camera1.k3: 0.3
Camera.width: 640
Camera.height: 480
"""
VINS = """%YAML:1.0
---
model_type: PINHOLE
image_width: 640
image_height: 480
distortion_parameters: {k1: 0.1, k2: -0.2, p1: 0.001, p2: 0.002}
projection_parameters: {fx: 500.0, fy: 501.0, cx: 320.0, cy: 240.0}
"""
ORB_SLAM_FISHEYE = """%YAML:1.0
Camera.type: "KannalaBrandt8"
Camera.fx: 500.0
Camera.fy: 501.0
Camera.cx: 320.0
Camera.cy: 240.0
Camera.k1: 0.1
Camera.k2: -0.2
Camera.k3: 0.001
Camera.k4: 0.002
Camera.width: 640
Camera.height: 480
"""
VINS_FISHEYE = """%YAML:1.0
---
model_type: KANNALA_BRANDT
image_width: 640
image_height: 480
projection_parameters: {k2: 0.1, k3: -0.2, k4: 0.001, k5: 0.002, mu: 500.0, mv: 501.0, u0: 320.0, v0: 240.0}
"""


@pytest.mark.parametrize(("text", "model", "third"), [
    (OPENCV, "plumb_bob", 0.3),
    (ORB_SLAM, "plumb_bob", 0.3),
    (ORB_SLAM.replace("Camera1.", "Camera."), "plumb_bob", 0.3),
    (VINS, "plumb_bob", None),
    (ORB_SLAM_FISHEYE, "equidistant", None),
    (VINS_FISHEYE, "equidistant", None),
], ids=["OpenCV", "ORB-SLAM3", "ORB-SLAM2", "VINS", "ORB-SLAM fisheye", "VINS fisheye"])  # fmt: skip
def test_files_of_other_programs(tmp_path, text, model, third):
    (tmp_path / "c.yaml").write_text(text)
    (camera,) = read_cameras((tmp_path / "c.yaml",))
    assert camera.K.tolist() == [[500, 0, 320], [0, 501, 240], [0, 0, 1]]
    assert (camera.width, camera.height, camera.distortion_model) == (640, 480, model)
    assert camera.distortion == (0.1, -0.2, 0.001, 0.002, *([third] if third else []))


@pytest.mark.parametrize(("text", "problem"), [
    ("image_width: 640\nimage_height: 480\n", "c.yaml: camera_info is not calibrated"),
    (OPENCV.replace("camera_matrix", "K"), "c.yaml: camera_info is not calibrated"),
    (OPENCV.replace(", 0.002, 0.3 ]", " ]"), "3 coefficients in D"),
    (VINS.replace("PINHOLE", "MEI"), "c.yaml: the model_type is 'MEI'; allowed: PINHOLE"),
    (ORB_SLAM.replace("Camera.width: 640\n", ""), "c.yaml: KeyError.'Camera.width'. is missing"),
])  # fmt: skip
def test_a_camera_that_is_not_calibrated_is_refused(tmp_path, text, problem):
    """And never taken for one with a focal length of 1 px."""
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(DepthRosError, match=problem):
        read_cameras((tmp_path / "c.yaml",))


def test_only_the_projection_matrix_of_rectified_images(tmp_path):
    content = {"image_width": 640, "image_height": 480,
               "projection_matrix": {"data": [500, 0, 320, -60, 0, 500, 240, 0, 0, 0, 1, 0]}}  # fmt: skip
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    (camera,) = read_cameras((tmp_path / "c.yaml",))
    assert camera.K[0, 0] == 500 and camera.baseline == pytest.approx(0.12) and camera.is_rectified


def test_an_implausible_lens_is_warned_about(tmp_path, caplog):
    """A focal length in mm, as of a data sheet."""
    (tmp_path / "c.yaml").write_text("width: 640\nheight: 480\nfx: 3.6\nfy: 3.6\ncx: 320\ncy: 240\n")
    read_cameras((tmp_path / "c.yaml",))
    assert "c.yaml: the focal length 3.6 px of K is a field of view of 178.7 deg" in caplog.text
