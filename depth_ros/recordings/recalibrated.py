"""A recording with another calibration than its own."""

from __future__ import annotations

from dataclasses import replace

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings.calibration import camera_from_fov, read_cameras
from depth_ros.recordings.imu import Imu, imu_of
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import Contents, Recording, Sample


class Recalibrated:
    """The frames of another recording with the cameras of the options. A pair needs both cameras."""

    def __init__(self, recording: Recording, options: RecordingOptions) -> None:
        self._recording = recording
        self._cameras = read_cameras(options.cameras) if options.cameras else ()
        self._fov = options.fov
        self.layout, self.rate = recording.layout, recording.rate
        self.names, self.stamps, self.damage = recording.names, recording.stamps, recording.damage
        self.camera_source = ", ".join(map(str, options.cameras)) or f"field of view {options.fov:g} degrees"

    @property
    def contents(self) -> Contents:
        contents = self._recording.contents
        return replace(contents, pairs=contents.pairs and len(self._cameras) == 2)

    def imu(self) -> Imu | None:
        return imu_of(self._recording)

    def __len__(self) -> int:
        return len(self._recording)

    def __getitem__(self, index: int) -> Sample:
        sample = self._recording[index]
        size = sample.left.camera.width, sample.left.camera.height
        cameras = self._cameras or (camera_from_fov(*size, self._fov),)
        right = sample.right if len(cameras) == 2 else None
        return replace(
            sample,
            left=_with_camera(sample.left, cameras[0]),
            right=None if right is None else _with_camera(right, cameras[1]),
        )


def _with_camera(frame: Frame, camera: Camera) -> Frame:
    height, width = frame.image.shape[:2]
    if (camera.width, camera.height) != (width, height):
        raise DepthRosError(
            f"the images are {width}x{height}, but the calibration is for {camera.width}x{camera.height}"
        )
    return replace(frame, camera=camera)
