"""One image with ground-truth depth, of the left or the right camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from depth_ros.datatypes import Camera, Planes
from depth_ros.geometry import rectify, rectify_depth
from depth_ros.recordings import Sample
from depth_ros.training.data.matching import Match, match_stereo

OCCLUDED_DEPTH_RATIO = 0.8
"""Where the matched depth is below this fraction of the transferred one, the transferred point is background that shows
through the gaps of sparse foreground, and is discarded."""


@dataclass(frozen=True)
class Example:
    """One image to learn from. image: (H, W, 3) uint8 RGB, rectified. right: the right image, or None.

    depth: (H, W) float32 m, NaN = invalid. weight: (H, W) float32 loss weight, 1 = measured, 0 = invalid.
    fx_baseline: m px, disparity = fx_baseline / depth where there is a right image.
    planes: planes of the image, exact for rendered scenes, or None. extra_inputs: see `Frame.extra_inputs`.
    """

    image: np.ndarray
    camera: Camera
    depth: np.ndarray
    weight: np.ndarray
    right: np.ndarray | None = None
    fx_baseline: float = 0.0
    planes: Planes | None = None
    extra_inputs: Mapping[str, np.ndarray] = field(default_factory=dict)


def left_view_example(sample: Sample, stereo_weight: float, match: Match = match_stereo) -> Example:
    """The left image with its ground truth; stereo matches of the given weight fill the gaps if it is above 0."""
    image, camera = rectify(sample.left.image, sample.left.camera)
    right = None if sample.right is None else rectify(sample.right.image, sample.right.camera)[0]
    depth = np.full(image.shape[:2], np.nan, np.float32)
    if sample.depth is not None:
        depth, _ = rectify_depth(sample.depth, sample.left.camera)
    weight = np.isfinite(depth).astype(np.float32)
    if stereo_weight > 0 and right is not None and sample.right is not None:
        matched = sample.fx_baseline / match(image, right)
        fill_weight = np.where(np.isfinite(matched), stereo_weight, 0)
        weight = np.where(weight > 0, weight, fill_weight).astype(np.float32)
        depth = np.where(np.isfinite(depth), depth, matched).astype(np.float32)
    inputs = sample.left.extra_inputs
    return Example(image, camera, depth, weight, right, float(sample.fx_baseline), extra_inputs=inputs)


def right_view_example(sample: Sample, stereo_weight: float, match: Match = match_stereo) -> Example:
    """The right image with the ground truth of the left one transferred to it; occluded pixels stay invalid."""
    assert sample.right is not None and sample.depth is not None
    disparity = sample.fx_baseline / sample.depth
    rows, columns = np.nonzero(np.isfinite(disparity))
    values = disparity[rows, columns]
    order = np.argsort(values)  # nearest points last: they overwrite farther ones
    rows, values = rows[order], values[order]
    target = np.rint(columns[order] - values).astype(int)
    inside = target >= 0
    depth = np.full_like(sample.depth, np.nan)
    depth[rows[inside], target[inside]] = sample.fx_baseline / values[inside]
    image = sample.right.image
    weight = np.isfinite(depth).astype(np.float32)
    if stereo_weight > 0:  # in the mirrored pair the right image is the left one
        matched = match(image[:, ::-1].copy(), sample.left.image[:, ::-1].copy())[:, ::-1]
        filled = sample.fx_baseline / matched
        occluded = np.isfinite(depth) & (filled < OCCLUDED_DEPTH_RATIO * depth)
        depth = np.where(np.isfinite(depth) & ~occluded, depth, filled).astype(np.float32)
        weight = np.where((weight > 0) & ~occluded, 1.0, stereo_weight * np.isfinite(filled))
        weight = weight.astype(np.float32)
    return Example(image, sample.right.camera.rectified(), depth, weight)
