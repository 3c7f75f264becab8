"""Masks of objects on the grid of a scene flow: instances, clusters of moving pixels, pixels that fit a motion."""

from __future__ import annotations

import cv2
import numpy as np

from depth_ros.estimators.object_motion.scene_flow import SceneFlow, predict_measurement, squared_mahalanobis
from depth_ros.geometry import inverse

BOUNDARY_WIDTH = 1
"""Grid pixels at an object's boundary that are left out of the fit: their flow is mixed with the background's."""
DEPTH_EDGE = 0.08
"""Relative depth step between neighbours that separates objects."""
OUTLIER_GATE = 25.0
"""Squared Mahalanobis distance above which a pixel does not belong to a motion."""
MAX_GROWTH = 9
"""Grid pixels by which an object may grow beyond its candidate pixels."""


def upsample_mask(mask: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of every `factor`-th pixel at the full size `shape` (H, W), by nearest neighbour."""
    large = mask.repeat(factor, 0).repeat(factor, 1)[: shape[0], : shape[1]]
    return np.pad(large, [(0, n - m) for n, m in zip(shape, large.shape, strict=True)])


def instance_masks(labels: np.ndarray, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    """The mask of every instance of a label image by its id, cropped to `shape` (H, W); 0 is the background."""
    labels = labels[: shape[0], : shape[1]]
    return {int(label): labels == label for label in np.unique(labels[labels > 0])}


def cluster_masks(moving: np.ndarray, depth: np.ndarray) -> list[np.ndarray]:
    """Masks of the connected components of a mask (H, W), split at edges of the depth (H, W) m."""
    log = np.log(depth.clip(1e-3)).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(log, kernel) - cv2.erode(log, kernel) > 2 * DEPTH_EDGE
    count, components = cv2.connectedComponents((moving & ~edge).astype(np.uint8), connectivity=4)
    grown = cv2.dilate(components.astype(np.uint16), kernel)  # edge pixels join a neighbouring component
    components = np.where((components == 0) & moving, grown, components)
    return [components == number for number in range(1, count)]


def erode_mask(mask: np.ndarray) -> np.ndarray:
    """A mask without its boundary, where the flow is mixed with that of the background."""
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * BOUNDARY_WIDTH + 1,) * 2, np.uint8)) > 0


def consistent_pixels(flow: SceneFlow, mask: np.ndarray, T: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels of `mask` and around it, at its depth, that T (4, 4) explains better than a static point."""
    around = cv2.dilate(mask.astype(np.uint8), np.ones((2 * MAX_GROWTH + 1,) * 2, np.uint8)) > 0
    depth = flow.points[..., 2]
    low, high = np.quantile(depth[mask], [0.05, 0.95])
    around &= flow.valid & (depth > low * (1 - DEPTH_EDGE)) & (depth < high * (1 + DEPTH_EDGE))
    points, back = flow.points[around], inverse(T)
    covariance = flow.residual_covariance(np.flatnonzero(around))
    static, moving = (
        squared_mahalanobis(
            flow.measured[around] - predict_measurement(p, flow.motion.T_old_new, flow.K)[0], covariance
        )
        for p in (points, points @ back[:3, :3].T + back[:3, 3])
    )
    explained = np.zeros_like(mask)
    explained[around] = (moving < static) & (moving < OUTLIER_GATE)
    return cv2.morphologyEx(explained.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
