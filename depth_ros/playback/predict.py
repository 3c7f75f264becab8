"""`depth_ros predict`: the depth of any recording as colours, numbers, point clouds and a video. No ROS, no DDS."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depth_ros.card import Card
from depth_ros.datatypes import Depth, Disparity
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.report.plots import depth_image, depth_range
from depth_ros.evaluation.two_view import prepared_for
from depth_ros.geometry import back_project
from depth_ros.playback.kinds import ReplayKind
from depth_ros.playback.output import ResultFolder
from depth_ros.playback.replay import Estimator
from depth_ros.recordings import Recording, readable
from depth_ros.recordings.calibration import ASSUMED, ASSUMED_FOV

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

log = logging.getLogger(__name__)

MAX_VIDEO_WIDTH = 1280
"""px, of image and depth side by side."""
VIDEO_RATES = (1.0, 60.0)
"""Hz; a video is at least and at most as fast."""


@dataclass(frozen=True)
class Prediction:
    """What was written. scale: what the numbers are, and why. damaged: problems of the frames that were left out."""

    out: Path
    frames: int
    scale: str
    damaged: tuple[str, ...]
    video: Path | None


def predict(
    recording: Recording,
    estimator: Estimator,
    kind: ReplayKind,
    out: Path,
    limit: int = 0,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> Prediction:
    """Write the depth of a recording to the new folder `out`.

    image/ and depth/ (uint16 mm) or left/ and disparity/, with camera.yaml: see `playback.output`. metres/: NPZ with
    `depth` (H, W) float32 m and `K`. colour/: image and depth side by side. points/: coloured point clouds, PLY.
    side_by_side.mp4: of recordings with more than one consecutive frame. Raises DepthRosError if no frame can be read.
    """
    recording = prepared_for(estimator.card, recording, limit=limit)
    folder, damaged = ResultFolder(out), list[str]()
    count = min(limit or len(recording), len(recording))
    frames = 0
    with _Pictures(out, recording, count > 1 and recording.contents.consecutive) as pictures:
        for _, sample in progress(readable(recording, range(count), damaged)):
            for doubt in kind.doubts_about(sample) if not frames else ():
                log.warning("%s", doubt)
            result = estimator.estimate(kind.input_of(sample))
            depth = result.depth() if isinstance(result, Disparity) else result
            folder.write(sample, result)
            pictures.write(sample.name, sample.left.image, depth)
            frames += 1
    if not frames:
        raise DepthRosError(f"no frame can be read: {damaged[0] if damaged else 'the recording is empty'}")
    text = scale_text(estimator.card, recording.camera_source)
    return Prediction(out, frames, text, tuple(damaged), pictures.video)


def scale_text(card: Card | None, camera_source: str) -> str:
    """What the numbers of a model are for a camera whose calibration comes from `camera_source`, and why."""
    if card is None or card.task == "stereo_depth":
        return f"metres, from the focal length and baseline of {camera_source}"
    if card.scale == "metric" and camera_source == ASSUMED:
        return (
            f"metres if the horizontal field of view is {ASSUMED_FOV:g} degrees, which is assumed: distances are "
            "proportional to the focal length; give --fov or --camera"
        )
    if card.scale == "metric":
        return f"metres: {card.name} predicts metric depth for the focal length; calibration: {camera_source}"
    relative = (
        "up to an unknown factor" if card.scale == "up_to_scale" else "up to an unknown factor and shift"
    )
    return f"no unit: {card.name} predicts {relative}, so only ratios within an image mean something"


class _Pictures:
    """Writer of colours, numbers, points and the video. The colours of a recording share the scale of its start."""

    def __init__(self, out: Path, recording: Recording, has_video: bool) -> None:
        self._out, self._rate = out, float(np.clip(recording.rate, *VIDEO_RATES))
        self._shares_range = recording.contents.consecutive
        self._span: tuple[float, float] | None = None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self.video = out / "side_by_side.mp4" if has_video and _has_av() else None
        for name in ("colour", "metres", "points"):
            (out / name).mkdir()

    def __enter__(self) -> _Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        if self._container and self._stream:
            self._container.mux(self._stream.encode())
            self._container.close()

    def write(self, name: str, image: np.ndarray, depth: Depth) -> None:
        if self._span is None or not self._shares_range:
            self._span = depth_range([depth.depth])
        picture = side_by_side(image, depth_image(depth.depth, self._span))
        cv2.imwrite(str(self._out / "colour" / f"{name}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        np.savez_compressed(self._out / "metres" / f"{name}.npz", depth=depth.depth, K=depth.camera.K)
        write_ply(self._out / "points" / f"{name}.ply", depth)
        if self.video:
            self._add_to_video(picture)

    def _add_to_video(self, picture: np.ndarray) -> None:
        import av

        height, width = picture.shape[:2]
        if self._stream is None:
            self._container = av.open(str(self.video), "w")
            self._stream = self._container.add_stream("libx264", rate=round(self._rate))
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        assert self._container is not None
        if (self._stream.width, self._stream.height) != (width, height):
            picture = cv2.resize(picture, (self._stream.width, self._stream.height))
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))


def side_by_side(image: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """An image and the colours of its depth, both (h, w, 3) of even sides, at most `MAX_VIDEO_WIDTH` px wide."""
    height, width = image.shape[:2]
    scale = min(1.0, MAX_VIDEO_WIDTH / 2 / width)
    size = (max(round(width * scale) // 2 * 2, 2), max(round(height * scale) // 2 * 2, 2))
    return np.hstack([
        cv2.resize(image, size, interpolation=cv2.INTER_AREA),
        cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST),
    ])  # fmt: skip


def write_ply(file: Path, depth: Depth) -> None:
    """Write the valid pixels as a point cloud (x right, y down, z forward, m; RGB) in binary PLY."""
    valid = np.isfinite(depth.depth)
    vertices = np.empty(
        int(valid.sum()), [(axis, "<f4") for axis in "xyz"] + [(c, "u1") for c in ("r", "g", "b")]
    )
    for axis, values in zip("xyz", back_project(depth.depth, depth.camera)[valid].T, strict=True):
        vertices[axis] = values
    for colour, values in zip("rgb", depth.image[valid].T, strict=True):
        vertices[colour] = values
    names = {"r": "red", "g": "green", "b": "blue"}
    properties = "".join(
        f"property {'float' if name in 'xyz' else 'uchar'} {names.get(name, name)}\n" for name in "xyzrgb"
    )
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n{properties}end_header\n"
    file.write_bytes(header.encode() + vertices.tobytes())


def _has_av() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True
