"""Mean inverse depth: arithmetic, and its metrics on recorded data."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.evaluation.baselines.mean_inverse_depth import MeanInverseDepth
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.protocols import PROTOCOLS
from depth_ros.recordings import open_recording
from depth_ros.recordings.split import held_out, training

NAN = np.nan


def test_mean_matches_hand_computed_values() -> None:
    mean = MeanInverseDepth.from_depths(
        [np.array([[2.0, NAN], [NAN, NAN]]), np.array([[6.0, 0.0], [5.0, NAN]])]
    )
    np.testing.assert_allclose(mean.predict(2, 2), [[3.0, 3.0], [5.0, 5.0]])  # 1/2 + 1/6 = 2/3


def test_rows_without_depth_take_the_mean_of_the_image() -> None:
    mean = MeanInverseDepth.from_depths([np.array([[NAN, NAN], [2.0, 6.0]])])
    np.testing.assert_allclose(mean.predict(2, 2), [[3.0, 3.0], [2.0, 6.0]])


def test_leave_one_out() -> None:
    one, two = np.array([[2.0, 3.0]]), np.array([[4.0, 5.0]])
    np.testing.assert_allclose(MeanInverseDepth.from_depths([one, two]).without(one).predict(1, 2), two)
    assert MeanInverseDepth.from_depths([one]).without(one).predict(1, 2) is None


def test_prediction_has_the_requested_size() -> None:
    assert MeanInverseDepth.from_depths([np.full((4, 6), 3.0)]).predict(8, 10).shape == (8, 10)


def test_no_valid_depth_is_an_error() -> None:
    with pytest.raises(DepthRosError, match="ground truth"):
        MeanInverseDepth.from_depths([np.full((2, 2), NAN)])


def test_metrics_on_kitti_2015(data_root) -> None:
    """A predictor that does not look at the image: AbsRel 0.22, delta1 0.67 on pairs of KITTI 2015."""
    folder = open_recording(data_root / "kitti2015_stereo")
    mean = MeanInverseDepth.from_depths(folder[index].depth for index in training(folder)[::3])
    metrics = DepthMetrics(PROTOCOLS["kitti2015"])
    for index in held_out(folder):
        sample = folder[index]
        metrics.add(mean.predict(*sample.depth.shape), sample.depth, sample.fx_baseline)
    result = metrics.compute()
    assert result["abs_rel"] == pytest.approx(0.23, abs=0.02)
    assert result["delta1"] == pytest.approx(0.66, abs=0.03)
    assert 0.4 < result["d1_all"] < 0.6
    assert result["coverage"] == 1.0


def test_mean_of_a_model_follows_the_focal_length(tmp_path):
    np.save(tmp_path / "mean_inverse_depth.npy", np.full((24, 80), 40.0, np.float16))
    depth = MeanInverseDepth.from_file(tmp_path / "mean_inverse_depth.npy", 400.0).predict(6, 8)
    assert depth.shape == (6, 8)
    assert np.allclose(depth, 10.0)
