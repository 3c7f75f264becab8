"""Point cloud of one frame rendered as an image from a virtual viewpoint."""

from __future__ import annotations

import numpy as np

from depth_ros import geometry
from depth_ros.datatypes import Depth

BACKGROUND = 250
"""Grey level of the background."""
BEHIND = (0.34, -0.34, -0.30)
"""Viewpoint to the right of, above and behind the camera, in multiples of the median depth."""
ABOVE = (0.0, -1.3, 0.85)
"""Viewpoint above: a floor plan."""
MAX_POINT_SIZE = 9
"""Side of the largest square drawn for a point, px."""


def point_cloud_image(
    depth: Depth, width: int = 1280, height: int = 560, viewpoint: tuple[float, float, float] = BEHIND
) -> np.ndarray:
    """(height, width, 3) uint8 RGB: the valid pixels of `depth` as coloured points, seen from `viewpoint`.

    The farthest 2 % are left out, since they would shrink the rest. A point is a square slightly larger than its pixel
    at its distance; nearer points cover farther ones.
    """
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    valid = np.isfinite(depth.depth) & (depth.depth > 0)
    if not valid.any():
        return image
    valid &= depth.depth <= np.percentile(depth.depth[valid], 98)
    points, colours = geometry.back_project(depth.depth, depth.camera)[valid], depth.image[valid]
    distance = float(np.median(points[:, 2]))
    position = distance * np.array(viewpoint)
    rotated = (points - position) @ _look_at(np.array([0.0, 0.0, distance]) - position).T
    in_front = rotated[:, 2] > 0.1 * distance
    points, colours, rotated = points[in_front], colours[in_front], rotated[in_front]
    projected = rotated[:, :2] / rotated[:, 2:]
    low, high = np.percentile(projected, [1, 99], axis=0)
    focal = 0.94 * float(np.min(np.array([width, height]) / np.maximum(high - low, 1e-6)))
    pixels = focal * (projected - (low + high) / 2) + np.array([width, height]) / 2
    size = np.ceil(1.5 * focal / depth.camera.fx * points[:, 2] / rotated[:, 2]).clip(1, MAX_POINT_SIZE)
    _splat(image, pixels, rotated[:, 2], size, colours)
    return image


def _look_at(direction: np.ndarray) -> np.ndarray:
    """(3, 3) rotation to the optical frame that looks along `direction` with a level horizon."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0], z)  # y is down
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _splat(
    image: np.ndarray, pixels: np.ndarray, distance: np.ndarray, size: np.ndarray, colours: np.ndarray
) -> None:
    """Draw squares of `size` (N,) px around `pixels` (N, 2) into the image, far ones first."""
    height, width = image.shape[:2]
    corners = np.round(pixels - (size[:, None] - 1) / 2).astype(int)
    targets, points = [], []
    for dy in range(int(size.max())):
        for dx in range(int(size.max())):
            u, v = corners[:, 0] + dx, corners[:, 1] + dy
            inside = (size > max(dx, dy)) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
            targets.append((v * width + u)[inside])
            points.append(np.flatnonzero(inside))
    target, point = np.concatenate(targets), np.concatenate(points)
    far_first = np.argsort(-distance[point], kind="stable")
    image.reshape(-1, 3)[target[far_first]] = colours[point[far_first]]  # the last of repeated targets wins
