"""Middlebury stereo pairs as published (vision.middlebury.edu/stereo/data): one scene, or one folder of scenes.

    im0.png im1.png calib.txt disp0.pfm              2014 and 2021 (Scharstein et al., GCPR 2014)
    im0.png im1.png calib.txt disp0GT.pfm            MiddEval3, in trainingF, trainingH or trainingQ
    view1.png view5.png disp1.png dmin.txt           2005 and 2006, full, half or third size; views also in Illum1/Exp1/
    im2.png im6.png disp2.png, or .ppm and .pgm      2003, full, half or quarter size, and 2001

Those with calib.txt have metric depth, see `recordings.two_view`. The others are published without calibration: the
focal length (3740 px at full size) and baseline (0.16 m) of 2005 and 2006 are used for all, so their depth is nominal;
disparity, which evaluation on these pairs uses, is exact. dmin.txt has the px at full size by which the images of 2005
and 2006 were cropped. Stored disparities are px at full size, in 2001 8 units per px; 0 = invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.recordings import Sample
from depth_ros.recordings.files import natural_order, read_pixels, read_rows, read_single_channel
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.search import folders_with, only_one
from depth_ros.recordings.two_view import (
    CALIBRATED_FILES,
    CALIBRATION,
    CalibratedScene,
    Scene,
    Scenes,
    disparity_to_depth,
    pair_cameras,
    read_pair,
)

REQUIRED = "scenes with im0.png, im1.png and calib.txt, or view1.png and view5.png, or im2.png and im6.png"
NOMINAL = "nominal focal length and baseline"
FULL_SIZE_FOCAL, BASELINE = 3740.0, 0.16
"""px and m."""
CALIBRATED_DISPARITY = ("disp0GT.pfm", "disp0.pfm")
ETH3D_MARKER = "cameras.txt"
WIDTHS_2003 = {1800: 1, 900: 2, 450: 4}
"""Width, px -> full size / size, which is also the stored units per px."""
WIDTHS_2001 = range(430, 436)
UNITS_2001 = 8


def _downscaling_2005(width: int) -> int:
    """Full size / size in 2005 and 2006: full size is 1240 to 1396 px wide."""
    return 1 if width > 1000 else 2 if width > 550 else 3


@dataclass(frozen=True)
class NominalScene:
    """A scene without calibration. left, right, disparity: files; the latter may not exist."""

    name: str
    left: Path
    right: Path
    disparity: Path

    @property
    def has_depth(self) -> bool:
        return self.disparity.is_file()

    def scales(self, width: int) -> tuple[int, int]:
        """Full size / size, and stored units of disparity per px."""
        if self.disparity.stem == "disp1":
            return (_downscaling_2005(width),) * 2
        if width in WIDTHS_2003:
            return (WIDTHS_2003[width],) * 2
        if width in WIDTHS_2001:
            return 4, UNITS_2001
        widths = ", ".join(map(str, sorted(WIDTHS_2003)))
        raise DepthRosError(
            f"{self.left} is {width} px wide, which is no size of Middlebury 2003 ({widths}) or 2001 (430 to 435): the "
            "scale of its disparity is unknown; use the images as published"
        )

    def cropped(self) -> float:
        """px at full size by which the right image was cropped more than the left one at its left border."""
        file = self.disparity.with_name("dmin.txt")
        return float(read_rows(file, (1,))[0, 0]) if file.is_file() else 0.0

    def sample(self, stamp: int) -> Sample:
        """The pair with its ground truth. stamp: ns."""
        height, width = read_pixels(self.left).shape[:2]
        downscaling, units = self.scales(width)
        focal = FULL_SIZE_FOCAL / downscaling
        K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        cameras = pair_cameras((width, height), K, self.cropped() / downscaling, BASELINE)
        depth = None
        if self.has_depth:
            stored = read_single_channel(self.disparity, cameras[0]).astype(np.float32)
            disparity = np.where(stored > 0, stored / np.float32(units), np.float32(np.nan))
            depth = disparity_to_depth(disparity, cameras)
        return Sample(self.name, *read_pair(stamp, self.left, self.right, cameras), depth)


NOMINAL_FILES = (
    ("view1.png", "view5.png", "disp1.png"),
    ("Illum1/Exp1/view1.png", "Illum1/Exp1/view5.png", "disp1.png"),
    ("im2.png", "im6.png", "disp2.png"),
    ("im2.ppm", "im6.ppm", "disp2.pgm"),
)


def scenes_in(path: Path) -> dict[Path, Scene]:
    """Folder and scene of the folder itself or of those at most two levels below it, in natural order."""
    found: dict[Path, Scene] = {
        folder: CalibratedScene(folder, _first_file(folder, CALIBRATED_DISPARITY))
        for folder in folders_with(path, CALIBRATED_FILES, levels=2)
        if not (folder / ETH3D_MARKER).is_file()
    }
    for left, right, disparity in NOMINAL_FILES:
        for folder in folders_with(path, (left, right), levels=2):
            files = (folder / name for name in (left, right, disparity))
            found.setdefault(folder, NominalScene(folder.name, *files))
    return dict(sorted(found.items(), key=lambda item: natural_order(str(item[0]))))


def _first_file(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(scenes_in(path))


def read(path: Path, options: RecordingOptions) -> Scenes:
    """The scenes in a folder, as one recording."""
    scenes = scenes_in(path)
    only_one(path, sorted({folder.parent for folder in scenes}), "sets of scenes")
    calibrated = [isinstance(scene, CalibratedScene) for scene in scenes.values()]
    sources = [CALIBRATION] * any(calibrated) + [NOMINAL] * (not all(calibrated))
    return Scenes("middlebury", list(scenes.values()), "; ".join(sources))
