"""Cityscapes as published: leftImg8bit/SPLIT/CITY/, and optionally rightImg8bit/, disparity/ and camera/.

The folder is the root, or one split such as ROOT/leftImg8bit/val; the same for leftImg8bit_sequence/. Disparity
is the published stereo matching result: (png - 1) / 256 px, 0 = invalid (Cordts et al., CVPR 2016).
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, is_hidden, read_image, read_single_channel
from depth_ros.recordings.options import RecordingOptions

REQUIRED = "leftImg8bit/SPLIT/CITY/ and camera/SPLIT/CITY/"
RATE = 17.0  # Hz
SIZE = (2048, 1024)  # width, height in px
LEFT_FOLDERS = ("leftImg8bit_sequence", "leftImg8bit")
DISPARITY_FOLDERS = ("disparity", "disparity_sequence")


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return _root(path) is not None


def _root(path: Path) -> tuple[Path, str] | None:
    """The root and the name of its folder of left images, from the root itself or a folder inside the latter."""
    path = path.resolve()
    for left in LEFT_FOLDERS:
        if (path / left).is_dir():
            return path, left
        if left in path.parts:
            return Path(*path.parts[: path.parts.index(left)]), left
    return None


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    return Recording(path)


class Recording:
    """Images of Cityscapes, sorted by city, sequence and frame; `names` are CITY_SEQUENCE_FRAME."""

    layout, rate, camera_source = "cityscapes", RATE, "camera/"
    damage = ()

    def __init__(self, path: Path) -> None:
        found = _root(path)
        assert found is not None
        self._root, self._left_folder = found
        inside = self._left_folder in path.resolve().parts
        searched = path.resolve() if inside else self._root / self._left_folder
        images = searched.rglob("*_leftImg8bit.png")
        self._files = sorted(file for file in images if not is_hidden(file.name))
        self.names = [file.stem.removesuffix("_leftImg8bit") for file in self._files]
        if not self.names:
            raise DepthRosError(f"{searched} has no *_leftImg8bit.png: unpack {self._left_folder} there")
        self.stamps = frame_stamps(self.names, RATE)
        right, sequence = self._left_folder.replace("left", "right"), "sequence" in self._left_folder
        depth = any((self._root / folder).is_dir() for folder in DISPARITY_FOLDERS)
        self.contents = Contents(pairs=(self._root / right).is_dir(), depth=depth, consecutive=sequence)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, stamp, file = self.names[index], self.stamps[index], self._files[index]
        camera, baseline = self._camera(file)
        left = Frame(stamp, "left_optical_frame", read_image(file, camera), camera)
        right_folder = self._left_folder.replace("left", "right")
        right, right_file = None, self._sibling(file, right_folder, "_rightImg8bit.png")
        if right_file.is_file():
            right_camera = Camera.pinhole(*SIZE, camera.fx, camera.fy, camera.cx, camera.cy, baseline)
            right = Frame(stamp, "right_optical_frame", read_image(right_file, right_camera), right_camera)
        return Sample(name, left, right, self._depth(file, camera, baseline))

    def _sibling(self, file: Path, folder: str, suffix: str) -> Path:
        """The file in another folder that belongs to a left image."""
        parent = file.relative_to(self._root / self._left_folder).parent
        return self._root / folder / parent / (file.stem.removesuffix("_leftImg8bit") + suffix)

    def _depth(self, file: Path, camera: Camera, baseline: float) -> np.ndarray | None:
        for folder in DISPARITY_FOLDERS:
            stored = self._sibling(file, folder, "_disparity.png")
            if stored.is_file():
                values = read_single_channel(stored, camera).astype(np.float32)
                disparity = np.where(values > 1, (values - 1) / 256, np.nan)
                return np.float32(camera.fx * baseline) / disparity.astype(np.float32)
        return None

    def _camera(self, file: Path) -> tuple[Camera, float]:
        """Camera and baseline (m): of the image itself, or else of another image of its sequence."""
        own = self._sibling(file, "camera", "_camera.json")
        sequence = "_".join(own.name.split("_")[:2])
        files = [own] if own.is_file() else sorted(own.parent.glob(f"{sequence}_*_camera.json"))
        if not files:
            raise DepthRosError(f"{own} is missing: unpack the camera files of Cityscapes next to the images")
        return _read_camera(files[0])


@functools.lru_cache(maxsize=1024)
def _read_camera(file: Path) -> tuple[Camera, float]:
    try:
        content = json.loads(file.read_text())
        inner = content["intrinsic"]
        fx, fy, cx, cy = (float(inner[key]) for key in ("fx", "fy", "u0", "v0"))
        return Camera.pinhole(*SIZE, fx, fy, cx, cy), float(content["extrinsic"]["baseline"])
    except (OSError, ValueError, KeyError) as error:
        raise DepthRosError(
            f"{file} is not a camera file of Cityscapes: {error!r} is missing or malformed"
        ) from error
