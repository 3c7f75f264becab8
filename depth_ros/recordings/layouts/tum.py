"""TUM RGB-D: rgb/ and depth/ with rgb.txt and depth.txt, and groundtruth.txt (motion capture), as published.

associations.txt, rows of `seconds rgb/FILE seconds depth/FILE` or the other way round, may stand in for the two lists;
images of depth belong to the nearest colour image within 20 ms, as in the benchmark's associate.py. camera.yaml gives
the calibration (and `depth_scale`); without it, it is that of freiburg1, 2 or 3 if the name of the folder says so.
Poses are those of the colour camera, interpolated to its stamps. Depth, registered to the colour image, has 5000 units
per metre (Sturm et al., IROS 2012; calibration and file formats of the benchmark's web page).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_ros.config import settings_from
from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.association import associate
from depth_ros.recordings.calibration import camera_from_fov, read_cameras
from depth_ros.recordings.files import (
    NS,
    Trajectory,
    images_in,
    read_depth,
    read_image,
    read_pixels,
    read_yaml,
    stamp_from_seconds,
    table_lines,
)
from depth_ros.recordings.layouts.folder import CameraFile
from depth_ros.recordings.options import RecordingOptions

REQUIRED = "rgb/ and rgb.txt or associations.txt"
_DEPTH_SCALE = 5000.0
"""Stored units per metre."""
_MAX_DIFFERENCE = NS // 50
"""ns between the stamps of a colour and a depth image that belong together."""
_PUBLISHED = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "freiburg2": (520.9, 521.0, 325.1, 249.7, (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "freiburg3": (535.4, 539.2, 320.1, 247.6, ()),
}
"""fx fy cx cy and distortion of the colour cameras at 640x480."""


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / "rgb").is_dir() and any(
        (path / name).is_file() for name in ("rgb.txt", "associations.txt")
    )


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    camera, source, scale = _calibration(path, options)
    return Recording(path, camera, source, scale)


def _calibration(path: Path, options: RecordingOptions) -> tuple[Camera, str, float]:
    """The camera, where it comes from, and the stored units of depth per metre."""
    file = path / "camera.yaml"
    if file.is_file():
        content = {"depth_scale": _DEPTH_SCALE} | read_yaml(file)
        calibration = settings_from(CameraFile, content, str(file))
        return calibration.camera(), "camera.yaml", calibration.depth_scale
    if options.cameras:
        return read_cameras(options.cameras)[0], str(options.cameras[0]), _DEPTH_SCALE
    if options.fov:
        first = read_pixels(next(iter(images_in(path / "rgb").values())))
        return camera_from_fov(first.shape[1], first.shape[0], options.fov), "--fov", _DEPTH_SCALE
    for name, (fx, fy, cx, cy, distortion) in _PUBLISHED.items():
        if name in path.resolve().name:
            K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
            P = np.hstack([K, np.zeros((3, 1))])
            return Camera(640, 480, K, P, distortion=distortion), f"published for {name}", _DEPTH_SCALE
    raise DepthRosError(
        f"{path} has no calibration, and its name does not say whether it is freiburg1, freiburg2 or freiburg3: give "
        "--camera FILE, or write camera.yaml (width, height, fx, fy, cx, cy)"
    )


class Recording:
    """A sequence of colour images with depth and motion-capture poses."""

    layout = "tum"
    damage = ()

    def __init__(self, path: Path, camera: Camera, camera_source: str, depth_scale: float) -> None:
        self.path, self.camera, self.camera_source, self.depth_scale = (
            path,
            camera,
            camera_source,
            depth_scale,
        )
        self._colour, self._depth = _associated(path)
        self.names = [Path(file).stem for _, file in self._colour]
        self.stamps = [stamp for stamp, _ in self._colour]
        gaps = np.diff(self.stamps)
        self.rate = float(NS / np.median(gaps)) if len(gaps) else 30.0
        ground_truth = path / "groundtruth.txt"
        self._trajectory = Trajectory.read_tum(ground_truth) if ground_truth.is_file() else None
        known = sum(file is not None for file in self._depth)
        self.contents = Contents(depth=2 * known >= len(self.names), poses=self._trajectory is not None)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        (stamp, colour), depth = self._colour[index], self._depth[index]
        image = read_image(self.path / colour, self.camera)
        return Sample(
            self.names[index],
            Frame(stamp, "camera_optical_frame", image, self.camera),
            depth=read_depth(self.path / depth, self.camera, self.depth_scale) if depth else None,
            T_world_camera=self._trajectory.at(stamp) if self._trajectory else None,
        )


def _associated(path: Path) -> tuple[list[tuple[int, str]], list[str | None]]:
    """Stamp and file of each colour image, and the depth image of each, or None."""
    file = path / "associations.txt"
    if not file.is_file():
        colour = _listed(path / "rgb.txt")
        depth = _listed(path / "depth.txt") if (path / "depth.txt").is_file() else []
        found = associate([stamp for stamp, _ in colour], [stamp for stamp, _ in depth], _MAX_DIFFERENCE)
        return colour, [None if index is None else depth[index][1] for index in found]
    pairs = []
    for number, words in table_lines(file):
        if len(words) != 4:
            raise DepthRosError(
                f"{file}, line {number}: {len(words)} words; it must be: seconds rgb/FILE seconds depth/FILE"
            )
        halves = [(words[0], words[1]), (words[2], words[3])]
        if words[1].startswith("depth"):
            halves.reverse()
        pairs.append((_stamp(file, number, halves[0][0]), halves[0][1], halves[1][1]))
    if not pairs:
        raise DepthRosError(f"{file} is empty; it must have rows of: seconds rgb/FILE seconds depth/FILE")
    return [(stamp, colour) for stamp, colour, _ in pairs], [depth for *_, depth in pairs]


def _listed(file: Path) -> list[tuple[int, str]]:
    rows = table_lines(file)
    if not rows or any(len(words) < 2 for _, words in rows):
        raise DepthRosError(f"{file} must have rows of: seconds FILE")
    return [(_stamp(file, number, words[0]), words[1]) for number, words in rows]


def _stamp(file: Path, number: int, text: str) -> int:
    try:
        return stamp_from_seconds(text)
    except ValueError as error:
        raise DepthRosError(f"{file}, line {number}: {error}") from error
