"""EuRoC MAV: raw grey stereo images (cam0/, cam1/), cam0.yaml, cam1.yaml and body poses in groundtruth.txt.

Images are not rectified; their cameras hold the distortion and the rectification R and P of the pair, as the
CameraInfo of a calibrated driver does. Poses are converted to those of the rectified left camera.
"""

from __future__ import annotations

from pathlib import Path

from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.calibration import Intrinsics, read_euroc_sensor, stereo_cameras
from depth_ros.recordings.files import Trajectory, frame_stamps, images_in, read_image, read_yaml

REQUIRED = "cam0.yaml, cam1.yaml, cam0/ and cam1/"


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return all((path / f"{name}.yaml").is_file() and images_in(path / name) for name in ("cam0", "cam1"))


def read(path: Path) -> Recording:
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
    """A stereo sequence with body poses."""

    layout, camera_source = "euroc", "cam0.yaml and cam1.yaml"
    damage = ()

    def __init__(self, path: Path) -> None:
        left, self.rate = _read_sensor(path / "cam0.yaml")
        right, _ = _read_sensor(path / "cam1.yaml")
        self.camera, self.right_camera = stereo_cameras(left, right)
        assert left.T_rig_camera is not None
        self._T_body_rectified = left.T_rig_camera.copy()
        self._T_body_rectified[:3, :3] = left.T_rig_camera[:3, :3] @ self.camera.R.T
        self._left, self._right = images_in(path / "cam0"), images_in(path / "cam1")
        self.names = [name for name in self._left if name in self._right]  # either camera may drop frames
        if not self.names:
            raise DepthRosError(
                f"{path}: cam0/ and cam1/ have no stamp in common; file names are stamps in ns"
            )
        self.stamps = frame_stamps(self.names, self.rate)
        ground_truth = path / "groundtruth.txt"
        self._trajectory = Trajectory(ground_truth) if ground_truth.is_file() else None
        self.contents = Contents(pairs=True, poses=self._trajectory is not None)

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
