"""Virtual KITTI 2 as published (Cabon et al., 2020; europe.naverlabs.com, proxy virtual worlds).

    Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg     Camera_1 is the right one
                  frames/depth/Camera_0/depth_00000.png uint16 cm along the optical axis, 655.35 m = sky
                  frames/instanceSegmentation/Camera_0/instancegt_00000.png      index of the palette: trackID + 1
                  intrinsic.txt                         frame cameraID fx fy cx cy
                  extrinsic.txt                         frame cameraID and 16 numbers: world to camera, row-major
                  bbox.txt                              frame cameraID trackID ... isMoving: True or 1

The folder is one variation of a scene, in one root for all archives or in vkitti_2.0.3_rgb beside vkitti_2.0.3_depth,
_textgt and _instanceSegmentation. Without intrinsic.txt and extrinsic.txt, the camera is the published one.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, images_in, read_depth, read_pixels, table_lines
from depth_ros.recordings.indexed_png import read_indices
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.search import folders_with, only_one
from depth_ros.recordings.two_view import pair_cameras, read_pair

REQUIRED = "SCENE/VARIATION/frames/rgb/Camera_0/"
UNITS_PER_METRE = 100.0
SKY = 655.35
"""m."""
PUBLISHED_INTRINSICS = np.array([725.0087, 725.0087, 620.5, 187.0])
"""fx fy cx cy, px."""
BASELINE = 0.532725
"""m."""
_RGB = "frames/rgb/Camera_0"


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return any(folders_with(path, (_RGB,), levels=3))


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    found = list(folders_with(path, (_RGB,), levels=3))
    return Recording(only_one(path, found, "sequences").resolve())


class Recording:
    """One variation of a scene."""

    layout, rate = "virtual_kitti", 10.0
    damage = ()

    def __init__(self, path: Path) -> None:
        self._left, self._right = (
            _by_frame(images_in(path / f"frames/rgb/Camera_{number}")) for number in (0, 1)
        )
        self._depth, self._instances = (
            _by_frame(images_in(_part(path, archive, f"frames/{archive}/Camera_0")))
            for archive in ("depth", "instanceSegmentation")
        )
        self.names = list(self._left)
        if not self.names:
            raise DepthRosError(f"{path / _RGB} has no images")
        self.stamps = frame_stamps(self.names, self.rate)
        self._intrinsics, self._extrinsics = (
            _camera_rows(_part(path, "textgt", name)) for name in ("intrinsic.txt", "extrinsic.txt")
        )
        self._moving = _moving_tracks(_part(path, "textgt", "bbox.txt"))
        self.camera_source = "intrinsic.txt" if self._intrinsics else "published"
        self.contents = Contents(
            pairs=bool(self._right), depth=bool(self._depth), poses=bool(self._extrinsics),
            moving_objects=bool(self._instances) and self._moving is not None, exact=True,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        left, frame = self._left[name], int(name)
        cameras = self._cameras(frame, read_pixels(left).shape)
        T_camera_world = self._extrinsics.get((frame, 0))
        depth = read_depth(self._depth[name], cameras[0], UNITS_PER_METRE) if name in self._depth else None
        return Sample(
            name,
            *read_pair(self.stamps[index], left, self._right.get(name), cameras),
            None if depth is None else np.where(depth < SKY - 0.001, depth, np.float32(np.nan)),
            None if T_camera_world is None else inverse(T_camera_world.reshape(4, 4)),
            self._moving_objects(name),
        )

    def _cameras(self, frame: int, shape: tuple[int, ...]) -> tuple[Camera, Camera]:
        fx, fy, cx, cy = self._intrinsics.get((frame, 0), PUBLISHED_INTRINSICS)
        baseline = BASELINE
        if (frame, 0) in self._extrinsics and (frame, 1) in self._extrinsics:
            left, right = (self._extrinsics[frame, number].reshape(4, 4) for number in (0, 1))
            baseline = -float((right @ inverse(left))[0, 3])
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        return pair_cameras((shape[1], shape[0]), K, 0.0, baseline)

    def _moving_objects(self, name: str) -> np.ndarray | None:
        if name not in self._instances or self._moving is None:
            return None
        labels = read_indices(self._instances[name])
        moving = [track + 1 for frame, track in self._moving if frame == int(name)]
        return np.where(np.isin(labels, moving), labels, 0)


def _by_frame(images: dict[str, Path]) -> dict[str, Path]:
    """Files by frame number, the part of their names after the underscore."""
    return {name.rsplit("_", 1)[-1]: file for name, file in images.items()}


def _part(path: Path, archive: str, name: str) -> Path:
    """A file or folder of the sequence, in the sequence itself or in the root of another archive beside its own."""
    root = path.parent.parent
    other = root.with_name(root.name.removesuffix("rgb") + archive) / path.parent.name / path.name / name
    return other if root.name.endswith("_rgb") and other.exists() else path / name


@functools.lru_cache(maxsize=16)
def _camera_rows(file: Path) -> dict[tuple[int, int], np.ndarray]:
    """The numbers by frame and camera; empty if the file does not exist."""
    if not file.is_file():
        return {}
    try:
        rows = [words for _, words in table_lines(file) if words[0] != "frame"]
        return {(int(words[0]), int(words[1])): np.array(words[2:], float) for words in rows}
    except (IndexError, ValueError) as error:
        raise DepthRosError(f"{file}: {error}; each row must be: frame cameraID and numbers") from error


def _moving_tracks(file: Path) -> set[tuple[int, int]] | None:
    """Frame and trackID of the moving objects that camera 0 sees; None if the file does not exist."""
    if not file.is_file():
        return None
    rows = (words for _, words in table_lines(file) if words[0] != "frame")
    return {
        (int(words[0]), int(words[2])) for words in rows if words[1] == "0" and words[-1] in ("True", "1")
    }
