"""RGB-D frames as Open3D's reconstruction system reads them: color/, rgb/ or image/ beside depth/, sorted by name.

Depth is registered to colour, uint16, 1000 units per metre; 0 and 65535 = invalid. camera_intrinsic.json is Open3D's
PinholeCameraIntrinsic. Without it, and without --camera, Open3D assumes a PrimeSense camera for 640x480, and so does
this layout, with a warning; for another size it raises (open3d.org, "Reconstruction system"; `initialize_config.py`).
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.calibration import camera_from_fov, read_cameras
from depth_ros.recordings.files import frame_stamps, images_in, read_image, read_pixels, read_single_channel
from depth_ros.recordings.options import RecordingOptions

REQUIRED = "color/, rgb/ or image/ beside depth/"
COLOUR = ("color", "rgb", "image")
OTHER_LAYOUTS = ("camera.yaml", "rgb.txt", "associations.txt", "intrinsic")
"""Files of the general layout, TUM RGB-D and ScanNet, whose folders have similar names."""
RATE = 30.0  # Hz, of generated stamps
INVALID = 65535
UNITS_PER_METRE = 1000.0
PRIMESENSE = Camera.pinhole(640, 480, 525.0, 525.0, 319.5, 239.5)
"""PinholeCameraIntrinsicParameters.PrimeSenseDefault of Open3D."""
log = logging.getLogger("depth_ros.recordings")


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    if any((path / name).exists() for name in OTHER_LAYOUTS) or not (path / "depth").is_dir():
        return False
    return any(images_in(path / name) for name in COLOUR) and bool(images_in(path / "depth"))


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    colour = next(found for name in COLOUR if (found := images_in(path / name)))
    depth = images_in(path / "depth")
    if len(colour) != len(depth):
        raise DepthRosError(
            f"{path} has {len(colour)} colour and {len(depth)} depth images; the frames belong together in the order "
            "of their names: add or remove the odd ones"
        )
    height, width = read_pixels(next(iter(colour.values()))).shape[:2]
    return Recording(colour, list(depth.values()), *_camera(path, width, height, options))


def _camera(path: Path, width: int, height: int, options: RecordingOptions) -> tuple[Camera, str]:
    """The camera, and where its calibration comes from."""
    if options.cameras:
        return read_cameras(options.cameras)[0], str(options.cameras[0])
    if options.fov:
        return camera_from_fov(width, height, options.fov), f"field of view {options.fov:g} degrees"
    file = path / "camera_intrinsic.json"
    if file.is_file():
        return read_intrinsic(file), file.name
    if (width, height) != (PRIMESENSE.width, PRIMESENSE.height):
        raise DepthRosError(
            f"{path} has no calibration for its images of {width}x{height}: give --camera FILE, or write "
            f"{file.name} (Open3D's PinholeCameraIntrinsic)"
        )
    log.warning(
        "%s has no camera_intrinsic.json: Open3D's default is assumed, fx = fy = 525 px; --camera FILE replaces it",
        path,
    )
    return PRIMESENSE, "default of Open3D for 640x480"


def read_intrinsic(file: Path) -> Camera:
    """The camera of a PinholeCameraIntrinsic: width, height, and intrinsic_matrix (3x3, column-major)."""
    try:
        content = json.loads(file.read_text())
        K = np.array(content["intrinsic_matrix"], float).reshape(3, 3).T
        size = int(content["width"]), int(content["height"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DepthRosError(
            f"{file} is no PinholeCameraIntrinsic of Open3D (width, height, intrinsic_matrix): {error!r}"
        ) from error
    return Camera.pinhole(*size, K[0, 0], K[1, 1], K[0, 2], K[1, 2])


class Recording:
    """Colour images with registered depth."""

    layout, rate = "open3d", RATE
    damage = ()
    contents = Contents(depth=True)

    def __init__(self, colour: dict[str, Path], depth: list[Path], camera: Camera, source: str) -> None:
        self.names = list(colour)
        self.stamps = frame_stamps(self.names, RATE)
        self.camera, self.camera_source = camera, source
        self._colour, self._depth = list(colour.values()), depth

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        values = read_single_channel(self._depth[index], self.camera)
        valid = (values > 0) & (values < INVALID)
        image = read_image(self._colour[index], self.camera)
        return Sample(
            self.names[index],
            Frame(self.stamps[index], "camera_optical_frame", image, self.camera),
            depth=np.where(valid, values / np.float32(UNITS_PER_METRE), np.float32(np.nan)),
        )
