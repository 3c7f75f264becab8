"""Make3D as published: Train400Img/img-*.jpg and Train400Depth/, Test134/img-*.jpg and Gridlaserdata/.

Ground truth is depth_sph_corr-*.mat with `Position3DGrid` (55, 305, 4): the fourth channel is the distance of the point
that a laser scanner measured in each cell of the image, m (Saxena et al., PAMI 2009; Readme of the data). It is
converted to depth along the optical axis; `lidar_x` leaves it as it is, as published results compare with it: up to
16 % more in the corners. Every pixel of a cell has its depth (nearest neighbour, as in published evaluations); values
from 80 m on, the range of the scanner, are invalid, as in the released code, except with `lidar_x`.

Images are 1704x2272, upright. The focal length is that of the released code, for the rotated image, whose principal
point is taken as the centre. Images are independent; the folder is the root, or one of those of the images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.geometry import rays
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, read_pixels
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import DamagedFrame

REQUIRED = "Train400Img/ and Train400Depth/, or Test134/ and Gridlaserdata/"
PUBLISHED_DEPTH = True
"""`lidar_x` selects the depth of published results."""
RATE = 1.0  # Hz, of generated stamps
FOCAL_X, FOCAL_Y = 2407.3312729885838 / 1704, 2400.2091651084 / 2272
"""Focal lengths of the upright image as fractions of its width and height."""
PARTS = (("Train400Img", "Train400Depth"), ("Test134", "Gridlaserdata"))
"""Folders of the images and of their ground truth."""
MAX_RANGE = 80.0
"""m, of the laser scanner; what is farther was not measured."""


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(_images(path))


def _images(path: Path) -> dict[str, tuple[Path, Path]]:
    """The image and the ground truth of each name. The depth may lie beside the images or in its own folder."""
    path = path.resolve()
    parts = dict(PARTS)
    folders = [(path, path.parent / parts.get(path.name, path.name))]
    folders += [(path / images, path / depths) for images, depths in PARTS]
    found = {}
    for images, depths in folders:
        for image in sorted(images.glob("img-*.jpg")):
            name = image.stem.removeprefix("img-")
            places = [folder / f"depth_sph_corr-{name}.mat" for folder in (depths, images)]
            if depth := next((file for file in places if file.is_file()), None):
                found[name] = image, depth
    return found


def read(path: Path, options: RecordingOptions) -> Recording:
    """The images in a folder of this layout."""
    return Recording(path, along_ray=options.lidar_x)


class Recording:
    """Independent images that have ground truth. along_ray: depth is the distance along the ray of the pixel."""

    layout, rate = "make3d", RATE
    camera_source = "focal length of the released code, principal point assumed in the centre"
    damage = ()
    contents = Contents(depth=True, consecutive=False)

    def __init__(self, path: Path, along_ray: bool) -> None:
        self._files, self._along_ray = _images(path), along_ray
        self.names = list(self._files)
        self.stamps = frame_stamps([""] * len(self.names), RATE)
        self.note = "g is the distance along the ray of each pixel" if along_ray else ""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        file, depth_file = self._files[name]
        image = read_pixels(file)
        height, width = image.shape[:2]
        camera = Camera.pinhole(
            width, height, FOCAL_X * width, FOCAL_Y * height, (width - 1) / 2, (height - 1) / 2
        )
        depth = _at_size(_read_distances(depth_file), width, height)
        if not self._along_ray:
            depth[depth >= MAX_RANGE] = np.nan
            depth /= np.linalg.norm(rays(camera), axis=-1).astype(np.float32)
        return Sample(name, Frame(self.stamps[index], "camera_optical_frame", image, camera), depth=depth)


def _read_distances(file: Path) -> np.ndarray:
    """(55, 305) float32 m, NaN = invalid."""
    from scipy.io import loadmat

    try:
        distances = loadmat(str(file))["Position3DGrid"][..., 3].astype(np.float32)
    except (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        raise DamagedFrame(f"{file} has no Position3DGrid of four channels: {error}: restore it") from error
    return np.where(distances > 0, distances, np.float32(np.nan))


def _at_size(grid: np.ndarray, width: int, height: int) -> np.ndarray:
    """The value of the cell that each pixel lies in."""
    rows = np.arange(height) * grid.shape[0] // height
    columns = np.arange(width) * grid.shape[1] // width
    return grid[rows][:, columns]
