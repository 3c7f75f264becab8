"""EuRoC MAV: raw grey stereo images (cam0/, cam1/), cam0.yaml, cam1.yaml and body poses in groundtruth.txt.

Images are not rectified; their cameras hold the distortion and the rectification R and P of the pair, as the
CameraInfo of a calibrated driver does. Poses are converted to those of the rectified left camera.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse
from depth_ros.recordings import Sample
from depth_ros.recordings.files import Trajectory, frame_stamps, images_in, read_image, read_yaml

REQUIRED = "cam0.yaml, cam1.yaml, cam0/ and cam1/"


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return all((path / f"{name}.yaml").is_file() and images_in(path / name) for name in ("cam0", "cam1"))


def read(path: Path) -> Recording:
    """The recording in a folder of this layout."""
    return Recording(path)


def _read_sensor(file: Path) -> tuple[np.ndarray, np.ndarray, tuple[int, int], np.ndarray, float]:
    """K (3, 3), distortion k1 k2 p1 p2, (width, height), T_body_camera (4, 4) and rate Hz of one camera."""
    content = read_yaml(file)
    try:
        fu, fv, cu, cv = content["intrinsics"]
        distortion = np.array(content["distortion_coefficients"], float)
        T_body_camera = np.array(content["T_BS"]["data"], float).reshape(4, 4)
        width, height = content["resolution"]
        model, rate = content["distortion_model"], float(content["rate_hz"])
    except (KeyError, TypeError, ValueError) as error:
        raise DepthRosError(
            f"{file} is not an EuRoC camera file: {error!r} is missing or malformed"
        ) from error
    if model != "radial-tangential":
        raise DepthRosError(f"{file}: distortion_model is '{model}'; allowed: radial-tangential")
    return np.array([[fu, 0, cu], [0, fv, cv], [0, 0, 1.0]]), distortion, (width, height), T_body_camera, rate


class Recording:
    """A stereo sequence with body poses."""

    layout = "euroc"

    def __init__(self, path: Path) -> None:
        K0, D0, size, T_body_left, self.rate = _read_sensor(path / "cam0.yaml")
        K1, D1, _, T_body_right, _ = _read_sensor(path / "cam1.yaml")
        T_right_left = inverse(T_body_right) @ T_body_left
        R0, R1, P0, P1, *_ = cv2.stereoRectify(
            K0, D0, K1, D1, size, T_right_left[:3, :3], T_right_left[:3, 3], alpha=0
        )
        self.camera = Camera(*size, K0, P0, R0, tuple(D0))
        self.right_camera = Camera(*size, K1, P1, R1, tuple(D1))
        self._T_body_rectified = T_body_left.copy()
        self._T_body_rectified[:3, :3] = T_body_left[:3, :3] @ R0.T
        self._left, self._right = images_in(path / "cam0"), images_in(path / "cam1")
        self.names = [name for name in self._left if name in self._right]  # either camera may drop frames
        if not self.names:
            raise DepthRosError(
                f"{path}: cam0/ and cam1/ have no stamp in common; file names are stamps in ns"
            )
        self.stamps = frame_stamps(self.names, self.rate)
        ground_truth = path / "groundtruth.txt"
        self._trajectory = Trajectory(ground_truth) if ground_truth.is_file() else None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, stamp = self.names[index], self.stamps[index]
        T_world_body = self._trajectory.at(stamp) if self._trajectory else None
        left, right = (
            Frame(stamp, frame_id, read_image(files[name], camera), camera)
            for frame_id, files, camera in (
                ("left_optical_frame", self._left, self.camera),
                ("right_optical_frame", self._right, self.right_camera),
            )
        )
        T = None if T_world_body is None else T_world_body @ self._T_body_rectified
        return Sample(name, left, right, T_world_camera=T)
