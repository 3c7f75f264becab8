"""Middlebury stereo pairs of 2003 to 2006 (Scharstein et al.): a folder a scene, or one scene.

    view1.png view5.png disp1.png     2005 and 2006, a third of the size: disp holds 2 units per px
    im2.png im6.png disp2.png         2003, a quarter of the size: 4 units per px; 0 = unknown in both

The pairs come without calibration. Focal length (3740 px at full size) and baseline (0.16 m) of 2005 and 2006
are taken for all, so depth is nominal; disparity, which these pairs are measured by, is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_ros.datasets import Sample
from depth_ros.datasets.files import FIRST_STAMP, read_image, read_units
from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError

NEEDS = "scenes with view1.png and view5.png, or im2.png and im6.png"
FULL_FOCAL, BASELINE = 3740.0, 0.16


@dataclass(frozen=True)
class Names:
    """How the files of a year are called. units: of the disparity per px. reduced: full size / stored size."""

    left: str
    right: str
    disparity: str
    units: float
    reduced: float


YEARS = (
    Names("view1.png", "view5.png", "disp1.png", 2.0, 3.0),
    Names("im2.png", "im6.png", "disp2.png", 4.0, 4.0),
)


def names_in(path: Path) -> Names | None:
    """The names that the images of a scene have, None if it is no scene."""
    return next((y for y in YEARS if (path / y.left).is_file() and (path / y.right).is_file()), None)


def scenes(path: Path) -> list[Path]:
    """The folder itself if it is a scene, else those of its folders that are, sorted."""
    if names_in(path):
        return [path]
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and names_in(folder))


def fits(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(scenes(path))


def read(path: Path) -> Recording:
    """The scenes in a folder."""
    return Recording(path)


class Recording:
    """Pairs that have nothing to do with each other, in the order of their names."""

    layout, rate = "middlebury", 1.0

    def __init__(self, path: Path) -> None:
        self._scenes = scenes(path)
        self.names = [folder.name for folder in self._scenes]

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        folder = self._scenes[index]
        names = names_in(folder)
        assert names
        stored = cv2.imread(str(folder / names.left))
        if stored is None:
            raise DepthRosError(f"{folder / names.left} is damaged: restore or delete it")
        height, width = stored.shape[:2]
        focal, centre = FULL_FOCAL / names.reduced, ((width - 1) / 2, (height - 1) / 2)
        cameras = [Camera.pinhole(width, height, focal, focal, *centre, b) for b in (0.0, BASELINE)]
        stamp = FIRST_STAMP + index * 1_000_000_000
        left, right = (
            Frame(stamp, f"{eye}_optical_frame", read_image(folder / name, camera), camera)
            for eye, name, camera in zip(("left", "right"), (names.left, names.right), cameras, strict=True)
        )
        depth = None
        if (folder / names.disparity).is_file():
            units = read_units(folder / names.disparity, cameras[0]).astype(np.float32)
            disparity = np.where(units > 0, units / np.float32(names.units), np.float32(np.nan))
            depth = np.float32(focal * BASELINE) / disparity
        return Sample(folder.name, left, right, depth)
