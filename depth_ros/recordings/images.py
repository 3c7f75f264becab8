"""Images as a recording: one image, a folder of images, or a folder of left and right ones.

A pair is named by its folders (left/ and right/) or by its file names (camera_color_left, camera_color_right). The
calibration is given, or it is read from the focal length that a camera stores in its photographs, or a common field of
view is assumed.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings.calibration import ASSUMED, ASSUMED_FOV, camera_from_fov, read_cameras
from depth_ros.recordings.files import PAIR_WORDS, frame_stamps, images_in, read_image, read_pixels
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import Contents, Sample

RATE = 30.0  # Hz
FILM_WIDTH = 36.0
"""mm, of the film that a "focal length in 35 mm film" refers to."""


def matches(path: Path) -> bool:
    """Whether a folder holds images, or folders of left and right images."""
    return bool(_find(path)[0])


def read(path: Path, options: RecordingOptions) -> ImagesRecording:
    """The recording of an image or of a folder of images."""
    return ImagesRecording(path, options)


class ImagesRecording:
    """Images in the order of their names; numbers in them count as numbers."""

    layout, rate = "images", RATE
    damage = ()

    def __init__(self, path: Path, options: RecordingOptions) -> None:
        self._left, self._right = ({path.stem: path}, {}) if path.is_file() else _find(path)
        self.names = [name for name in self._left if not self._right or name in self._right]
        if not self.names:
            raise DepthRosError(f"{path}: no left image has a right one of the same name")
        self.stamps = frame_stamps(self.names, RATE)
        self._cameras = read_cameras(options.cameras) if options.cameras else ()
        self._fov = options.fov
        if self._right and len(self._cameras) != 2:
            self._right = {}  # without the baseline a pair has no depth
        self.contents = Contents(pairs=bool(self._right), consecutive=len(self.names) > 1)
        self.camera_source = ", ".join(map(str, options.cameras)) or self._uncalibrated_source()

    def _uncalibrated_source(self) -> str:
        if self._fov:
            return f"field of view {self._fov:g} degrees, as given"
        first = self._left[self.names[0]]
        if focal := film_focal_length(first):
            return f"the focal length that the camera stored in the image: {focal:g} mm on 35 mm film"
        return ASSUMED

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, stamp = self.names[index], self.stamps[index]
        file = self._left[name]
        if not self._cameras:
            pixels = read_pixels(file)
            camera = self._assumed(file, pixels.shape[1], pixels.shape[0])
            return Sample(name, Frame(stamp, "camera_optical_frame", pixels, camera))
        left = self._frame(file, stamp, self._cameras[0], "left" if self._right else "camera")
        right = self._frame(self._right[name], stamp, self._cameras[1], "right") if self._right else None
        return Sample(name, left, right)

    def _frame(self, file: Path, stamp: int, camera: Camera, side: str) -> Frame:
        return Frame(stamp, f"{side}_optical_frame", read_image(file, camera), camera)

    def _assumed(self, file: Path, width: int, height: int) -> Camera:
        focal = 0.0 if self._fov else film_focal_length(file)
        if not focal:
            return camera_from_fov(width, height, self._fov or ASSUMED_FOV)
        f = focal / FILM_WIDTH * max(width, height)
        return Camera.pinhole(width, height, f, f, (width - 1) / 2, (height - 1) / 2)


def _find(path: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Left (or only) and right images by name. Names of a pair lack the word for left or right."""
    for left, right in PAIR_WORDS:
        if (path / left).is_dir() and (path / right).is_dir():
            return images_in(path / left), images_in(path / right)
    images = images_in(path)
    for left, right in PAIR_WORDS:
        partners = {name: name.replace(left, right) for name in images if left in name}
        if partners and all(partner in images for partner in partners.values()):
            common = {name.replace(left, "").strip("_-."): name for name in partners}
            return (
                {short: images[name] for short, name in common.items()},
                {short: images[partners[name]] for short, name in common.items()},
            )
    if not images and path.is_dir():
        folders = [
            found for folder in sorted(path.iterdir()) if folder.is_dir() and (found := images_in(folder))
        ]
        images = folders[0] if len(folders) == 1 else {}
    return images, {}


def film_focal_length(file: Path) -> float:
    """mm, "focal length in 35 mm film" of the EXIF data of an image; 0 if it has none, or Pillow is not installed."""
    with contextlib.suppress(ImportError, OSError, ValueError, TypeError):
        from PIL import Image

        with Image.open(file) as image:
            focal = float(image.getexif().get_ifd(0x8769).get(0xA405) or 0)
        return focal if math.isfinite(focal) and 5 < focal < 1000 else 0.0
    return 0.0
