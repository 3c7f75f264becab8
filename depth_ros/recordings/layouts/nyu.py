"""Labelled NYU Depth v2 as published: nyu_depth_v2_labeled.mat, 1449 images with depth (Silberman et al., ECCV 2012).

The file is MATLAB v7.3, that is HDF5 (pip install h5py): `images` (N, 3, W, H) uint8 and `depths` (N, W, H) float32,
m, registered to the colour image, whose lens distortion is removed; holes of the Kinect are filled in, and published
results are compared with that. Intrinsics are those of the toolbox's camera_params.m. splits.mat beside it
(`trainNdxs`, `testNdxs`, from 1) names the 654 test images, which `--split held_out` selects and training leaves out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, open_hdf5
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import DamagedFrame

REQUIRED = "nyu_depth_v2_labeled.mat"
SUFFIXES = (".mat",)
RATE = 1.0  # Hz, of generated stamps
COLOUR = Camera.pinhole(
    640, 480, 5.1885790117450188e02, 5.1946961112127485e02, 3.2558244941119034e02, 2.5373616633400465e02
)
"""The colour camera after undistortion."""


def matches(path: Path) -> bool:
    """Whether a file or folder has this layout."""
    return _file(path).is_file()


def _file(path: Path) -> Path:
    return path if path.suffix == ".mat" else path / "nyu_depth_v2_labeled.mat"


def read(path: Path, options: RecordingOptions) -> Recording:
    """The images of the file."""
    return Recording(_file(path))


class Recording:
    """Independent images; `names` are their numbers, from 1 as in splits.mat."""

    layout, rate = "nyu", RATE
    camera_source = "camera_params.m of the toolbox of NYU Depth v2"
    damage = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_hdf5(path) as file:
            shapes = {key: file[key].shape for key in ("images", "depths") if key in file}
        count = shapes.get("images", (0,))[0]
        size = COLOUR.width, COLOUR.height
        if shapes != {"images": (count, 3, *size), "depths": (count, *size)}:
            raise DepthRosError(
                f"{path} has {shapes or 'neither images nor depths'}; the labelled data set of NYU Depth v2 has images "
                "(N, 3, 640, 480) and depths (N, 640, 480)"
            )
        self.names = [f"{number:04d}" for number in range(1, count + 1)]
        self.stamps = frame_stamps([""] * count, RATE)
        self.contents = Contents(depth=True, consecutive=False, test_split=_test_split(path, count))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        try:
            with open_hdf5(self._path) as file:
                image, depth = file["images"][index], file["depths"][index]
        except OSError as error:
            raise DamagedFrame(f"{self._path}: image {self.names[index]} is damaged: {error}") from error
        frame = Frame(self.stamps[index], "camera_optical_frame", image.transpose(2, 1, 0).copy(), COLOUR)
        depth = depth.T.astype(np.float32)
        return Sample(self.names[index], frame, depth=np.where(depth > 0, depth, np.float32(np.nan)))


def _test_split(path: Path, count: int) -> tuple[int, ...]:
    """Indices of the test images; empty without splits.mat."""
    from scipy.io import loadmat

    file = path.parent / "splits.mat"
    if not file.is_file():
        return ()
    try:
        numbers = sorted(int(number) for number in loadmat(str(file))["testNdxs"].ravel())
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise DepthRosError(f"{file} has no testNdxs ({error}): restore it, or delete it") from error
    if not numbers or numbers[0] < 1 or numbers[-1] > count:
        raise DepthRosError(f"{file} does not fit {path.name}: its test images must be within 1 to {count}")
    return tuple(number - 1 for number in numbers)
