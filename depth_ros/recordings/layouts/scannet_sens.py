"""ScanNet as downloaded: SCENE.sens, one file a scene (Dai et al., CVPR 2017; SensReader/python/SensorData.py).

A header with intrinsics and extrinsics of colour and depth, 4x4 float32, then for each frame: camera-to-world pose,
-inf where tracking was lost; stamps of colour and depth, us; a JPEG of colour; and zlib-compressed uint16 depth, 0 =
invalid. All of it is little endian. Depth is resampled to the colour image, see `scannet`. A file that ends early is
read as far as its frames are complete.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import FIRST_STAMP, NS
from depth_ros.recordings.layouts.scannet import RATE, to_camera
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import DamagedFrame
from depth_ros.recordings.search import only_one

REQUIRED = "SCENE.sens"
SUFFIXES = (".sens",)
VERSION = 4
IMAGE_FORMATS = (1, 2)
"""Compression of colour: PNG, JPEG."""
ZLIB = 1
"""Compression of depth."""
MATRIX, SIZES, FRAME = struct.Struct("<16f"), struct.Struct("<2i4IfQ"), struct.Struct("<16f4Q")
NS_PER_MICROSECOND = 1000


@dataclass(frozen=True)
class Header:
    """What precedes the frames. depth_scale: stored units per metre."""

    colour: Camera
    depth: Camera
    depth_scale: float
    frames: int


@dataclass(frozen=True)
class Entry:
    """Where a frame is. position: of its colour image, bytes. stamp: of colour, us."""

    position: int
    colour_size: int
    depth_size: int
    stamp: int
    T_world_camera: np.ndarray


def matches(path: Path) -> bool:
    """Whether a file or folder has this layout."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("*.sens"))


def read(path: Path, options: RecordingOptions) -> Recording:
    """The scene of a file, or of the only file of a folder."""
    return Recording(only_one(path, _files(path), "scenes"))


class Recording:
    """One scene; `names` are the numbers of the frames."""

    layout, rate = "scannet_sens", RATE
    contents = Contents(depth=True, poses=True)

    def __init__(self, path: Path) -> None:
        self._path, self.camera_source = path, path.name
        with path.open("rb") as file:
            try:
                self._header = _read_header(file)
            except (struct.error, ValueError) as error:
                raise DepthRosError(f"{path} is no .sens file of ScanNet that is known: {error}") from error
            self._frames = _index(file, self._header.frames, path.stat().st_size)
        count, expected = len(self._frames), self._header.frames
        self.damage = [f"{path} ends after {count} of {expected} frames: download it again"] * (
            count < expected
        )
        self.names = [str(number) for number in range(count)]
        stamps = [entry.stamp for entry in self._frames]
        if all(after > before for before, after in itertools.pairwise(stamps)):
            self.stamps = [FIRST_STAMP + stamp * NS_PER_MICROSECOND for stamp in stamps]
        else:
            self.stamps = [FIRST_STAMP + round(number * NS / RATE) for number in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        entry, header, name = self._frames[index], self._header, self.names[index]
        with self._path.open("rb") as file:
            file.seek(entry.position)
            colour, depth = file.read(entry.colour_size), file.read(entry.depth_size)
        try:
            image = cv2.imdecode(np.frombuffer(colour, np.uint8), cv2.IMREAD_COLOR)
            values = np.frombuffer(zlib.decompress(depth), "<u2").reshape(
                header.depth.height, header.depth.width
            )
        except (zlib.error, ValueError, cv2.error) as error:
            raise DamagedFrame(f"{self._path}, frame {name}: {error}") from error
        if image is None or image.shape[:2] != (header.colour.height, header.colour.width):
            raise DamagedFrame(f"{self._path}, frame {name}: the colour image is damaged")
        metres = np.where(values > 0, values / np.float32(header.depth_scale), np.float32(np.nan))
        frame = Frame(
            self.stamps[index], "camera_optical_frame", cv2.cvtColor(image, cv2.COLOR_BGR2RGB), header.colour
        )
        T = entry.T_world_camera
        return Sample(
            name, frame, depth=to_camera(metres.astype(np.float32), header.depth, header.colour, np.nan),
            T_world_camera=T if np.isfinite(T).all() else None,
        )  # fmt: skip


def _read_header(file: BinaryIO) -> Header:
    """Raises ValueError or struct.error for another format."""
    version, length = struct.unpack("<IQ", file.read(12))
    if version != VERSION or length > 1000:
        raise ValueError(f"version {version}; known is {VERSION}")
    file.read(length)  # name of the sensor
    K_colour, T_colour, K_depth, T_depth = (_matrix(MATRIX.unpack(file.read(64))) for _ in range(4))
    if not np.allclose(T_colour, T_depth, atol=1e-4):
        raise ValueError("depth is not registered to colour: their extrinsics differ")
    image_format, depth_format, *sizes, depth_scale, frames = SIZES.unpack(file.read(SIZES.size))
    if image_format not in IMAGE_FORMATS or depth_format != ZLIB or depth_scale <= 0:
        raise ValueError(f"compression {image_format} of colour, {depth_format} of depth; known: 1 and 2, 1")
    colour, depth = _pinhole(sizes[:2], K_colour), _pinhole(sizes[2:], K_depth)
    return Header(colour, depth, depth_scale, frames)


def _pinhole(size: list[int], K: np.ndarray) -> Camera:
    return Camera.pinhole(size[0], size[1], K[0, 0], K[1, 1], K[0, 2], K[1, 2])


def _matrix(values: tuple[float, ...]) -> np.ndarray:
    return np.array(values, float).reshape(4, 4)


def _index(file: BinaryIO, count: int, size: int) -> list[Entry]:
    """The complete frames that follow the position of the file, at most `count`; the images are skipped."""
    entries: list[Entry] = []
    while len(entries) < count and len(head := file.read(FRAME.size)) == FRAME.size:
        *pose, stamp, _, colour_size, depth_size = FRAME.unpack(head)
        position = file.tell()
        if position + colour_size + depth_size > size:
            break
        entries.append(Entry(position, colour_size, depth_size, stamp, _matrix(tuple(pose))))
        file.seek(position + colour_size + depth_size)
    return entries
