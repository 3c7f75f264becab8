"""DIODE as published: (indoors|outdoor)/scene_N/scan_N/NAME.png, NAME_depth.npy, NAME_depth_mask.npy.

Depth is float32, m; mask 1 = valid. The intrinsics are those of the devkit: 886.81 927.06 512 384 px at 1024x768, of
the virtual camera that looks at the scans of a laser scanner (Vasiljevic et al., arXiv 1908.00463; diode-devkit:
README, diode.py, intrinsics.txt). Images are independent; the folder is the root, or any folder below it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, read_image
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import DamagedFrame

REQUIRED = "indoors/ or outdoor/ with scene_N/scan_N/NAME.png and NAME_depth.npy"
RATE = 1.0  # Hz, of generated stamps
CAMERA = Camera.pinhole(1024, 768, 886.81, 927.06, 512.0, 384.0)
LEVELS = ("", "scan_*/", "scene_*/scan_*/", "*/scene_*/scan_*/", "*/*/scene_*/scan_*/")
"""From the folder that is opened to the images: a scan, a scene, indoors or outdoor, a split, the root."""


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return _level(path) is not None


def _level(path: Path) -> str | None:
    return next((level for level in LEVELS if next(path.glob(f"{level}*_depth.npy"), None)), None)


def read(path: Path, options: RecordingOptions) -> Recording:
    """All images below a folder."""
    return Recording(path)


class Recording:
    """Independent images, sorted by path; `names` are paths relative to the folder, without suffix."""

    layout, rate = "diode", RATE
    camera_source = "intrinsics.txt of the devkit"
    damage = ()
    contents = Contents(depth=True, consecutive=False)

    def __init__(self, path: Path) -> None:
        self._path, level = path, _level(path)
        files = sorted(path.glob(f"{level}*.png"))
        self.names = [file.relative_to(path).with_suffix("").as_posix() for file in files]
        if not self.names:
            raise DepthRosError(
                f"{path} has depth of DIODE, but no images *.png beside it: unpack them there"
            )
        self.stamps = frame_stamps([""] * len(self.names), RATE)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image = read_image(self._path / f"{name}.png", CAMERA)
        frame = Frame(self.stamps[index], "camera_optical_frame", image, CAMERA)
        file = self._path / f"{name}_depth.npy"
        if not file.is_file():
            return Sample(name, frame)
        depth, mask = _read_array(file), _read_array(self._path / f"{name}_depth_mask.npy")
        valid = (mask > 0) & (depth > 0)
        return Sample(name, frame, depth=np.where(valid, depth, np.float32(np.nan)).astype(np.float32))


def _read_array(file: Path) -> np.ndarray:
    """(H, W) of an array that is stored as (H, W) or (H, W, 1)."""
    try:
        values = np.load(file, allow_pickle=False)
        return values.reshape(CAMERA.height, CAMERA.width)
    except (OSError, ValueError, EOFError) as error:
        raise DamagedFrame(f"{file} is damaged: {error}: restore or delete it") from error
