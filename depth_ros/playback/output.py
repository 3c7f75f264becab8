"""Results of a replay as a folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_ros.datatypes import Depth, Disparity
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Sample

UNITS_PER_METRE = 1000
"""of depth images: mm, as REP-118 defines it for uint16."""
UNITS_PER_PX = 256
"""of disparity images, as in KITTI."""


class ResultFolder:
    """A new folder in the layout of `recordings.layouts.folder`: images, results at their size, camera.yaml.

    image/ and depth/ (uint16 mm), or left/ and disparity/ (uint16 px / 256). 0 = invalid.
    Raises DepthRosError if the folder exists and is not empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise DepthRosError(f"{self.path} exists already: remove it or give another name")
        self.path.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> ResultFolder:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to be done: what is written stays, also after an error."""

    def write(self, sample: Sample, result: Depth | Disparity) -> None:
        """Write the image and its result; with the first one the camera."""
        name = sample.name
        if isinstance(result, Disparity):
            parts, units = (
                ("left", "disparity"),
                UNITS_PER_PX * (result.disparity - np.float32(result.offset)),
            )
        else:
            parts, units = ("image", "depth"), UNITS_PER_METRE * result.depth
        if not (self.path / "camera.yaml").exists():
            for part in parts:
                (self.path / part).mkdir()
            self._write_camera(result)
        units = np.nan_to_num(np.rint(units), nan=0.0, posinf=0.0, neginf=0.0)
        units = np.where((units > 0) & (units <= 65535), units, 0).astype(np.uint16)
        image = cv2.cvtColor(result.image, cv2.COLOR_RGB2BGR)
        for part, pixels in zip(parts, (image, units), strict=True):
            file = self.path / part / f"{name}.png"
            if not cv2.imwrite(str(file), pixels):
                raise DepthRosError(f"{file} cannot be written: is the disk full?")

    def _write_camera(self, result: Depth | Disparity) -> None:
        camera = result.camera
        lines = [f"{key}: {getattr(camera, key)}" for key in ("width", "height", "fx", "fy", "cx", "cy")]
        if isinstance(result, Disparity):
            lines.append(f"baseline: {result.baseline}")
        else:
            lines.append(f"depth_scale: {UNITS_PER_METRE}")
        lines.append("predicted: true")
        (self.path / "camera.yaml").write_text("\n".join(lines) + "\n")
