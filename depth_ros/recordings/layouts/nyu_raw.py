"""Raw NYU Depth v2 as published: SCENE/r-SECONDS-TICKS.ppm and d-SECONDS-TICKS.pgm (Silberman et al., ECCV 2012).

Depth images hold the disparity of the Kinect as little-endian uint16, the wrong byte order for PGM; depth in m is
351.3 / (1092.5 - raw). As in the toolbox (camera_params.m, project_depth_map.m), the lens distortion of both images is
removed and depth is projected into the colour image, nearer points over farther ones; raw values below 600 and depth
above 10 m are invalid. The images are undistorted on reading. A depth image belongs to the nearest colour image in
time, at most 20 ms apart. The folder is one scene.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.geometry import back_project, rectify, rectify_depth
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.association import associate
from depth_ros.recordings.files import (
    NS,
    read_image,
    read_single_channel,
    stamp_from_seconds,
)
from depth_ros.recordings.layouts.nyu import COLOUR
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.search import only_one

REQUIRED = "r-SECONDS-TICKS.ppm and d-SECONDS-TICKS.pgm"
NAME = re.compile(r"[rd]-(\d+\.\d+)-\d+")
MAX_DIFFERENCE = NS // 50
"""ns between the stamps of a colour and a depth image that belong together."""
RAW_COLOUR = replace(COLOUR, distortion=(2.0796615318809061e-01, -5.8613825163911781e-01, 7.2231363135888329e-04,
                                         1.0479627195765181e-03, 4.9856986684705107e-01))  # fmt: skip
DEPTH = Camera.pinhole(
    640, 480, 5.8262448167737955e02, 5.8269103270988637e02, 3.1304475870804731e02, 2.3844389626620386e02
)
RAW_DEPTH = replace(DEPTH, distortion=(-9.9897236553084481e-02, 3.9065324602765344e-01, 1.9290592870229277e-03,
                                       -1.9422022475975055e-03, -5.1031725053400578e-01))  # fmt: skip
"""The cameras before (RAW) and after undistortion."""
R_DEPTH_COLOUR = np.array([
    [9.9997798940829263e-01, 5.0518419386157446e-03, 4.3011152014118693e-03],
    [-5.0359919480810989e-03, 9.9998051861143999e-01, -3.6879781309514218e-03],
    [-4.3196624923060242e-03, 3.6662365748484798e-03, 9.9998394948385538e-01],
])  # fmt: skip
COLOUR_ORIGIN = np.array([2.5031875059141302e-02, -2.9342312935846411e-04, 6.6238747008330102e-04])
"""A point in the colour camera is R_DEPTH_COLOUR^T of that in the depth camera, minus this, m."""
DEPTH_NUMERATOR, DEPTH_OFFSET = 351.3, 1092.5
MIN_RAW, MAX_DEPTH = 600, 10.0


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(scenes_in(path))


def scenes_in(path: Path) -> list[Path]:
    """The folder itself if it is a scene, else the scenes below it."""
    for found in ([path], sorted(path.glob("*/")), sorted(path.glob("*/*/"))):
        if scenes := [folder for folder in found if next(folder.glob("r-*-*.ppm"), None)]:
            return scenes
    return []


def read(path: Path, options: RecordingOptions) -> Recording:
    """The scene in a folder of this layout."""
    return Recording(only_one(path, scenes_in(path), "scenes"))


class Recording:
    """One scene, in time order."""

    layout = "nyu_raw"
    camera_source = "camera_params.m of the toolbox of NYU Depth v2"
    damage = ()

    def __init__(self, path: Path) -> None:
        colour, depth = _stamped(path, "r-*.ppm"), _stamped(path, "d-*.pgm")
        self._colour = [file for _, file in colour]
        self.stamps = [stamp for stamp, _ in colour]
        self.names = [file.stem for file in self._colour]
        found = associate(self.stamps, [stamp for stamp, _ in depth], MAX_DIFFERENCE)
        self._depth = [None if index is None else depth[index][1] for index in found]
        gaps = np.diff(self.stamps)
        self.rate = float(NS / np.median(gaps)) if len(gaps) else 30.0
        known = sum(file is not None for file in self._depth)
        self.contents = Contents(depth=2 * known >= len(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image, _ = rectify(read_image(self._colour[index], RAW_COLOUR), RAW_COLOUR)
        depth = self._depth[index]
        frame = Frame(self.stamps[index], "camera_optical_frame", image, COLOUR)
        return Sample(self.names[index], frame, depth=_read_depth(depth) if depth else None)


def _stamped(path: Path, pattern: str) -> list[tuple[int, Path]]:
    """Stamp and file of each image, in time order; the first of those with equal stamps."""
    stamped: dict[int, Path] = {}
    for file in sorted(path.glob(pattern)):
        if match := NAME.fullmatch(file.stem):
            stamped.setdefault(stamp_from_seconds(match[1]), file)
    return sorted(stamped.items())


def _read_depth(file: Path) -> np.ndarray:
    """(H, W) float32 m in the undistorted colour image, NaN = invalid."""
    raw = read_single_channel(file, RAW_DEPTH).astype(np.uint16).byteswap()
    valid = (raw >= MIN_RAW) & (raw < DEPTH_OFFSET)
    depth = np.full(raw.shape, np.nan, np.float32)
    depth[valid] = DEPTH_NUMERATOR / (DEPTH_OFFSET - raw[valid])
    depth[depth > MAX_DEPTH] = np.nan
    return _project(rectify_depth(depth, RAW_DEPTH)[0])


def _project(depth: np.ndarray) -> np.ndarray:
    """Depth of the depth camera, as seen from the colour camera."""
    points = back_project(depth, DEPTH)[np.isfinite(depth)] @ R_DEPTH_COLOUR - COLOUR_ORIGIN
    z = points[:, 2]
    u = np.rint(points[:, 0] / z * COLOUR.fx + COLOUR.cx).astype(int)
    v = np.rint(points[:, 1] / z * COLOUR.fy + COLOUR.cy).astype(int)
    inside = (u >= 0) & (u < COLOUR.width) & (v >= 0) & (v < COLOUR.height)
    order = np.argsort(-z[inside], kind="stable")  # nearest points last: they overwrite farther ones
    projected = np.full((COLOUR.height, COLOUR.width), np.nan, np.float32)
    projected[v[inside][order], u[inside][order]] = z[inside][order]
    return projected
