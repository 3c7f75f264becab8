"""EuRoC MAV and what is published like it: grey images, not rectified, of one or two cameras, and poses of the body.

    mav0/cam0/data/NS.png, mav0/cam0/sensor.yaml, mav0/state_groundtruth_estimate0/data.csv     as published (ASL)
    mav0/imu0/data.csv, mav0/imu0/sensor.yaml                                                   IMU, optional
    cam0/NS.jpg, cam0.yaml, groundtruth.txt, imu0.csv, imu0.yaml                                the same, repackaged

The folder may be mav0 itself. Images are not rectified; their cameras hold the distortion and the rectification R and P
of the pair, as the CameraInfo of a calibrated driver does. Poses are converted to those of the rectified left camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.calibration import Intrinsics, read_euroc_sensor, stereo_cameras
from depth_ros.recordings.files import Trajectory, frame_stamps, images_in, read_image, read_yaml
from depth_ros.recordings.imu import Imu, read_euroc_imu
from depth_ros.recordings.options import RecordingOptions

REQUIRED = "mav0/cam0/sensor.yaml and mav0/cam0/data/, or cam0.yaml and cam0/"


@dataclass(frozen=True)
class Files:
    """Where the parts of a sequence are. sensors, images: of cam0 and, if there is one, cam1."""

    sensors: tuple[Path, ...]
    images: tuple[dict[str, Path], ...]
    ground_truth: Path | None
    imu: tuple[Path, Path] | None
    """Measurements and sensor file."""


def files_in(path: Path) -> Files | None:
    """The files of a sequence, as published or repackaged; None if it is not one."""
    for root in (path, path / "mav0"):
        for sensor, images in (("{}/sensor.yaml", "{}/data"), ("{}.yaml", "{}")):
            cameras = [
                (root / sensor.format(name), images_in(root / images.format(name)))
                for name in ("cam0", "cam1")
            ]
            found = [(file, stored) for file, stored in cameras if file.is_file() and stored]
            if cameras[0] in found:
                truths = (root / "state_groundtruth_estimate0/data.csv", root / "groundtruth.txt")
                truth = next((file for file in truths if file.is_file()), None)
                return Files(
                    tuple(file for file, _ in found), tuple(stored for _, stored in found), truth, _imu(root)
                )
    return None


def _imu(root: Path) -> tuple[Path, Path] | None:
    pairs = ((root / "imu0/data.csv", root / "imu0/sensor.yaml"), (root / "imu0.csv", root / "imu0.yaml"))
    return next((pair for pair in pairs if all(file.is_file() for file in pair)), None)


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return files_in(path) is not None


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    return Recording(path)


def _read_sensor(file: Path) -> tuple[Intrinsics, float]:
    """One camera and its rate, Hz."""
    content = read_yaml(file)
    try:
        return read_euroc_sensor(content), float(content["rate_hz"])
    except (KeyError, TypeError, ValueError) as error:
        raise DepthRosError(
            f"{file} is not an EuRoC camera file: {error!r} is missing or malformed"
        ) from error


class Recording:
    """A mono or stereo sequence with body poses."""

    layout = "euroc"
    damage = ()

    def __init__(self, path: Path) -> None:
        files = files_in(path)
        assert files is not None
        sensors = [_read_sensor(file) for file in files.sensors]
        left, self.rate = sensors[0]
        pair = len(sensors) == 2
        self._cameras = stereo_cameras(left, sensors[1][0]) if pair else (left.camera(),)
        if left.T_rig_camera is None:
            raise DepthRosError(f"{files.sensors[0]} lacks T_BS, the pose of the camera on the body")
        self._T_body_rectified = left.T_rig_camera.copy()
        self._T_body_rectified[:3, :3] = left.T_rig_camera[:3, :3] @ self._cameras[0].R.T
        self._images = files.images
        # either camera may drop frames
        self.names = [name for name in files.images[0] if all(name in images for images in files.images)]
        if not self.names:
            raise DepthRosError(f"{path}: cam0 and cam1 have no stamp in common; file names are stamps in ns")
        self.stamps = frame_stamps(self.names, self.rate)
        self.camera_source = " and ".join(str(file.relative_to(path)) for file in files.sensors)
        self._trajectory = _trajectory(files.ground_truth)
        self._imu_files = files.imu
        self.contents = Contents(pairs=pair, poses=self._trajectory is not None, imu=files.imu is not None)

    def imu(self) -> Imu | None:
        """The measurements of imu0."""
        if self._imu_files is None:
            return None
        measurements, sensor = self._imu_files
        try:
            T_body_imu = np.array(read_yaml(sensor)["T_BS"]["data"], float).reshape(4, 4)
        except (KeyError, TypeError, ValueError) as error:
            raise DepthRosError(f"{sensor} has no T_BS of 16 numbers") from error
        return read_euroc_imu(measurements, "imu0", inverse(self._T_body_rectified) @ T_body_imu)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, stamp = self.names[index], self.stamps[index]
        T_world_body = self._trajectory.at(stamp) if self._trajectory else None
        frames = [
            Frame(stamp, f"{side}_optical_frame", read_image(images[name], camera), camera)
            for side, images, camera in zip(("left", "right"), self._images, self._cameras)
        ]
        T = None if T_world_body is None else T_world_body @ self._T_body_rectified
        return Sample(name, frames[0], frames[1] if len(frames) == 2 else None, T_world_camera=T)


def _trajectory(file: Path | None) -> Trajectory | None:
    if file is None:
        return None
    return Trajectory.read_euroc(file) if file.suffix == ".csv" else Trajectory.read_tum(file)
