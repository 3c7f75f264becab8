"""A video as a recording, decoded by PyAV (pip install av)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings.calibration import ASSUMED, ASSUMED_FOV, camera_from_fov, read_cameras
from depth_ros.recordings.files import FIRST_STAMP, NS
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import Contents, DamagedFrame, Sample

if TYPE_CHECKING:
    from av import VideoFrame

ROTATIONS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, -180: cv2.ROTATE_180,
    -90: cv2.ROTATE_90_CLOCKWISE, 270: cv2.ROTATE_90_CLOCKWISE,
}  # fmt: skip
"""Degrees, counter-clockwise, by which a player turns the frames -> OpenCV's code."""


def read(path: Path, options: RecordingOptions) -> VideoRecording:
    """The recording of a video file."""
    return VideoRecording(path, options)


class VideoRecording:
    """The frames of a video. Reading on is quick; another frame is reached from the last key frame before it."""

    layout = "video"
    contents = Contents()

    def __init__(self, path: Path, options: RecordingOptions) -> None:
        try:
            import av
        except ImportError:
            raise DepthRosError(f"{path}: to read videos: pip install av") from None
        self.path, self.damage = path, list[str]()
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
            packets = [packet for packet in self._container.demux(self._stream) if packet.size]
        except (av.FFmpegError, IndexError, OSError) as error:
            raise DepthRosError(f"{path} is no readable video: {error}") from error
        times = [packet.pts for packet in packets if packet.pts is not None]
        reordered = self._container.format.name == "avi" and self._stream.codec_context.has_b_frames
        if len(times) != len(packets) or not times or reordered:
            raise DepthRosError(
                f"{path} does not state the time of each of its {len(packets)} frames: convert it: "
                f"ffmpeg -fflags +genpts -i {path} converted.mp4"
            )
        self._times = sorted(times)
        base = self._stream.time_base
        assert base is not None
        self.rate = float(self._stream.average_rate or 30)
        self.stamps = [FIRST_STAMP + round(NS * base * (time - self._times[0])) for time in self._times]
        self.names = [f"{index:06d}" for index in range(len(self._times))]
        self._frames: Iterator[VideoFrame] = iter(())
        self._next = -1
        self._cameras = read_cameras(options.cameras) if options.cameras else ()
        self._fov = options.fov or ASSUMED_FOV
        source = f"field of view {options.fov:g} degrees, as given" if options.fov else ""
        self.camera_source = ", ".join(map(str, options.cameras)) or source or ASSUMED

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        image = _pixels(self._decode(index))
        camera = self._camera(image)
        return Sample(self.names[index], Frame(self.stamps[index], "camera_optical_frame", image, camera))

    def _camera(self, image: np.ndarray) -> Camera:
        height, width = image.shape[:2]
        if not self._cameras:
            return camera_from_fov(width, height, self._fov)
        camera = self._cameras[0]
        if (camera.width, camera.height) != (width, height):
            raise DepthRosError(
                f"{self.path} is {width}x{height}, but its calibration is for {camera.width}x{camera.height}"
            )
        return camera

    def _decode(self, index: int) -> VideoFrame:
        import av

        wanted = self._times[index]
        try:
            if index != self._next:
                self._container.seek(wanted, stream=self._stream)
                self._frames = self._container.decode(self._stream)
            self._next = index + 1
            for frame in self._frames:
                if frame.pts is not None and frame.pts >= wanted:
                    return frame
        except av.FFmpegError as error:
            self._next = -1
            raise DamagedFrame(f"{self.path}, frame {index}: {error}") from error
        self._next = -1
        raise DamagedFrame(f"{self.path} ends before frame {index}: it is truncated")


def _pixels(frame: VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as a player shows it."""
    image = frame.to_ndarray(format="rgb24")
    turn = ROTATIONS.get(round(getattr(frame, "rotation", 0)))
    return image if turn is None else cv2.rotate(image, turn)
