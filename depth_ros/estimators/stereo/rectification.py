"""What two images say about themselves as a pair, before anything is matched densely: rows and sides."""

from __future__ import annotations

import cv2
import numpy as np

WIDTH = 640
"""Wider images are halved until they are at most so wide: 10 ms a pair."""
FEATURES, ENOUGH = 600, 40
"""Corners looked for in an image, and matches below which nothing is said."""
NEAR_ROW = 2.0
"""px of the reduced image: matches of a rectified pair are in the same row up to this."""


def misfit(left: np.ndarray, right: np.ndarray) -> str:
    """Why two images (H, W, 3) uint8 are no rectified pair, left and right; empty if they look like one.

    Corners are matched (ORB, both ways). In a rectified pair most matches lie in the same row; if fewer than
    half do, it is not rectified. And then x left - x right is positive for what is not infinitely far: if
    nearly all that differ are negative, the eyes are swapped.
    """
    pair, shrink = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (left, right)], 1
    while pair[0].shape[1] > WIDTH * 1.2:
        pair, shrink = [cv2.pyrDown(x) for x in pair], 2 * shrink
    apart = shrink * matches(*pair)
    if len(apart) < ENOUGH:
        return ""
    same_row = np.abs(apart[:, 1]) <= NEAR_ROW * shrink
    if same_row.mean() < 0.5:
        return (
            f"the eyes are not rectified: the rows of {len(apart)} matched corners differ by "
            f"{np.median(np.abs(apart[:, 1])):.1f} px (median); set rectified to false and give the calibration, "
            "or calibrate anew"
        )
    moved = apart[same_row & (np.abs(apart[:, 0]) > NEAR_ROW * shrink), 0]
    if len(moved) >= ENOUGH // 2 and (moved < 0).mean() > 0.8:
        return (
            f"the eyes are swapped: {np.median(moved):.0f} px is the median disparity of {len(moved)} matched "
            "corners, and it must be positive; exchange the topics left and right"
        )
    return ""


def matches(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N, 2) x and y of the left minus those of the right corner, px, of corners that choose each other."""
    orb = cv2.ORB.create(FEATURES, fastThreshold=10)
    (a, of_a), (b, of_b) = (orb.detectAndCompute(image, None) for image in (left, right))
    if of_a is None or of_b is None:
        return np.zeros((0, 2))
    found = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(of_a, of_b)
    good = [match for match in found if match.distance < 48]
    points = [(a[match.queryIdx].pt, b[match.trainIdx].pt) for match in good]
    return np.array([np.subtract(p, q) for p, q in points]).reshape(-1, 2)
