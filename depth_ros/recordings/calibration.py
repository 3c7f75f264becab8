"""Calibration files: ROS camera_info YAML, Kalibr's camchain, EuRoC's sensor.yaml, and our own camera.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse
from depth_ros.recordings.files import read_yaml

FORMATS = (
    "a camera_info file (image_width, camera_matrix, ...), a camchain of Kalibr (cam0: ...), a sensor.yaml of EuRoC "
    "(intrinsics, resolution, T_BS, ...) or a camera.yaml of depth_ros (width, height, fx, ...)"
)
ASSUMED_FOV = 60.0
"""Degrees, horizontal, of a camera of which nothing is known: between a webcam and a phone."""
ASSUMED = f"none: a field of view of {ASSUMED_FOV:g} degrees is assumed; give --fov or --camera"
"""`Recording.camera_source` of such a camera."""
DISTORTION_MODELS = {
    "radtan": "plumb_bob",
    "radial-tangential": "plumb_bob",
    "plumb_bob": "plumb_bob",
    "rational_polynomial": "rational_polynomial",
    "equidistant": "equidistant",
    "equi": "equidistant",
    "fisheye": "equidistant",
    "none": "plumb_bob",
}
"""Name in a calibration file -> name in `Camera`."""


@dataclass(frozen=True)
class Intrinsics:
    """One calibrated camera, not rectified. K: (3, 3) px. size: width, height px. T_rig_camera: (4, 4), or None."""

    K: np.ndarray
    distortion: tuple[float, ...]
    distortion_model: str
    size: tuple[int, int]
    T_rig_camera: np.ndarray | None = None

    def camera(self) -> Camera:
        """The camera by itself; its rectified image keeps K."""
        P = np.hstack([self.K, np.zeros((3, 1))])
        return Camera(
            *self.size, self.K, P, distortion=self.distortion, distortion_model=self.distortion_model
        )


def read_cameras(files: tuple[Path, ...]) -> tuple[Camera, ...]:
    """The only camera, or the left and the right one, of one or two calibration files.

    Raises DepthRosError if a file has no known format, or two cameras have no known poses relative to each other.
    """
    read = [camera for file in files for camera in _read(file)]
    if len(read) > 2:
        raise DepthRosError(f"{files[0]}: {len(read)} cameras; give one camera, or a left and a right one")
    if all(isinstance(each, Camera) for each in read):
        return tuple(each for each in read if isinstance(each, Camera))
    known = [each for each in read if isinstance(each, Intrinsics)]
    if len(known) == 1:
        return (known[0].camera(),)
    if len(known) != len(read) or any(each.T_rig_camera is None for each in known):
        names = " and ".join(str(file) for file in files)
        raise DepthRosError(f"{names}: the pose of the right camera relative to the left one is missing")
    return stereo_cameras(*known)


def stereo_cameras(left: Intrinsics, right: Intrinsics) -> tuple[Camera, Camera]:
    """Both cameras with the rectification of the pair, as a calibrated driver's camera_info has it."""
    assert left.T_rig_camera is not None and right.T_rig_camera is not None
    T = inverse(right.T_rig_camera) @ left.T_rig_camera
    models = left.distortion_model, right.distortion_model
    if models[0] != models[1]:
        raise DepthRosError(f"the two cameras have the distortion models {models[0]} and {models[1]}")
    D = [np.array(each.distortion or (0.0,) * 4, float) for each in (left, right)]
    rectify = cv2.fisheye.stereoRectify if models[0] == "equidistant" else cv2.stereoRectify
    options: dict[str, Any] = {"flags": cv2.CALIB_ZERO_DISPARITY}
    if models[0] != "equidistant":
        options["alpha"] = 0
    R0, R1, P0, P1, *_ = rectify(left.K, D[0], right.K, D[1], left.size, T[:3, :3], T[:3, 3], **options)
    return (
        Camera(*left.size, left.K, P0, R0, left.distortion, models[0]),
        Camera(*right.size, right.K, P1, R1, right.distortion, models[1]),
    )


def camera_from_fov(width: int, height: int, fov: float) -> Camera:
    """An ideal camera with a horizontal field of view in degrees."""
    if not 1 <= fov <= 170:
        raise DepthRosError(f"the field of view is {fov} degrees; it must be between 1 and 170")
    focal = width / 2 / math.tan(math.radians(fov) / 2)
    return Camera.pinhole(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def field_of_view(camera: Camera) -> float:
    """The horizontal field of view of the rectified image, degrees."""
    return math.degrees(2 * math.atan(camera.width / 2 / camera.rectified().fx))


def _read(file: Path) -> list[Camera | Intrinsics]:
    content = read_yaml(file)
    try:
        if "image_width" in content:
            return [_camera_info(content)]
        if "cam0" in content:
            return list(_camchain(content))
        if "intrinsics" in content:
            return [read_euroc_sensor(content)]
        if "fx" in content:
            return [_general(content)]
    except (KeyError, TypeError, ValueError) as error:
        raise DepthRosError(f"{file}: {error!r} is missing or malformed") from error
    raise DepthRosError(f"{file} is no calibration file that is known; allowed: {FORMATS}")


def _camera_info(content: dict[str, Any]) -> Camera:
    """The file that camera_calibration writes and camera_info_manager reads."""

    def matrix(key: str, rows: int, default: np.ndarray) -> np.ndarray:
        return np.array(content[key]["data"], float).reshape(rows, -1) if key in content else default

    K = matrix("camera_matrix", 3, np.eye(3))
    P = matrix("projection_matrix", 3, np.hstack([K, np.zeros((3, 1))]))
    distortion = tuple(map(float, content.get("distortion_coefficients", {}).get("data", ())))
    size = int(content["image_width"]), int(content["image_height"])
    model = _model(content.get("distortion_model") or "plumb_bob")
    return Camera(*size, K, P, matrix("rectification_matrix", 3, np.eye(3)), distortion, model)


def _general(content: dict[str, Any]) -> Camera:
    fx, fy, cx, cy = (float(content[key]) for key in ("fx", "fy", "cx", "cy"))
    return Camera.pinhole(int(content["width"]), int(content["height"]), fx, fy, cx, cy)


def _camchain(content: dict[str, Any]) -> list[Intrinsics]:
    """Kalibr: every camera has T_cn_cnm1, which transforms points from the previous camera to it."""
    cameras, T_rig_camera = [], np.eye(4)
    for name in sorted(key for key in content if key.startswith("cam")):
        each = content[name]
        if each["camera_model"] != "pinhole":
            raise DepthRosError(f"Kalibr's camera model is '{each['camera_model']}'; allowed: pinhole")
        if "T_cn_cnm1" in each:
            T_rig_camera = T_rig_camera @ inverse(np.array(each["T_cn_cnm1"], float))
        cameras.append(_intrinsics(each, "distortion_coeffs", T_rig_camera))
    return cameras


def read_euroc_sensor(content: dict[str, Any]) -> Intrinsics:
    """EuRoC's sensor.yaml: T_BS transforms points from the camera to the body."""
    T_body_camera = np.array(content["T_BS"]["data"], float).reshape(4, 4) if "T_BS" in content else None
    return _intrinsics(content, "distortion_coefficients", T_body_camera)


def _intrinsics(content: dict[str, Any], distortion: str, T_rig_camera: np.ndarray | None) -> Intrinsics:
    fu, fv, cu, cv = map(float, content["intrinsics"])
    K = np.array([[fu, 0, cu], [0, fv, cv], [0, 0, 1.0]])
    width, height = map(int, content["resolution"])
    coefficients = tuple(map(float, content[distortion]))
    return Intrinsics(K, coefficients, _model(content["distortion_model"]), (width, height), T_rig_camera)


def _model(name: str) -> str:
    if name not in DISTORTION_MODELS:
        raise DepthRosError(f"the distortion model is '{name}'; allowed: {', '.join(DISTORTION_MODELS)}")
    return DISTORTION_MODELS[name]
