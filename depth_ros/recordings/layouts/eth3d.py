"""ETH3D two-view stereo as published (Schoeps et al., CVPR 2017; www.eth3d.net/documentation).

    two_view_training/SCENE/        calib.txt im0.png im1.png, and cameras.txt images.txt (COLMAP), which are not read
    two_view_training_gt/SCENE/     disp0GT.pfm mask0nocc.png, which may also be unpacked into the folders above
    two_view_testing/SCENE/         without ground truth

The folder is one scene, or a folder of scenes. Files have Middlebury's format (`recordings.two_view`); cameras.txt
tells the two data sets apart.
"""

from __future__ import annotations

from pathlib import Path

from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.search import folders_with, only_one
from depth_ros.recordings.two_view import CALIBRATED_FILES, CalibratedScene, Scenes

REQUIRED = "scenes with calib.txt, cameras.txt, im0.png and im1.png"
MARKER = "cameras.txt"
DISPARITY = "disp0GT.pfm"


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return any(folders_with(path, (*CALIBRATED_FILES, MARKER), levels=2))


def read(path: Path, options: RecordingOptions) -> Scenes:
    """The scenes in a folder, as one recording."""
    folders = list(folders_with(path, (*CALIBRATED_FILES, MARKER), levels=2))
    only_one(path, sorted({folder.parent for folder in folders}), "sets of scenes")
    return Scenes("eth3d", [CalibratedScene(folder, _disparity(folder)) for folder in folders], "calib.txt")


def _disparity(folder: Path) -> Path | None:
    ground_truth = folder.parent.with_name(f"{folder.parent.name}_gt") / folder.name
    return next((file for file in (folder / DISPARITY, ground_truth / DISPARITY) if file.is_file()), None)
