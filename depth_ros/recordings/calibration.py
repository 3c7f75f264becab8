"""Calibration files: camera_info's and OpenCV's YAML, Kalibr's camchain, EuRoC's sensor.yaml, settings of ORB-SLAM and
VINS, and our own camera.yaml."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse
from depth_ros.messages.calibration import camera_from, doubts_about
from depth_ros.recordings.files import read_yaml

_log = logging.getLogger(__name__)
FORMATS = (
    "YAML of camera_info or OpenCV (image_width, camera_matrix, ...), a camchain of Kalibr (cam0: ...), a sensor.yaml "
    "of EuRoC (intrinsics, resolution, T_BS, ...), settings of ORB-SLAM (Camera.fx, ...) or VINS (model_type, ...), or "
    "a camera.yaml of depth_ros (width, height, fx, ...)"
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

    What is implausible about them is warned about. Raises DepthRosError if a file has no known format, a camera is not
    calibrated, or two cameras have no known poses relative to each other.
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
        found = _cameras(content)
    except (KeyError, TypeError, ValueError) as error:
        raise DepthRosError(f"{file}: {error!r} is missing or malformed") from error
    except DepthRosError as error:
        raise DepthRosError(f"{file}: {error}") from error
    if not found:
        raise DepthRosError(f"{file} is no calibration file that is known; allowed: {FORMATS}")
    for each in found:
        warn_about(each.camera() if isinstance(each, Intrinsics) else each, file)
    return found


def warn_about(camera: Camera, file: Path) -> None:
    """Log what is implausible about a camera that was read from a file."""
    for doubt in doubts_about(camera):
        _log.warning("%s: %s", file, doubt)


def _cameras(content: dict[str, Any]) -> list[Camera | Intrinsics]:
    """Of any format; empty if it is none that is known."""
    if "model_type" in content:
        return [_vins(content)]
    if "image_width" in content:
        return [_camera_info(content)]
    if "cam0" in content:
        return list(_camchain(content))
    if "intrinsics" in content:
        return [read_euroc_sensor(content)]
    if prefix := next((each for each in ("Camera1.", "Camera.") if each + "fx" in content), None):
        return [_orb_slam(content, prefix)]
    return [_general(content)] if "fx" in content else []


def _camera_info(content: dict[str, Any]) -> Camera:
    """The file that camera_calibration writes and camera_info_manager reads; OpenCV's own has K and D alone."""

    def numbers(key: str, count: int) -> list[float]:
        stored = content.get(key) or {}
        return stored["data"] if "data" in stored else [0.0] * count

    info = SimpleNamespace(
        width=int(content["image_width"]), height=int(content["image_height"]),
        distortion_model=content.get("distortion_model") or "",
        k=numbers("camera_matrix", 9), d=numbers("distortion_coefficients", 0),
        r=numbers("rectification_matrix", 9), p=numbers("projection_matrix", 12),
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0), binning_x=1, binning_y=1,
        header=SimpleNamespace(frame_id=""),
    )  # fmt: skip
    return camera_from(info)


def _vins(content: dict[str, Any]) -> Intrinsics:
    """Settings of VINS-Mono and VINS-Fusion (camodocal)."""
    names = {
        "PINHOLE": ("plumb_bob", ("fx", "fy", "cx", "cy"), "distortion_parameters", ("k1", "k2", "p1", "p2")),
        "KANNALA_BRANDT": (
            "equidistant", ("mu", "mv", "u0", "v0"), "projection_parameters", ("k2", "k3", "k4", "k5"),
        ),
    }  # fmt: skip
    if content["model_type"] not in names:
        raise DepthRosError(f"the model_type is '{content['model_type']}'; allowed: {', '.join(names)}")
    model, lens, section, coefficients = names[content["model_type"]]
    size = int(content["image_width"]), int(content["image_height"])
    D = tuple(float(content[section][name]) for name in coefficients)
    return Intrinsics(_K(*(content["projection_parameters"][name] for name in lens)), D, model, size)


def _orb_slam(content: dict[str, Any], prefix: str) -> Intrinsics:
    """Settings of ORB-SLAM2 and 3. prefix: of the keys of the camera, or of the left one."""
    size = int(content["Camera.width"]), int(content["Camera.height"])
    is_fisheye = content.get("Camera.type") == "KannalaBrandt8"
    names = ("k1", "k2", "k3", "k4") if is_fisheye else ("k1", "k2", "p1", "p2", "k3")
    D = tuple(float(content.get(prefix + name, 0.0)) for name in names)
    K = _K(*(content[prefix + name] for name in ("fx", "fy", "cx", "cy")))
    return Intrinsics(K, D if any(D) else (), "equidistant" if is_fisheye else "plumb_bob", size)


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
    K = _K(*content["intrinsics"])
    width, height = map(int, content["resolution"])
    coefficients = tuple(map(float, content[distortion]))
    return Intrinsics(K, coefficients, _model(content["distortion_model"]), (width, height), T_rig_camera)


def _K(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], float)


def _model(name: str) -> str:
    if name not in DISTORTION_MODELS:
        raise DepthRosError(f"the distortion model is '{name}'; allowed: {', '.join(DISTORTION_MODELS)}")
    return DISTORTION_MODELS[name]
