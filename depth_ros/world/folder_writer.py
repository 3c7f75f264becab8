"""Writer of recordings in the general layout, which `recordings.open_recording` reads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.recordings import Recording, Sample

DEPTH_SCALES = (5000, 1000, 256, 100)
"""Stored units per metre. The first scale is used at which the first sample fits, see `DEPTH_QUANTILE`."""

DEPTH_QUANTILE = 0.99
"""This quantile of depth must fit into half of the 16-bit range; depth beyond the range is stored as 0, invalid."""


def write_folder(folder: Recording, path: str | Path, extension: str = "png") -> Path:
    """Write `folder` to `path`: camera.yaml, left/, right/, depth/ (uint16, 0 = invalid), moving_objects/,
    velocities.txt, poses.txt.

    poses.txt has one row per frame, the upper 3x4 part of T_world_camera. Data that the samples do not have is
    omitted. extension: file type of the images, "png" (lossless) or "jpg". Raises DepthRosError if a file cannot be
    written.
    """
    path = Path(path)
    first = folder[0]
    if not first.left.camera.is_rectified:
        raise DepthRosError(
            "write_folder: the images are not rectified; the general layout supports rectified images only"
        )
    scale = _depth_scale(first)
    poses, velocities = [], []
    for index in range(len(folder)):
        sample = folder[index]
        name = f"{index:06d}"
        for side, frame in (("left", sample.left), ("right", sample.right)):
            if frame is not None:
                _write(path / side / f"{name}.{extension}", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        if sample.depth is not None:
            units = np.round(np.nan_to_num(sample.depth, nan=0.0, posinf=0.0) * scale)
            _write(path / "depth" / f"{name}.png", np.where(units <= 65535, units, 0).astype(np.uint16))
        if sample.moving_objects is not None:
            _write(path / "moving_objects" / f"{name}.png", sample.moving_objects.astype(np.uint8))
        for label, v in (sample.velocities or {}).items():
            velocities.append(f"{name} {label} {v[0]:.4f} {v[1]:.4f} {v[2]:.4f}\n")
        if sample.T_world_camera is not None:
            poses.append(sample.T_world_camera[:3].reshape(-1))
    if poses and len(poses) != len(folder):
        raise DepthRosError(
            f"write_folder: {len(poses)} of {len(folder)} frames have a pose; all or none must have one"
        )
    if poses:
        np.savetxt(path / "poses.txt", np.array(poses), fmt="%.9f")
    if velocities:
        (path / "velocities.txt").write_text("".join(velocities))
    _write_camera(path / "camera.yaml", first, folder.rate, scale, folder.layout == "world")
    return path


def _depth_scale(sample: Sample) -> int:
    if sample.depth is None or not np.isfinite(sample.depth).any():
        return DEPTH_SCALES[-1]
    depth = np.nanquantile(sample.depth, DEPTH_QUANTILE)
    return next((scale for scale in DEPTH_SCALES if 2 * depth * scale <= 65535), 256)


def _write_camera(path: Path, sample: Sample, rate: float, scale: int, rendered: bool) -> None:
    camera = sample.left.camera
    values = {name: getattr(camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")}
    if sample.right is not None:
        values["baseline"] = sample.right.camera.baseline
    values["rate_hz"] = rate
    if sample.depth is not None:
        values["depth_scale"] = scale
    if rendered:
        values["rendered"] = "true"
    path.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), image, quality):
        raise DepthRosError(
            f"could not write '{path}': check the permissions of the folder and the free disk space"
        )
