"""MannequinChallenge as published: NAME.txt and the frames decoded from its video, NAME/TIMESTAMP.jpg or .png.

NAME.txt has the URL of the video, then a row a frame: microseconds since the start of the video; fx fy cx cy as
fractions of the image size; k1 k2 of the lens, always 0; world-to-camera pose, 3x4, of structure from motion, so of
unknown scale (Li et al., CVPR 2019; download page of the data set). The published archive has no images: frames must be
named by their timestamp, for example 1000000.jpg. The folder is that of the frames, with NAME.txt beside it or in it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import FIRST_STAMP, NS, images_in, read_pixels
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.search import only_one

REQUIRED = "NAME.txt and NAME/TIMESTAMP.jpg"
COLUMNS = 19
NS_PER_MICROSECOND = 1000


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(clips_in(path))


def clips_in(path: Path) -> list[Path]:
    """The folder itself if it is a clip, else those of its subfolders that are."""
    folders = [path, *sorted(folder for folder in path.iterdir() if folder.is_dir())]
    clips = [folder for folder in folders if _camera_file(folder) and images_in(folder)]
    return clips[:1] if path in clips else clips


def _camera_file(folder: Path) -> Path | None:
    name = folder.resolve().name
    files = folder.parent / f"{name}.txt", folder / f"{name}.txt"
    return next((file for file in files if file.is_file() and _is_camera_file(file)), None)


def _is_camera_file(file: Path) -> bool:
    """Whether the first line is an address, and the second has the columns of a frame."""
    with file.open(errors="replace") as lines:
        url, row = next(lines, ""), next(lines, "")
    return url.startswith("http") and len(row.split()) == COLUMNS


def read(path: Path, options: RecordingOptions) -> Recording:
    """The clip in a folder of this layout."""
    return Recording(only_one(path, clips_in(path), "clips"))


class Recording:
    """The frames of one clip that were decoded, in time order."""

    layout = "mannequin_challenge"
    damage = ()
    contents = Contents(poses=True, metric=False)

    def __init__(self, path: Path) -> None:
        file, images = _camera_file(path), images_in(path)
        assert file is not None
        self._rows = {name: row for name, row in _rows(file).items() if name in images}
        self._images, self.names = images, list(self._rows)
        if not self.names:
            raise DepthRosError(
                f"{path} has no image that is named by a timestamp of {file.name}, "
                f"such as {next(iter(_rows(file)), 1000000)}.jpg: name the decoded frames so"
            )
        self.stamps = [FIRST_STAMP + int(name) * NS_PER_MICROSECOND for name in self.names]
        gaps = np.diff(self.stamps)
        self.rate = float(NS / np.median(gaps)) if len(gaps) else 30.0
        self.camera_source = file.name

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image, row = read_pixels(self._images[name]), self._rows[name]
        height, width = image.shape[:2]
        fx, cx, fy, cy = row[0] * width, row[2] * width, row[1] * height, row[3] * height
        camera = Camera.pinhole(
            width, height, fx, fy, cx - 0.5, cy - 0.5
        )  # (0, 0) is the corner of the image
        T_camera_world = np.vstack([row[6:].reshape(3, 4), [0, 0, 0, 1]])
        frame = Frame(self.stamps[index], "camera_optical_frame", image, camera)
        return Sample(name, frame, T_world_camera=inverse(T_camera_world))


def _rows(file: Path) -> dict[str, np.ndarray]:
    """(18,) intrinsics, distortion and pose of each timestamp in microseconds, in time order."""
    rows: dict[str, np.ndarray] = {}
    for number, line in enumerate(file.read_text().splitlines()[1:], 2):
        words = line.split()
        try:
            stamp, values = int(words[0]), np.array(words[1:], float)
        except (IndexError, ValueError) as error:
            raise DepthRosError(f"{file}, line {number}: {error}") from error
        if len(words) != COLUMNS:
            raise DepthRosError(f"{file}, line {number}: {len(words)} numbers; it must have {COLUMNS}")
        rows[str(stamp)] = values
    return dict(sorted(rows.items(), key=lambda item: int(item[0])))
