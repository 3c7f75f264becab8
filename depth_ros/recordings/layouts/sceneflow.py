"""SceneFlow: FlyingThings3D, Driving and Monkaa as published (Mayer et al., CVPR 2016; lmb.informatik.uni-freiburg.de).

    frames_cleanpass/SEQUENCE/left/0006.png right/       or frames_finalpass, or _webp; SEQUENCE is TRAIN/A/0000,
                                                         15mm_focallength/scene_forwards/fast or the name of a scene
    disparity/SEQUENCE/left/0006.pfm                     positive px of the left image
    camera_data/SEQUENCE/camera_data.txt                 per frame: `Frame 6`, `L` and `R` with 16 numbers, row-major

The folder is the root, whose clean pass is read if there is one, or a folder inside frames_*. One sequence is read as
consecutive frames with poses, several as independent pairs. fx = 1050 px, 450 px in 15mm_focallength; the principal
point is (479.5, 269.5). Poses are camera-to-world with x right, y up, z backward. The unit of length is Blender's, the
baseline is 1 unit: it is read as 1 m, so depth has a consistent scale, but no metric one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, images_in, read_pixels, table_lines
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.pfm import read_pfm
from depth_ros.recordings.search import folders_with
from depth_ros.recordings.two_view import disparity_to_depth, pair_cameras, read_pair

REQUIRED = "frames_cleanpass/ or frames_finalpass/ with left/ and right/ in its sequences"
PASSES = ("frames_cleanpass", "frames_cleanpass_webp", "frames_finalpass", "frames_finalpass_webp")
FOCAL, FOCAL_15MM = 1050.0, 450.0
PRINCIPAL_POINT = (479.5, 269.5)
BASELINE = 1.0
"""Units of Blender."""
T_BLENDER_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    found = _frames(path)
    return found is not None and any(folders_with(found[0], ("left", "right"), levels=3))


def _frames(path: Path) -> tuple[Path, Path] | None:
    """The folder to search for sequences, and the folder frames_* that it is in."""
    path = path.resolve()
    inside = next((name for name in PASSES if name in path.parts), None)
    if inside:
        return path, Path(*path.parts[: path.parts.index(inside) + 1])
    return next(((path / name, path / name) for name in PASSES if (path / name).is_dir()), None)


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    found = _frames(path)
    assert found is not None
    return Recording(*found)


class Recording:
    """One sequence with poses, or the independent pairs of several."""

    layout, rate = "sceneflow", 24.0
    damage = ()
    note = "1 unit of Blender is read as 1 m: no metric scale"
    camera_source = f"published; {note}"

    def __init__(self, path: Path, frames: Path) -> None:
        self._frames = frames
        sequences = list(folders_with(path, ("left", "right"), levels=3))
        self._left = [file for folder in sequences for file in images_in(folder / "left").values()]
        self.names = [str(file.parent.parent.relative_to(frames) / file.stem) for file in self._left]
        if not self.names:
            raise DepthRosError(f"{path} has no images in left/")
        self.stamps = frame_stamps(self.names, self.rate)
        self._poses: dict[str, np.ndarray] = {}
        camera_data = frames.parent / "camera_data" / sequences[0].relative_to(frames) / "camera_data.txt"
        if len(sequences) == 1 and camera_data.is_file():
            self._poses = read_camera_data(camera_data)
        self.contents = Contents(
            pairs=True, depth=(frames.parent / "disparity").is_dir(), poses=bool(self._poses),
            consecutive=len(sequences) == 1, exact="cleanpass" in frames.name, metric=False,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, left = self.names[index], self._left[index]
        cameras = _cameras(name, read_pixels(left).shape)
        frames = read_pair(self.stamps[index], left, left.parent.parent / "right" / left.name, cameras)
        disparity = self._frames.parent / "disparity" / Path(name).parent / "left" / f"{left.stem}.pfm"
        depth = disparity_to_depth(read_pfm(disparity), cameras) if disparity.is_file() else None
        return Sample(name, *frames, depth, self._poses.get(left.stem))


def _cameras(name: str, shape: tuple[int, ...]) -> tuple[Camera, Camera]:
    focal = FOCAL_15MM if "15mm_focallength" in name else FOCAL
    K = np.array([[focal, 0, PRINCIPAL_POINT[0]], [0, focal, PRINCIPAL_POINT[1]], [0, 0, 1]])
    return pair_cameras((shape[1], shape[0]), K, 0.0, BASELINE)


def read_camera_data(file: Path) -> dict[str, np.ndarray]:
    """(4, 4) pose of the left camera (optical frame) by frame, a number of four digits."""
    poses, frame = {}, ""
    for number, words in table_lines(file):
        try:
            if words[0] == "Frame":
                frame = f"{int(words[1]):04d}"
            elif words[0] == "L":
                poses[frame] = np.array(words[1:], float).reshape(4, 4) @ T_BLENDER_OPTICAL
        except (IndexError, ValueError) as error:
            raise DepthRosError(
                f"{file}, line {number}: {error}; it must be: Frame N, or L and 16 numbers"
            ) from error
    return poses
