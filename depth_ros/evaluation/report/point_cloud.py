"""The points of one frame as a picture, seen from above and aside."""

from __future__ import annotations

import numpy as np

from depth_ros import geometry
from depth_ros.datatypes import Depth

BACKGROUND = 250  # of 255
BEHIND = (0.34, -0.34, -0.30)
"""Where the points are seen from, as shares of the scene's depth: right of, above and behind the camera."""
ASIDE = (1.0, -0.15, 0.75)
"""From the right, hardly above: walls that face the camera are seen from their edge."""
ABOVE = (0.0, -1.3, 0.85)
"""From above: a floor plan."""
_LARGEST = 9  # px, side of the square that a point may cover


def cloud_picture(
    depth: Depth, width: int = 1280, height: int = 560, eye: tuple[float, float, float] = BEHIND
) -> np.ndarray:
    """(height, width, 3) uint8 RGB: every known pixel of `depth` as a point in space, in its own colour,
    seen from `eye`.

    The farthest 2 % are left out, they would shrink the rest. A point is a square somewhat larger than its
    pixel is at its distance; nearer ones cover farther ones.
    """
    picture = np.full((height, width, 3), BACKGROUND, np.uint8)
    known = np.isfinite(depth.depth) & (depth.depth > 0)
    if not known.any():
        return picture
    known &= depth.depth <= np.percentile(depth.depth[known], 98)
    points, colours = geometry.back_project(depth.depth, depth.camera)[known], depth.image[known]
    distance = float(np.median(points[:, 2]))
    place = distance * np.array(eye)
    seen = (points - place) @ _looking_at(np.array([0.0, 0.0, distance]) - place).T
    ahead = seen[:, 2] > 0.1 * distance
    points, colours, seen = points[ahead], colours[ahead], seen[ahead]
    flat = seen[:, :2] / seen[:, 2:]
    low, high = np.percentile(flat, [1, 99], axis=0)
    focal = 0.94 * float(np.min(np.array([width, height]) / np.maximum(high - low, 1e-6)))
    pixels = focal * (flat - (low + high) / 2) + np.array([width, height]) / 2
    size = np.ceil(1.5 * focal / depth.camera.fx * points[:, 2] / seen[:, 2]).clip(1, _LARGEST)
    _splat(picture, pixels, seen[:, 2], size, colours)
    return picture


def _looking_at(direction: np.ndarray) -> np.ndarray:
    """(3, 3) rotation into the optical frame that looks along `direction`, with the horizon level."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0], z)  # y is down
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _splat(
    picture: np.ndarray, pixels: np.ndarray, distance: np.ndarray, size: np.ndarray, colours: np.ndarray
) -> None:
    """Draw squares of `size` (N,) px about `pixels` (N, 2) into the picture, the far ones first."""
    height, width = picture.shape[:2]
    corners = np.round(pixels - (size[:, None] - 1) / 2).astype(int)
    places, owners = [], []
    for dy in range(int(size.max())):
        for dx in range(int(size.max())):
            u, v = corners[:, 0] + dx, corners[:, 1] + dy
            inside = (size > max(dx, dy)) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
            places.append((v * width + u)[inside])
            owners.append(np.flatnonzero(inside))
    place, owner = np.concatenate(places), np.concatenate(owners)
    far_first = np.argsort(-distance[owner], kind="stable")
    picture.reshape(-1, 3)[place[far_first]] = colours[owner[far_first]]  # of repeated places the last counts
