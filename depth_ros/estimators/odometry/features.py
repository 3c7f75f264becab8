"""Which points of a key frame are worth following, and a motion from nothing but matched descriptors."""

from __future__ import annotations

import cv2
import numpy as np

AROUND = 5
"""px, side of the window in which an inverse depth is looked at."""
STEP = 0.15
"""Inverse depths that vary more within it, as a share, lie on an outline."""
KNOWN = 0.4
"""Share of the window that has to be known."""
EDGE = 0.02
"""What an edge counts beside a corner of the same contrast."""
WEAKEST = 4.0
"""Grey values squared per pixel of the slope, below which there is nothing to follow but noise."""
BORDER = 4
FEATURES = 1500
REPROJECTION = 3.0
"""px within which a matched point agrees with a motion."""
FEWEST = 12


def filled(inverse_depth: np.ndarray) -> np.ndarray:
    """(H, W) float32 1/m, mean of the window around each pixel; NaN where little is known, or at an outline."""
    known = np.isfinite(inverse_depth)
    window = np.ones((AROUND, AROUND), np.uint8)
    value = np.where(known, inverse_depth, 0).astype(np.float32)
    share = cv2.blur(known.astype(np.float32), (AROUND, AROUND))
    mean = cv2.blur(value, (AROUND, AROUND)) / np.maximum(share, 1e-6)
    low = cv2.erode(np.where(known, value, np.float32(1e9)), window)
    high = cv2.dilate(value, window)
    return np.where((share >= KNOWN) & (high - low < STEP * mean), mean, np.float32(np.nan))


def strong_points(grey: np.ndarray, usable: np.ndarray, count: int) -> np.ndarray:
    """(N, 2) float32 px: in each of about `count` cells of the image the best corner, or edge where there is none."""
    height, width = grey.shape
    cell = max(4, round(np.sqrt(height * width / count)))
    gx, gy = (cv2.Scharr(grey, cv2.CV_32F, dx, 1 - dx, scale=1 / 32) for dx in (1, 0))
    xx, yy, xy = (cv2.blur(np.multiply(a, b), (5, 5)) for a, b in ((gx, gx), (gy, gy), (gx, gy)))
    mean, root = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    score = np.where(usable, mean - root + EDGE * (mean + root), 0)
    score[:BORDER] = score[-BORDER:] = score[:, :BORDER] = score[:, -BORDER:] = 0
    rows, columns = height // cell, width // cell
    blocks = score[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    cells = blocks.transpose(0, 2, 1, 3).reshape(rows * columns, cell * cell)
    best = cells.argmax(1)
    i = np.arange(rows * columns)
    pixels = np.column_stack([i % columns * cell + best % cell, i // columns * cell + best // cell])
    return pixels[cells[i, best] > EDGE * WEAKEST].astype(np.float32)


def motion_by_descriptors(
    old: np.ndarray, new: np.ndarray, inverse_depth: np.ndarray, K: np.ndarray
) -> np.ndarray | None:
    """(4, 4) from the old camera to the new one, by matched ORB features and RANSAC; None where they disagree.

    old, new: (H, W) uint8. inverse_depth: (H, W) of the old image, NaN where it may not serve.
    """
    orb = cv2.ORB.create(FEATURES, fastThreshold=7)
    old_points, old_words = orb.detectAndCompute(old, np.isfinite(inverse_depth).astype(np.uint8))
    new_points, new_words = orb.detectAndCompute(new, None)
    if old_words is None or new_words is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(old_words, new_words)
    if len(matches) < FEWEST:
        return None
    a = np.array([old_points[m.queryIdx].pt for m in matches])
    b = np.array([new_points[m.trainIdx].pt for m in matches])
    columns, rows = np.round(a).astype(int).T
    rho = inverse_depth[rows, columns].astype(float)
    rays = np.column_stack([a, np.ones(len(a))]) @ np.linalg.inv(K).T
    kept = np.isfinite(rho)
    if kept.sum() < FEWEST:
        return None
    done, turn, shift, inliers = cv2.solvePnPRansac(
        rays[kept] / rho[kept, None], b[kept], K, None, iterationsCount=300, reprojectionError=REPROJECTION,
        flags=cv2.SOLVEPNP_EPNP,
    )  # fmt: skip
    if not done or inliers is None or len(inliers) < FEWEST:
        return None
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
    return T
