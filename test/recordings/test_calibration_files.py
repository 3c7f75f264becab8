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
    with pytest.raises(DepthRosError, match="no calibration file that is known; allowed: a camera_info file"):
        read_cameras((tmp_path / "x.yaml",))
    left = euroc(tmp_path / "a.yaml", 0.0)
    text = yaml.safe_load(left.read_text().replace("%YAML:1.0\n", ""))
    del text["T_BS"]
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(text))
    with pytest.raises(DepthRosError, match="pose of the right camera relative to the left one is missing"):
        read_cameras((left, tmp_path / "b.yaml"))
