"""Depth of another camera, seen from the colour camera."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import back_project, rectify_depth
from depth_ros.messages.transform_tree import TransformTree


def registered(
    depth: np.ndarray, camera: Camera, frame_id: str, left: Frame, transforms: TransformTree
) -> np.ndarray:
    """Depth (H, W) m of another image, at the size and with the intrinsics of `left`.

    In the same frame, each pixel takes the nearest one. Depth of another frame is projected by the transform between
    them, nearer points before farther ones; pixels that no point falls on become NaN. Raises DepthRosError if the
    transform is not known.
    """
    target = left.camera
    frame_id, left_frame = frame_id.lstrip("/"), left.frame_id.lstrip("/")
    if frame_id and left_frame and frame_id != left_frame:
        T_left_depth = transforms.between(left_frame, frame_id)
        if T_left_depth is None:
            raise DepthRosError(
                f"the depth images are of '{frame_id}', the colour images of '{left.frame_id}', and /tf_static has no "
                "transform between them: record /tf_static, or depth that is aligned to the colour image "
                "(realsense-ros: align_depth.enable:=true, aligned_depth_to_color), or images and depth of one camera"
            )
        return projected(*rectify_depth(depth, camera), T_left_depth, target)
    if depth.shape == (target.height, target.width) and np.allclose(camera.K, target.K, rtol=1e-3):
        return depth
    u, v = np.meshgrid(np.arange(target.width, dtype=np.float32), np.arange(target.height, dtype=np.float32))
    x = (u - target.cx) / target.fx * camera.fx + camera.cx
    y = (v - target.cy) / target.fy * camera.fy + camera.cy
    return cv2.remap(
        depth, x.astype(np.float32), y.astype(np.float32), cv2.INTER_NEAREST, borderValue=float("nan")
    )


def projected(depth: np.ndarray, camera: Camera, T_target_camera: np.ndarray, target: Camera) -> np.ndarray:
    """Depth (H, W) m of a rectified camera as seen by the raw image of `target`; NaN where it sees no point.

    Each point covers the pixels of the target within half the distance between the points of neighbouring pixels.
    """
    points = back_project(depth, camera)[np.isfinite(depth) & (depth > 0)]
    points = points @ T_target_camera[:3, :3].T + T_target_camera[:3, 3]
    points = points[points[:, 2] > 0].astype(np.float64)
    pixels, z = _image_points(points, target), points[:, 2].astype(np.float32)
    order = np.argsort(-z, kind="stable")  # nearest points last: they overwrite farther ones
    pixels, z = pixels[order], z[order]
    result = np.full((target.height, target.width), np.inf, np.float32)
    for dx, dy in itertools.product(_offsets(target.fx / camera.fx), _offsets(target.fy / camera.fy)):
        u, v = np.rint(pixels + np.array([dx, dy])).astype(int).T
        inside = (u >= 0) & (u < target.width) & (v >= 0) & (v < target.height)
        layer = np.full_like(result, np.inf)
        layer[v[inside], u[inside]] = z[inside]
        np.minimum(result, layer, out=result)
    return np.where(np.isfinite(result), result, np.nan)


def _offsets(spacing: float) -> np.ndarray:
    """Offsets, px, at most 1 px apart, from a point half way to its neighbours, which are `spacing` px away."""
    if spacing <= 1:
        return np.zeros(1)
    return np.linspace(-spacing / 2, spacing / 2, int(np.ceil(spacing)) + 1)


def _image_points(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) in the raw image of a camera."""
    if not len(points):
        return np.empty((0, 2))
    distortion, zero = np.array(camera.distortion, float), np.zeros(3)
    if camera.distortion_model == "equidistant" and distortion.any():
        return cv2.fisheye.projectPoints(points[:, None], zero, zero, camera.K, distortion[:4])[0][:, 0]
    return cv2.projectPoints(points, zero, zero, camera.K, distortion)[0][:, 0]
