"""Check of a stereo pair by sparse matching: are the images rectified, and left and right not swapped?"""

from __future__ import annotations

import cv2
import numpy as np

MAX_WIDTH = 640
"""px, images are halved until they are about this wide: 10 ms per pair."""
NUM_FEATURES = 600
"""Number of ORB corners per image."""
MIN_MATCHES = 40
"""Number of matches below which the pair is not judged."""
MAX_MATCH_DISTANCE = 48
"""Largest Hamming distance of two ORB descriptors that match."""
MAX_ROW_DIFFERENCE = 2.0
"""px of the reduced image, up to which matches count as being in the same row."""


def pair_problem(
    left: np.ndarray, right: np.ndarray, originals: tuple[np.ndarray, np.ndarray] | None = None
) -> str:
    """Why two images (H, W, 3) uint8 are not a rectified pair of left and right image; empty if no problem is found.

    originals: both images before rectification, if they were rectified. They may be a rectified pair already.
    ORB corners are matched. In a rectified pair most matches are in the same row: if fewer than half are, the images
    are not rectified. The disparities x left - x right of a correct pair are positive: if nearly all of those that
    differ from zero are negative, left and right are swapped.
    """
    if np.array_equal(left, right) and np.ptp(left):
        return "the left and right image are the same: both topics carry the images of one camera"
    offsets, tolerance = _reduced_match_offsets(left, right)
    if len(offsets) < MIN_MATCHES:
        return ""
    same_row = np.abs(offsets[:, 1]) <= tolerance
    if same_row.mean() < 0.5:
        if originals and _are_in_same_rows(*originals):
            return (
                "the images are rectified already, but D or R of camera_info is set and they are rectified again: set "
                "the parameter rectified to true"
            )
        return (
            f"the images are not rectified: the rows of {len(offsets)} matched corners differ by "
            f"{np.median(np.abs(offsets[:, 1])):.1f} px (median); set 'rectified' to false and provide the "
            "calibration, or recalibrate the cameras"
        )
    disparities = offsets[same_row & (np.abs(offsets[:, 0]) > tolerance), 0]
    if len(disparities) >= MIN_MATCHES // 2 and (disparities < 0).mean() > 0.8:
        return (
            f"left and right are swapped: the median disparity is {np.median(disparities):.0f} px "
            f"({len(disparities)} matched corners), but it must be positive; exchange the left and right topics"
        )
    return ""


def _are_in_same_rows(left: np.ndarray, right: np.ndarray) -> bool:
    offsets, tolerance = _reduced_match_offsets(left, right)
    return len(offsets) >= MIN_MATCHES and (np.abs(offsets[:, 1]) <= tolerance).mean() >= 0.5


def _reduced_match_offsets(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """`match_offsets` of the halved images, px of the full ones, and the row difference that is tolerated."""
    pair, scale = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (left, right)], 1
    while pair[0].shape[1] > MAX_WIDTH * 1.2:
        pair, scale = [cv2.pyrDown(x) for x in pair], 2 * scale
    return scale * match_offsets(*pair), MAX_ROW_DIFFERENCE * scale


def match_offsets(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N, 2) px, position in the left minus position in the right image, of mutually best ORB matches."""
    orb = cv2.ORB.create(NUM_FEATURES, fastThreshold=10)
    (left_corners, left_descriptors), (right_corners, right_descriptors) = (
        orb.detectAndCompute(image, None) for image in (left, right)
    )
    if left_descriptors is None or right_descriptors is None:
        return np.zeros((0, 2))
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(left_descriptors, right_descriptors)
    good = [match for match in matches if match.distance < MAX_MATCH_DISTANCE]
    points = [(left_corners[match.queryIdx].pt, right_corners[match.trainIdx].pt) for match in good]
    return np.array([np.subtract(p, q) for p, q in points]).reshape(-1, 2)
