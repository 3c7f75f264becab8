"""7-Scenes as published: SCENE/seq-NN/frame-NNNNNN.color.png, .depth.png and .pose.txt (Shotton et al., CVPR 2013).

Depth is in mm, 65535 = invalid; poses are camera-to-world, of KinectFusion; the intrinsics are the data set's default
ones of the depth camera, 585 585 320 240 px (data set's web page). Colour and depth are the raw images of a Kinect,
whose two cameras were not calibrated: depth is not registered to colour, whose focal length is another one.

The folder is one sequence, or a scene of one sequence. TrainSplit.txt and TestSplit.txt name the parts of a scene.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import (
    frame_stamps,
    images_in,
    read_image,
    read_pose,
    read_single_channel,
)
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.search import only_one

REQUIRED = "seq-NN/frame-NNNNNN.color.png"
RATE = 30.0  # Hz
INVALID = 65535
UNITS_PER_METRE = 1000.0
CAMERA = Camera.pinhole(640, 480, 585.0, 585.0, 320.0, 240.0)
SPLITS = (("training", "TrainSplit.txt"), ("test", "TestSplit.txt"))
log = logging.getLogger("depth_ros.recordings")


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(sequences_in(path))


def sequences_in(path: Path) -> list[Path]:
    """The folder itself if it is a sequence, else the sequences of a scene, or of all scenes."""
    for found in ([path], sorted(path.glob("seq-*")), sorted(path.glob("*/seq-*"))):
        if sequences := [folder for folder in found if next(folder.glob("frame-*.color.*"), None)]:
            return sequences
    return []


def read(path: Path, options: RecordingOptions) -> Recording:
    """The sequence in a folder of this layout."""
    sequence = only_one(path, sequences_in(path), "sequences", describe=_part)
    log.warning(
        "%s: depth of 7-Scenes is not registered to the colour images, and the intrinsics are those of the depth "
        "camera: give --camera FILE for metric depth of the colour images",
        sequence,
    )
    return Recording(sequence)


def _part(sequence: Path) -> str:
    """The part of the scene that a sequence belongs to, in words; empty if unknown."""
    number = int(re.sub(r"\D", "", sequence.name) or -1)
    for part, name in SPLITS:
        file = sequence.parent / name
        if file.is_file() and number in map(int, re.findall(r"sequence(\d+)", file.read_text())):
            return part
    return ""


class Recording:
    """One sequence."""

    layout, rate = "seven_scenes", RATE
    camera_source = "published for the depth camera of 7-Scenes, to which colour is not registered"
    damage = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._colour = {name.removesuffix(".color"): file for name, file in images_in(path).items()
                        if name.endswith(".color")}  # fmt: skip
        self.names = list(self._colour)
        self.stamps = frame_stamps(self.names, RATE)
        first = self.names[0]
        self.contents = Contents(
            depth=self._depth_file(first).is_file(), poses=self._pose_file(first).is_file()
        )

    def _depth_file(self, name: str) -> Path:
        return self._path / f"{name}.depth.png"

    def _pose_file(self, name: str) -> Path:
        return self._path / f"{name}.pose.txt"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image = read_image(self._colour[name], CAMERA)
        depth = pose = None
        if self._depth_file(name).is_file():
            values = read_single_channel(self._depth_file(name), CAMERA)
            valid = (values > 0) & (values < INVALID)
            depth = np.where(valid, values / np.float32(UNITS_PER_METRE), np.float32(np.nan))
        if self._pose_file(name).is_file():
            pose = read_pose(self._pose_file(name))
        return Sample(
            name, Frame(self.stamps[index], "camera_optical_frame", image, CAMERA), None, depth, pose
        )
