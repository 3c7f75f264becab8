"""KITTI stereo 2012 and 2015 as published: single rectified pairs (Geiger et al., CVPR 2012; Menze, Geiger, CVPR 2015).

    image_2/NNNNNN_10.png image_3/ disp_occ_0/ obj_map/ calib_cam_to_cam/NNNNNN.txt      2015, colour
    colored_0/ or image_0/, colored_1/ or image_1/, disp_occ/, calib/NNNNNN.txt          2012

Disparity is in 1/256 px, 0 = invalid, of all pixels (occ); obj_map holds the ids of moving cars. Of each scene, the
frame _10 is used, the only one with ground truth. The folder may be the root, training/ or testing/.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, images_in, read_depth, read_pixels, read_single_channel
from depth_ros.recordings.options import RecordingOptions

REQUIRED = "training/ with image_2/ and calib_cam_to_cam/ (2015), or colored_0/ and calib/ (2012)"
DISPARITY_SCALE = 256.0


@dataclass(frozen=True)
class Names:
    """Folders of one year. P: keys of the projection matrices of the left and the right camera."""

    left: str
    right: str
    disparity: str
    calibration: str
    P: tuple[str, str]


YEARS = (
    Names("image_2", "image_3", "disp_occ_0", "calib_cam_to_cam", ("P_rect_02", "P_rect_03")),
    Names("colored_0", "colored_1", "disp_occ", "calib", ("P2", "P3")),
    Names("image_0", "image_1", "disp_occ", "calib", ("P0", "P1")),
)


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return _find(path) is not None


def _find(path: Path) -> tuple[Path, Names] | None:
    for root in (path, path / "training", path / "testing"):
        for names in YEARS:
            if (root / names.calibration).is_dir() and (root / names.left).is_dir():
                return root, names
    return None


def read(path: Path, options: RecordingOptions) -> Recording:
    """The pairs in a folder of this layout."""
    found = _find(path)
    assert found is not None
    return Recording(*found)


class Recording:
    """Independent pairs, by number."""

    layout, rate = "kitti_stereo", 10.0
    damage = ()

    def __init__(self, root: Path, names: Names) -> None:
        self._root, self._folders = root, names
        left, right = images_in(root / names.left), images_in(root / names.right)
        self.names = [name.removesuffix("_10") for name in left if name.endswith("_10") and name in right]
        if not self.names:
            raise DepthRosError(
                f"{root} has no pair {names.left}/NNNNNN_10.png and {names.right}/NNNNNN_10.png"
            )
        self._left, self._right = left, right
        self._disparity, self._objects = images_in(root / names.disparity), images_in(root / "obj_map")
        self.stamps = frame_stamps(self.names, self.rate)
        self.camera_source = f"{names.calibration}/"
        self.contents = Contents(
            pairs=True, depth=bool(self._disparity), moving_objects=bool(self._objects), consecutive=False
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, stamp = self.names[index], self.stamps[index]
        file = f"{name}_10"
        images = read_pixels(self._left[file]), read_pixels(self._right[file])
        height, width = images[0].shape[:2]
        P = _projections(self._root / self._folders.calibration / f"{name}.txt", self._folders.P)
        baseline = (P[0][0, 3] - P[1][0, 3]) / P[0][0, 0]
        left, right = (
            Camera.pinhole(width, height, P[0][0, 0], P[0][1, 1], P[0][0, 2], P[0][1, 2], b)
            for b in (0.0, baseline)
        )
        depth = objects = None
        if file in self._disparity:
            disparity = read_depth(self._disparity[file], left, DISPARITY_SCALE)
            depth = np.float32(left.fx * baseline) / disparity
        if file in self._objects:
            objects = read_single_channel(self._objects[file], left).astype(np.int32)
        return Sample(
            name,
            Frame(stamp, "left_optical_frame", images[0], left),
            Frame(stamp, "right_optical_frame", images[1], right),
            depth,
            moving_objects=objects,
        )


@functools.lru_cache(maxsize=512)
def _projections(file: Path, keys: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """(3, 4) projection matrices of both rectified cameras."""
    try:
        rows = dict(line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
        left, right = (np.array(rows[key].split(), float).reshape(3, 4) for key in keys)
    except (OSError, KeyError, ValueError) as error:
        raise DepthRosError(
            f"{file}: {error} is missing or malformed; it must have {' and '.join(keys)}"
        ) from error
    return left, right
