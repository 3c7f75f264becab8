"""Depth-aware inpainting: people are replaced by background from other images of the clip."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.effects.clip import ClipImage
from depth_ros.geometry import back_project, inverse, project

MARGIN = 4
"""Margin around people that is replaced with them, px: masks are inexact and depth edges are blurred."""
MIN_DEPTH = 0.05
"""Closer points are not projected, m."""
MAX_FRAME_DISTANCE = 30
"""Maximum distance of images whose background is used, in images."""
OCCLUSION_TOLERANCE = 1.02
"""Points farther than the nearest point of a pixel times this are occluded."""


def remove_people(clip: Sequence[ClipImage], index: int) -> tuple[np.ndarray, float]:
    """An image (H, W, 3) uint8 without people, and the fraction of the hole filled from other images.

    Background pixels of the other images, nearest in time first, are reprojected by their depth and both poses. The
    rest is inpainted (Telea 2004). All images need depth and poses.
    """
    target = clip[index]
    image = target.frame.image.copy()
    hole = dilated(target.people, MARGIN)
    size, empty = int(hole.sum()), hole.copy()
    for other in sorted(range(len(clip)), key=lambda other: abs(other - index)):
        if other == index or abs(other - index) > MAX_FRAME_DISTANCE or not empty.any():
            continue
        colours, filled = reproject_background(clip[other], target, empty)
        image[filled] = colours[filled]
        empty &= ~filled
    if empty.any():
        image = cv2.inpaint(image, empty.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    return image, 1.0 if not size else 1 - int(empty.sum()) / size


def dilated(mask: np.ndarray, margin: int) -> np.ndarray:
    """The mask dilated by `margin` px."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def reproject_background(
    source: ClipImage, target: ClipImage, region: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The background of `source` as seen by the camera of `target` at the pixels of `region`: see `splat`."""
    assert (
        source.depth is not None and source.T_world_camera is not None and target.T_world_camera is not None
    )
    valid = np.isfinite(source.depth) & (source.depth > 0) & ~dilated(source.people, MARGIN)
    T = inverse(target.T_world_camera) @ source.T_world_camera
    points = back_project(source.depth, source.frame.camera)[valid] @ T[:3, :3].T + T[:3, 3]
    return splat(points, source.frame.image[valid], target.frame.camera, region)


def splat(
    points: np.ndarray, colours: np.ndarray, camera: Camera, region: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Render points (N, 3) m with colours (N, 3): an image (H, W, 3) uint8 and the mask of its filled pixels.

    Only pixels of `region` (H, W) are rendered. Each point is splatted bilinearly to the four pixels around it; points
    more than 2 % farther than the nearest one of a pixel are occluded.
    """
    ahead = points[:, 2] > MIN_DEPTH
    pixels, z = project(points[ahead], camera.K)
    near = _lookup(dilated(region, 1), np.rint(pixels))
    pixels, z, colours = pixels[near], z[near], colours[ahead][near]
    corner = np.floor(pixels)
    columns = np.concatenate([corner[:, 0] + dx for dx in (0, 1, 0, 1)])
    rows = np.concatenate([corner[:, 1] + dy for dy in (0, 0, 1, 1)])
    x, y = np.tile(pixels, (4, 1)).T
    weight = (1 - np.abs(x - columns)) * (1 - np.abs(y - rows))
    kept = _lookup(region, np.stack([columns, rows], 1)) & (weight > 1e-3)
    pixel = (rows[kept] * camera.width + columns[kept]).astype(np.int64)
    z, weight, colours = np.tile(z, 4)[kept], weight[kept], np.tile(colours, (4, 1))[kept]
    nearest = np.full(camera.width * camera.height, np.inf)
    np.minimum.at(nearest, pixel, z)
    visible = z < OCCLUSION_TOLERANCE * nearest[pixel]
    pixel, weight, colours = pixel[visible], weight[visible], colours[visible]
    weight_sum = np.bincount(pixel, weight, nearest.size)
    total = np.stack([np.bincount(pixel, weight * colours[:, k], nearest.size) for k in range(3)], 1)
    image = np.rint(total / np.maximum(weight_sum, 1e-9)[:, None]).astype(np.uint8)
    size = (camera.height, camera.width)
    return image.reshape(*size, 3), (weight_sum > 0).reshape(size)


def _lookup(mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(N,) bool: the mask (H, W) at integer pixels (N, 2); False outside the image."""
    height, width = mask.shape
    inside = (pixels >= 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
    column, row = np.where(inside[:, None], pixels, 0).astype(np.int64).T
    return inside & mask[row, column]
