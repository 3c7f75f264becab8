"""Selection of points to track, and motion from matched descriptors alone."""

from __future__ import annotations

import cv2
import numpy as np

SMOOTHING_WINDOW = 5
"""Side of the window in which inverse depths are averaged, px."""
MAX_RELATIVE_RANGE = 0.15
"""Maximum range of the inverse depths in the window, relative to their mean; above it the pixel is on an outline."""
MIN_VALID_FRACTION = 0.4
"""Minimum fraction of valid pixels in the window."""
EDGE_WEIGHT = 0.02
"""Score of an edge relative to a corner of the same contrast."""
MIN_EIGENVALUE = 4.0
"""Minimum larger eigenvalue of the structure tensor, squared grey values per px^2; below it there is only noise."""
BORDER = 4
"""Width of the image border without points, px."""
ORB_FEATURES = 1500
"""Number of ORB features per image."""
MAX_REPROJECTION_ERROR = 3.0
"""RANSAC inlier threshold, px."""
MIN_MATCHES = 12
"""Minimum number of matches, and of RANSAC inliers."""


def smooth_inverse_depth(inverse_depth: np.ndarray) -> np.ndarray:
    """(H, W) float32 1/m: mean of the valid pixels around each pixel; NaN on outlines and where few are valid."""
    valid = np.isfinite(inverse_depth)
    kernel = np.ones((SMOOTHING_WINDOW, SMOOTHING_WINDOW), np.uint8)
    value = np.where(valid, inverse_depth, 0).astype(np.float32)
    fraction = cv2.blur(valid.astype(np.float32), kernel.shape)
    mean = cv2.blur(value, kernel.shape) / np.maximum(fraction, 1e-6)
    low = cv2.erode(np.where(valid, value, np.float32(1e9)), kernel)
    high = cv2.dilate(value, kernel)
    smooth = (fraction >= MIN_VALID_FRACTION) & (high - low < MAX_RELATIVE_RANGE * mean)
    return np.where(smooth, mean, np.float32(np.nan))


def detect_points(grey: np.ndarray, mask: np.ndarray, count: int) -> np.ndarray:
    """(N, 2) float32 px: the best corner, else edge, in each of about `count` square cells of the image.

    grey: (H, W) uint8. mask: (H, W) bool, pixels that may be chosen.
    """
    height, width = grey.shape
    cell = max(4, round(np.sqrt(height * width / count)))
    gx, gy = (cv2.Scharr(grey, cv2.CV_32F, dx, 1 - dx, scale=1 / 32) for dx in (1, 0))
    xx, yy, xy = (cv2.blur(np.multiply(a, b), (5, 5)) for a, b in ((gx, gx), (gy, gy), (gx, gy)))
    mean, root = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    score = np.where(mask, mean - root + EDGE_WEIGHT * (mean + root), 0)
    score[:BORDER] = score[-BORDER:] = score[:, :BORDER] = score[:, -BORDER:] = 0
    rows, columns = height // cell, width // cell
    blocks = score[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    cells = blocks.transpose(0, 2, 1, 3).reshape(rows * columns, cell * cell)
    best = cells.argmax(1)
    i = np.arange(rows * columns)
    pixels = np.column_stack([i % columns * cell + best % cell, i // columns * cell + best // cell])
    return pixels[cells[i, best] > EDGE_WEIGHT * MIN_EIGENVALUE].astype(np.float32)


def motion_from_descriptors(
    old: np.ndarray, new: np.ndarray, inverse_depth: np.ndarray, K: np.ndarray
) -> np.ndarray | None:
    """(4, 4) T_new_old from matched ORB features and PnP with RANSAC; None if there are too few inliers.

    old, new: (H, W) uint8. inverse_depth: (H, W) 1/m of the old image; features at NaN are not used.
    """
    orb = cv2.ORB.create(ORB_FEATURES, fastThreshold=7)
    old_points, old_descriptors = orb.detectAndCompute(old, np.isfinite(inverse_depth).astype(np.uint8))
    new_points, new_descriptors = orb.detectAndCompute(new, None)
    if old_descriptors is None or new_descriptors is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(old_descriptors, new_descriptors)
    if len(matches) < MIN_MATCHES:
        return None
    old_pixels = np.array([old_points[m.queryIdx].pt for m in matches])
    new_pixels = np.array([new_points[m.trainIdx].pt for m in matches])
    columns, rows = np.round(old_pixels).astype(int).T
    rho = inverse_depth[rows, columns].astype(float)
    rays = np.column_stack([old_pixels, np.ones(len(old_pixels))]) @ np.linalg.inv(K).T
    valid = np.isfinite(rho)
    if valid.sum() < MIN_MATCHES:
        return None
    success, rotation, translation, inliers = cv2.solvePnPRansac(
        rays[valid] / rho[valid, None], new_pixels[valid], K, None, iterationsCount=300,
        reprojectionError=MAX_REPROJECTION_ERROR, flags=cv2.SOLVEPNP_EPNP,
    )  # fmt: skip
    if not success or inliers is None or len(inliers) < MIN_MATCHES:
        return None
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(rotation)[0], translation[:, 0]
    return T
