"""Middlebury stereo pairs of 2003 to 2006 (Scharstein et al.): one scene, or a folder with one folder per scene.

    view1.png view5.png disp1.png     2005 and 2006, a third of the size: disp1 has 2 units per px
    im2.png im6.png disp2.png         2003, a quarter of the size: disp2 has 4 units per px; 0 = invalid in both

The pairs are published without calibration. The focal length (3740 px at full size) and baseline (0.16 m) of 2005
and 2006 are used for all, so depth is nominal; disparity, which evaluation on these pairs uses, is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, read_image, read_single_channel
from depth_ros.recordings.options import RecordingOptions

REQUIRED = "scenes with view1.png and view5.png, or im2.png and im6.png"
FULL_SIZE_FOCAL, BASELINE = 3740.0, 0.16
"""px and m."""


@dataclass(frozen=True)
class FileNames:
    """File names of a scene. disparity_scale: stored units per px. downscaling: full size / stored size."""

    left: str
    right: str
    disparity: str
    disparity_scale: float
    downscaling: float


FILE_NAMES = (
    FileNames("view1.png", "view5.png", "disp1.png", 2.0, 3.0),
    FileNames("im2.png", "im6.png", "disp2.png", 4.0, 4.0),
)


def file_names_in(path: Path) -> FileNames | None:
    """The file names of a scene, or None if the folder is not a scene."""
    return next((n for n in FILE_NAMES if (path / n.left).is_file() and (path / n.right).is_file()), None)


def scenes_in(path: Path) -> list[Path]:
    """The folder itself if it is a scene, else those of its subfolders that are, sorted."""
    if file_names_in(path):
        return [path]
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and file_names_in(folder))


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(scenes_in(path))


def read(path: Path, options: RecordingOptions) -> Recording:
    """The scenes in a folder, as one recording."""
    return Recording(path)


class Recording:
    """Independent pairs, sorted by name."""

    layout, rate = "middlebury", 1.0
    damage = ()
    camera_source = "nominal focal length and baseline"
    contents = Contents(pairs=True, depth=True, consecutive=False)

    def __init__(self, path: Path) -> None:
        self._scenes = scenes_in(path)
        self.names = [folder.name for folder in self._scenes]
        self.stamps = frame_stamps([""] * len(self.names), self.rate)

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        folder = self._scenes[index]
        names = file_names_in(folder)
        assert names
        image = cv2.imread(str(folder / names.left))
        if image is None:
            raise DepthRosError(f"{folder / names.left} is damaged: restore or delete it")
        height, width = image.shape[:2]
        focal, centre = FULL_SIZE_FOCAL / names.downscaling, ((width - 1) / 2, (height - 1) / 2)
        cameras = [Camera.pinhole(width, height, focal, focal, *centre, b) for b in (0.0, BASELINE)]
        stamp = self.stamps[index]
        left, right = (
            Frame(stamp, f"{side}_optical_frame", read_image(folder / name, camera), camera)
            for side, name, camera in zip(("left", "right"), (names.left, names.right), cameras, strict=True)
        )
        depth = None
        if (folder / names.disparity).is_file():
            values = read_single_channel(folder / names.disparity, cameras[0]).astype(np.float32)
            scale = np.float32(names.disparity_scale)
            disparity = np.where(values > 0, values / scale, np.float32(np.nan))
            depth = np.float32(focal * BASELINE) / disparity
        return Sample(folder.name, left, right, depth)
