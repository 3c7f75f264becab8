"""Cityscapes as published: leftImg8bit/SPLIT/CITY/, and rightImg8bit/, disparity/, camera/ where there are any.

The folder may be all of it, or one split, as ROOT/leftImg8bit/val; leftImg8bit_sequence/ likewise. Disparity is
what the dataset ships, matched from the pair: (png - 1) / 256 px, 0 = unknown (Cordts et al., CVPR 2016).
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from depth_ros.datasets import Sample
from depth_ros.datasets.files import read_image, read_units, stamps_for
from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError

NEEDS = "leftImg8bit/SPLIT/CITY/ and camera/SPLIT/CITY/"
RATE = 17.0  # Hz
SIZE = (2048, 1024)
LEFT = ("leftImg8bit_sequence", "leftImg8bit")


def fits(path: Path) -> bool:
    """Whether a folder has this layout."""
    return _root(path) is not None


def _root(path: Path) -> tuple[Path, str] | None:
    """The folder of all of it, and the kind of left images, for it or for a folder below those."""
    path = path.resolve()
    for kind in LEFT:
        if (path / kind).is_dir():
            return path, kind
        if kind in path.parts:
            return Path(*path.parts[: path.parts.index(kind)]), kind
    return None


def read(path: Path) -> Recording:
    """The recording in a folder of this layout."""
    return Recording(path)


class Recording:
    """Images of Cityscapes, by city, sequence and frame; `names` are CITY_SEQUENCE_FRAME."""

    layout, rate = "cityscapes", RATE

    def __init__(self, path: Path) -> None:
        found = _root(path)
        assert found is not None
        self._path, self._kind = found
        here = path.resolve() if self._kind in path.resolve().parts else self._path / self._kind
        self._files = sorted(here.rglob("*_leftImg8bit.png"))
        self.names = [file.stem.removesuffix("_leftImg8bit") for file in self._files]
        if not self.names:
            raise DepthRosError(f"{here} holds no *_leftImg8bit.png: unpack {self._kind} there")
        self.stamps = stamps_for(self.names, RATE)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, stamp, file = self.names[index], self.stamps[index], self._files[index]
        camera, baseline = self._camera(file)
        left = Frame(stamp, "left_optical_frame", read_image(file, camera), camera)
        right, other = None, self._beside(file, self._kind.replace("left", "right"), "_rightImg8bit.png")
        if other.is_file():
            K = camera.K
            eye = Camera.pinhole(*SIZE, K[0, 0], K[1, 1], K[0, 2], K[1, 2], baseline)
            right = Frame(stamp, "right_optical_frame", read_image(other, eye), eye)
        return Sample(name, left, right, self._depth(file, camera, baseline))

    def _beside(self, file: Path, folder: str, ending: str) -> Path:
        below = file.relative_to(self._path / self._kind).parent
        return self._path / folder / below / (file.stem.removesuffix("_leftImg8bit") + ending)

    def _depth(self, file: Path, camera: Camera, baseline: float) -> np.ndarray | None:
        for folder in ("disparity", "disparity_sequence"):
            stored = self._beside(file, folder, "_disparity.png")
            if stored.is_file():
                units = read_units(stored, camera).astype(np.float32)
                disparity = np.where(units > 1, (units - 1) / 256, np.nan)
                return np.float32(camera.fx * baseline) / disparity.astype(np.float32)
        return None

    def _camera(self, file: Path) -> tuple[Camera, float]:
        """Camera and baseline, m: of the image itself, or of another image of its sequence."""
        own = self._beside(file, "camera", "_camera.json")
        sequence = "_".join(own.name.split("_")[:2])
        files = [own] if own.is_file() else sorted(own.parent.glob(f"{sequence}_*_camera.json"))
        if not files:
            raise DepthRosError(f"{own} is missing: unpack the camera files of Cityscapes beside the images")
        return _read_camera(files[0])


@functools.lru_cache(maxsize=1024)
def _read_camera(file: Path) -> tuple[Camera, float]:
    try:
        content = json.loads(file.read_text())
        inner = content["intrinsic"]
        fx, fy, cx, cy = (float(inner[key]) for key in ("fx", "fy", "u0", "v0"))
        return Camera.pinhole(*SIZE, fx, fy, cx, cy), float(content["extrinsic"]["baseline"])
    except (OSError, ValueError, KeyError) as error:
        raise DepthRosError(f"{file} is no camera of Cityscapes: {error!r}") from error
