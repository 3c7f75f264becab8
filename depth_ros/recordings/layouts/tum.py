"""TUM RGB-D: associations.txt, rgb/, depth/ registered to rgb, groundtruth.txt (motion capture), camera.yaml.

Poses are those of the colour camera, interpolated to its stamps. Depth has 5000 units per metre unless camera.yaml
sets `depth_scale` (Sturm et al., IROS 2012, file formats).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_ros.config import settings_from
from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import NS, Trajectory, read_depth, read_image, read_yaml, stamp_from_seconds
from depth_ros.recordings.layouts.folder import CameraFile

REQUIRED = "associations.txt, camera.yaml and rgb/"
_DEPTH_SCALE = 5000.0
"""Stored units per metre."""


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / "associations.txt").is_file() and (path / "rgb").is_dir()


def read(path: Path) -> Recording:
    """The recording in a folder of this layout."""
    return Recording(path)


class Recording:
    """A sequence of colour images with depth and motion-capture poses."""

    layout, camera_source = "tum", "camera.yaml"
    damage = ()

    def __init__(self, path: Path) -> None:
        file = path / "camera.yaml"
        content = {"depth_scale": _DEPTH_SCALE} | read_yaml(file)
        calibration = settings_from(CameraFile, content, str(file))
        self.path, self.depth_scale = path, calibration.depth_scale
        self.camera = calibration.camera()
        lines = [line.split() for line in (path / "associations.txt").read_text().splitlines()]
        self._rows = [line for line in lines if line and not line[0].startswith("#")]
        if not self._rows or any(len(row) != 4 for row in self._rows):
            raise DepthRosError(
                f"{path}/associations.txt must contain rows of: seconds rgb/FILE seconds depth/FILE"
            )
        self.names = [Path(row[1]).stem for row in self._rows]
        self.stamps = [stamp_from_seconds(row[0]) for row in self._rows]
        gaps = np.diff(self.stamps)
        self.rate = float(NS / np.median(gaps)) if len(gaps) else calibration.rate_hz
        ground_truth = path / "groundtruth.txt"
        self._trajectory = Trajectory(ground_truth) if ground_truth.is_file() else None
        self.contents = Contents(depth=True, poses=self._trajectory is not None)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        _, colour, _, depth = self._rows[index]
        stamp = self.stamps[index]
        image = read_image(self.path / colour, self.camera)
        return Sample(
            self.names[index],
            Frame(stamp, "camera_optical_frame", image, self.camera),
            depth=read_depth(self.path / depth, self.camera, self.depth_scale),
            T_world_camera=self._trajectory.at(stamp) if self._trajectory else None,
        )
