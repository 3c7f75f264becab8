"""The baseline: its arithmetic, and the figures that the issue states for it on recorded data."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.datasets import open_folder
from depth_ros.datasets.split import held_out, training
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.baselines.mean_inverse_depth import MeanInverseDepth
from depth_ros.evaluation.metrics.depth import PROTOCOLS, Tally

NAN = np.nan


def test_mean_of_inverse_depth_by_hand() -> None:
    mean = MeanInverseDepth.of([np.array([[2.0, NAN], [NAN, NAN]]), np.array([[6.0, 0.0], [5.0, NAN]])])
    np.testing.assert_allclose(mean.predict(2, 2), [[3.0, 3.0], [5.0, 5.0]])  # 1/2 + 1/6 = 2/3


def test_unseen_rows_take_the_mean_of_all() -> None:
    mean = MeanInverseDepth.of([np.array([[NAN, NAN], [2.0, 6.0]])])
    np.testing.assert_allclose(mean.predict(2, 2), [[3.0, 3.0], [2.0, 6.0]])


def test_leaving_one_out() -> None:
    one, two = np.array([[2.0, 3.0]]), np.array([[4.0, 5.0]])
    np.testing.assert_allclose(MeanInverseDepth.of([one, two]).without(one).predict(1, 2), two)
    assert MeanInverseDepth.of([one]).without(one).predict(1, 2) is None


def test_prediction_has_the_size_asked_for() -> None:
    assert MeanInverseDepth.of([np.full((4, 6), 3.0)]).predict(8, 10).shape == (8, 10)


def test_without_truth_there_is_no_baseline() -> None:
    with pytest.raises(DepthRosError, match="ground truth"):
        MeanInverseDepth.of([np.full((2, 2), NAN)])


def test_kitti_baseline_is_what_the_issue_says(data_root) -> None:
    """A model that does not look at the image: AbsRel 0.22, delta1 0.67 on pairs of KITTI 2015."""
    folder = open_folder(data_root / "kitti2015_stereo")
    mean = MeanInverseDepth.of(folder[index].depth for index in training(folder)[::3])
    tally = Tally(PROTOCOLS["kitti2015"])
    for index in held_out(folder):
        sample = folder[index]
        tally.add(mean.predict(*sample.depth.shape), sample.depth, sample.fx_baseline)
    found = tally.figures()
    assert found["abs_rel"] == pytest.approx(0.23, abs=0.02)
    assert found["delta1"] == pytest.approx(0.66, abs=0.03)
    assert 0.4 < found["d1_all"] < 0.6
    assert found["coverage"] == 1.0


def test_splits_of_the_recorded_folders(data_root) -> None:
    expected = {"kitti2015_stereo": (21, 89), "hololens_office": (52, 208), "tum_fr1_rpy": (36, 144),
                "kitti_stereo_clip": (21, 0)}  # fmt: skip
    for name, counts in expected.items():
        folder = open_folder(data_root / name)
        out, seen = held_out(folder), training(folder)
        assert (len(out), len(seen)) == counts
        assert not set(out) & set(seen)
    pairs = open_folder(data_root / "kitti2015_stereo")
    assert "000105" in {pairs[index].name for index in held_out(pairs)}


def test_what_a_model_ships_follows_the_focal_length(tmp_path):
    np.save(tmp_path / "typical.npy", np.full((24, 80), 40.0, np.float16))
    guess = MeanInverseDepth.shipped(tmp_path / "typical.npy", 400.0).predict(6, 8)
    assert guess.shape == (6, 8)
    assert np.allclose(guess, 10.0)
