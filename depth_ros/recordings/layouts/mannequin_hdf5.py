"""HDF5 files of the released code of MannequinChallenge, one a frame (pip install h5py): FILE.h5, or a folder of them.

Read are, as by the loaders of the code, in the group gt: the image `img` (uint8) or `im1` or `img_1` (0 to 1),
(H, W, 3) RGB; depth `mvs_depth`, of multi-view stereo and so of unknown scale, or `gt_depth`, measured by a Kinect (TUM
RGB-D), 0 = invalid; `intrinsic` (3, 3) px; `T_1_G` (4, 4), from the world to the camera (Li et al., CVPR 2019;
loaders/image_folder.py of google/mannequinchallenge). Files are independent of each other.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.geometry import inverse
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, open_hdf5
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import DamagedFrame

REQUIRED = "FILE.h5 with gt/img, gt/mvs_depth, gt/intrinsic, gt/T_1_G"
SUFFIXES = (".h5", ".hdf5")
RATE = 1.0  # Hz, of generated stamps
IMAGES = ("img", "im1", "img_1")
DEPTHS = ("mvs_depth", "gt_depth")


def matches(path: Path) -> bool:
    """Whether a file or folder has this layout."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(path.iterdir())
    if any(file.is_dir() for file in files):
        return []  # a recording that has an HDF5 file among others
    return [file for file in files if file.suffix in SUFFIXES]


def read(path: Path, options: RecordingOptions) -> Recording:
    """The frames of a file or a folder."""
    return Recording(_files(path))


class Recording:
    """Independent frames, sorted by file name."""

    layout, rate = "mannequin_hdf5", RATE
    camera_source = "gt/intrinsic"
    damage = ()

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self.names = [file.stem for file in files]
        self.stamps = frame_stamps([""] * len(files), RATE)
        keys = _keys(files)
        self.contents = Contents(
            depth=bool(keys & set(DEPTHS)),
            poses="T_1_G" in keys,
            consecutive=False,
            metric="gt_depth" in keys,
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        file = self._files[index]
        try:
            with open_hdf5(file) as content:
                gt = {key: content["gt"][key][()] for key in (*IMAGES, *DEPTHS, "intrinsic", "T_1_G")
                      if key in content["gt"]}  # fmt: skip
            image, K = next(gt[key] for key in IMAGES if key in gt), gt["intrinsic"]
            height, width, _ = image.shape
        except (OSError, KeyError, StopIteration, ValueError) as error:
            raise DamagedFrame(
                f"{file} has no readable image and intrinsics in the group gt: {error!r}"
            ) from error
        if image.dtype != np.uint8:
            image = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
        depth = next((gt[key].astype(np.float32) for key in DEPTHS if key in gt), None)
        if depth is not None:
            depth = np.where(depth > 1e-8, depth, np.float32(np.nan))
        camera = Camera.pinhole(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        frame = Frame(self.stamps[index], "camera_optical_frame", image, camera)
        pose = inverse(gt["T_1_G"].astype(float)) if "T_1_G" in gt else None
        return Sample(self.names[index], frame, depth=depth, T_world_camera=pose)


def _keys(files: list[Path]) -> set[str]:
    """What the first readable file has."""
    for file in files:
        with contextlib.suppress(DamagedFrame), open_hdf5(file) as content:
            return set(content.get("gt", ()))
    return set()
