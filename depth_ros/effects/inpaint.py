"""Depth-aware inpainting: people taken out of a clip, with what other images saw behind them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.effects.clip import Moment
from depth_ros.geometry import back_project, inverse, project

MARGIN = 4
"""px around people that are taken out with them: masks are never exact, and edges of depth are soft."""
NEAR = 0.05
"""Nothing closer than this is moved, m."""
REACH = 30
"""Images before and after that are looked at."""


def without_people(moments: Sequence[Moment], index: int) -> tuple[np.ndarray, float]:
    """The image (H, W, 3) uint8 of a moment without people, and the share of the hole that other images knew.

    Background pixels of the other images, nearest in time first, are moved by their depth and both poses. Within one
    image the nearer of two points wins. What nobody saw is filled in from around (Telea 2004). Moments need depth.
    """
    moment = moments[index]
    image = moment.frame.image.copy()
    hole = grown(moment.people, MARGIN)
    size, empty = int(hole.sum()), hole.copy()
    order = sorted(range(len(moments)), key=lambda other: abs(other - index))
    for other in order:
        if other == index or abs(other - index) > REACH or not empty.any():
            continue
        colours, fill = seen_from(moments[other], moment, empty)
        image[fill] = colours[fill]
        empty &= ~fill
    if empty.any():
        image = cv2.inpaint(image, empty.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    return image, 1.0 if not size else 1 - int(empty.sum()) / size


def grown(mask: np.ndarray, margin: int) -> np.ndarray:
    """The mask and everything within `margin` px of it."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def seen_from(source: Moment, target: Moment, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the camera of `target` sees of the background of `source` at the `wanted` pixels: as `splat`."""
    assert (
        source.depth is not None and source.T_world_camera is not None and target.T_world_camera is not None
    )
    known = np.isfinite(source.depth) & (source.depth > 0) & ~grown(source.people, MARGIN)
    T = inverse(target.T_world_camera) @ source.T_world_camera
    points = back_project(source.depth, source.frame.camera)[known] @ T[:3, :3].T + T[:3, 3]
    return splat(points, source.frame.image[known], target.frame.camera, wanted)


def splat(
    points: np.ndarray, colours: np.ndarray, camera: Camera, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) m with colours (N, 3) as a camera sees them: colours (H, W, 3) uint8 and where there are any.

    Only at the pixels `wanted` (H, W). Each point covers the four pixels about it, bilinearly; what is more than
    2 % farther than the nearest is hidden.
    """
    ahead = points[:, 2] > NEAR
    pixels, z = project(points[ahead], camera.K)
    near = _reads(grown(wanted, 1), np.rint(pixels))
    pixels, z, colours = pixels[near], z[near], colours[ahead][near]
    corner = np.floor(pixels)
    columns = np.concatenate([corner[:, 0] + dx for dx in (0, 1, 0, 1)])
    rows = np.concatenate([corner[:, 1] + dy for dy in (0, 0, 1, 1)])
    x, y = np.tile(pixels, (4, 1)).T
    share = (1 - np.abs(x - columns)) * (1 - np.abs(y - rows))
    kept = _reads(wanted, np.stack([columns, rows], 1)) & (share > 1e-3)
    place = (rows[kept] * camera.width + columns[kept]).astype(np.int64)
    z, share, shades = np.tile(z, 4)[kept], share[kept], np.tile(colours, (4, 1))[kept]
    nearest = np.full(camera.width * camera.height, np.inf)
    np.minimum.at(nearest, place, z)
    front = z < 1.02 * nearest[place]
    place, share, shades = place[front], share[front], shades[front]
    weight = np.bincount(place, share, nearest.size)
    total = np.stack([np.bincount(place, share * shades[:, k], nearest.size) for k in range(3)], 1)
    image = np.rint(total / np.maximum(weight, 1e-9)[:, None]).astype(np.uint8)
    return image.reshape(camera.height, camera.width, 3), (weight > 0).reshape(camera.height, camera.width)


def _reads(mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(N,) bool: the mask (H, W) at whole pixels (N, 2); False outside."""
    height, width = mask.shape
    inside = (pixels >= 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
    column, row = np.where(inside[:, None], pixels, 0).astype(np.int64).T
    return inside & mask[row, column]
