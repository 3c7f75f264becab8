"""Semi-global matching (Hirschmueller, PAMI 2008) as OpenCV has it, set up well: no network, no confidence."""

from __future__ import annotations

import cv2
import numpy as np

SEMI_GLOBAL = "semi_global"
"""What `model` is called where no network is wanted."""
MODES = {
    "3way": cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    "sgbm": cv2.STEREO_SGBM_MODE_SGBM,
    "hh4": cv2.STEREO_SGBM_MODE_HH4,
    "hh": cv2.STEREO_SGBM_MODE_HH,
}
"""Paths along which costs are added: 3, 5, 4 and 8."""
STD = 0.4
"""px within which two thirds of what it knows lie: 0.34 px on rendered streets, on KITTI 2015 0.9 with the truth's own
errors."""
STEP = 1 / 16
"""px; OpenCV's disparities are multiples of it."""


class SemiGlobal:
    """Two rectified images -> disparity. The image is padded on the left by the range, for otherwise OpenCV
    knows nothing of the first `disparity_range` columns; what fails the left-right check is unknown."""

    def __init__(self, disparity_range: int = 192, mode: str = "3way", filled: bool = False) -> None:
        block = 5
        self.disparity_range, self.mode, self.filled = disparity_range, mode, filled
        self._matcher = cv2.StereoSGBM.create(
            minDisparity=0, numDisparities=disparity_range, blockSize=block, P1=36 * block**2,
            P2=144 * block**2, disp12MaxDiff=1, preFilterCap=63, uniquenessRatio=5,
            speckleWindowSize=100, speckleRange=2, mode=MODES[mode],
        )  # fmt: skip

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(H, W) float32 px of the left image, NaN = unknown, of two images (H, W, 3) uint8."""
        pad = self.disparity_range
        pair = (cv2.copyMakeBorder(x, 0, 0, pad, 0, cv2.BORDER_REPLICATE) for x in (left, right))
        found = self._matcher.compute(*pair)[:, pad:].astype(np.float32) * np.float32(STEP)
        disparity = np.where(found >= 0, found, np.float32(np.nan))
        return fill(disparity) if self.filled else disparity


def fill(disparity: np.ndarray) -> np.ndarray:
    """Holes take the farther of the next known values to the left and right, as what is hidden lies behind.

    Rows without any take the row above or below. Nothing known at all stays unknown.
    """
    known = np.isfinite(disparity)
    columns = np.arange(disparity.shape[1])
    before = np.maximum.accumulate(np.where(known, columns, -1), 1)
    after = np.minimum.accumulate(np.where(known, columns, len(columns))[:, ::-1], 1)[:, ::-1]
    left = np.where(before >= 0, np.take_along_axis(disparity, before.clip(0), 1), np.inf)
    right = np.take_along_axis(disparity, after.clip(max=len(columns) - 1), 1)
    right = np.where(after < len(columns), right, np.inf)
    filled = np.minimum(left, right)
    rows = np.flatnonzero(known.any(1))
    if not len(rows):
        return disparity
    nearest = rows[np.abs(np.arange(len(known))[:, None] - rows).argmin(1)]
    return filled[nearest].astype(np.float32)
