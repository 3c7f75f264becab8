"""Points of one image found again in another: by Lucas and Kanade's tracker near a guess, by descriptors anywhere."""

from __future__ import annotations

import cv2
import numpy as np

WINDOW = (15, 15)
LEVELS = 3
CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01)
FEATURES = 1500
REPROJECTION = 3.0
"""px within which a matched point agrees with a motion."""


def corners(grey: np.ndarray, usable: np.ndarray, count: int) -> np.ndarray:
    """(N, 2) float32 px: the strongest corners (Shi, Tomasi, CVPR 1994) among usable pixels, well spread."""
    distance = max(4.0, 0.7 * np.sqrt(grey.size / count))
    found = cv2.goodFeaturesToTrack(grey, count, 0.002, distance, mask=usable.astype(np.uint8), blockSize=5)
    return np.zeros((0, 2), np.float32) if found is None else found[:, 0]


def track(
    old: np.ndarray, new: np.ndarray, pixels: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where `pixels` (N, 2) of one grey image are in another, searched from `start` (N, 2), and whether inside it."""
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        old, new, pixels[:, None], start[:, None].astype(np.float32), winSize=WINDOW, maxLevel=LEVELS,
        criteria=CRITERIA, flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    found = found[:, 0]
    height, width = new.shape
    inside = (found >= 0).all(1) & (found[:, 0] <= width - 1) & (found[:, 1] <= height - 1)
    return found, (status[:, 0] > 0) & inside


def motion_by_descriptors(
    old: np.ndarray, new: np.ndarray, inverse_depth: np.ndarray, usable: np.ndarray, K: np.ndarray
) -> np.ndarray | None:
    """(4, 4) from the old camera to the new one, by matched ORB features and RANSAC; None where they disagree.

    inverse_depth: (H, W) of the old image. usable: (H, W) bool, which of its pixels may serve.
    """
    orb = cv2.ORB.create(FEATURES, fastThreshold=7)
    old_points, old_words = orb.detectAndCompute(old, usable.astype(np.uint8))
    new_points, new_words = orb.detectAndCompute(new, None)
    if old_words is None or new_words is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(old_words, new_words)
    if len(matches) < 12:
        return None
    a = np.array([old_points[m.queryIdx].pt for m in matches])
    b = np.array([new_points[m.trainIdx].pt for m in matches])
    columns, rows = np.round(a).astype(int).T
    rho = inverse_depth[rows, columns].astype(float)
    rays = np.column_stack([a, np.ones(len(a))]) @ np.linalg.inv(K).T
    done, turn, shift, inliers = cv2.solvePnPRansac(
        rays / rho[:, None],
        b,
        K,
        None,
        iterationsCount=300,
        reprojectionError=REPROJECTION,
        flags=cv2.SOLVEPNP_EPNP,
    )
    if not done or inliers is None or len(inliers) < 12:
        return None
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
    return T
