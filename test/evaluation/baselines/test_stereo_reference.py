"""Strict semi-global matching as a substitute for ground truth."""

from __future__ import annotations

import numpy as np

from depth_ros.evaluation.baselines.semi_global import stereo_reference_depth
from depth_ros.recordings import Sample, open_recording


def test_reference_depth_is_dense_and_accurate_on_kitti_2015(data_root) -> None:
    sample = open_recording(data_root / "kitti2015_stereo")[3]
    depth = stereo_reference_depth(sample)
    both = np.isfinite(depth) & np.isfinite(sample.depth)
    assert both.sum() > 0.8 * np.isfinite(sample.depth).sum()
    assert np.median(np.abs(depth - sample.depth)[both] / sample.depth[both]) < 0.03
    assert stereo_reference_depth(Sample(sample.name, sample.left)) is None
