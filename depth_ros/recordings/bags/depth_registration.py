"""Depth of another camera, seen from the colour camera."""

from __future__ import annotations

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError


def registered(depth: np.ndarray, camera: Camera, frame_id: str, left: Frame) -> np.ndarray:
    """Depth (H, W) m of an image from the same place, at the size and with the intrinsics of `left`; nearest pixels.

    Raises DepthRosError if the depth image belongs to another frame.
    """
    if frame_id and left.frame_id and frame_id != left.frame_id:
        raise DepthRosError(
            f"the depth images are of '{frame_id}', the colour images of '{left.frame_id}': record depth that is "
            "aligned to the colour image (realsense-ros: align_depth.enable:=true, aligned_depth_to_color), or images "
            "and depth of one camera"
        )
    target = left.camera
    if depth.shape == (target.height, target.width) and np.allclose(camera.K, target.K, rtol=1e-3):
        return depth
    u, v = np.meshgrid(np.arange(target.width, dtype=np.float32), np.arange(target.height, dtype=np.float32))
    x = (u - target.cx) / target.fx * camera.fx + camera.cx
    y = (v - target.cy) / target.fy * camera.fy + camera.cy
    return cv2.remap(
        depth, x.astype(np.float32), y.astype(np.float32), cv2.INTER_NEAREST, borderValue=float("nan")
    )
