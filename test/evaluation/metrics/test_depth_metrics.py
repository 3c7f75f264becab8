"""Depth metrics against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_ros.evaluation.metrics.depth import METRICS, DepthMetrics, depth_metrics
from depth_ros.evaluation.metrics.protocols import PLAIN, PROTOCOLS, DepthProtocol

GROUND_TRUTH = np.array([[10.0, 20.0, 40.0, 0.0, np.nan]])
DEPTH = np.array([[11.0, 20.0, 30.0, 5.0, 5.0]])
SI = ("si_full", "si_env", "si_hum", "si_intra", "si_inter")
STD = ("within_std", "within_2_std", "surest_80", "ause")
FX_BASELINE = 400.0  # disparities: ground truth 40, 20, 10 px; prediction 36.364, 20, 13.333 px


def test_all_metrics_match_hand_computed_values() -> None:
    """Errors of +1, 0 and -10 m at 10, 20 and 40 m; two pixels have no ground truth."""
    metrics = depth_metrics(DEPTH, GROUND_TRUTH, PLAIN, FX_BASELINE)
    e = [math.log(1.1), 0.0, math.log(0.75)]
    variance = (e[0] ** 2 + e[2] ** 2) / 3 - ((e[0] + e[2]) / 3) ** 2
    expected = {
        "abs_rel": (0.1 + 0.0 + 0.25) / 3,
        "sq_rel": (1 / 10 + 100 / 40) / 3,
        "rmse": math.sqrt(101 / 3),
        "rmse_log": math.sqrt((0.09531018**2 + 0.28768207**2) / 3),
        "log10": (0.0413927 + 0.1249387) / 3,
        "delta1": 2 / 3,  # 40 / 30 = 1.333
        "delta2": 1.0,
        "delta3": 1.0,
        "silog": 100 * math.sqrt(variance),
        "irmse": math.sqrt((9.0909091**2 + 8.3333333**2) / 3),
        "d1_all": 2 / 3,  # 3.64 px is 9 %, 3.33 px is 33 %
        "epe": (3.6363636 + 0.0 + 3.3333333) / 3,
        **dict.fromkeys(SI),
        "coverage": 1.0,
        **dict.fromkeys(STD),
    }
    assert list(metrics) == list(METRICS) == list(expected)
    assert all(metrics.pop(name) is expected.pop(name) is None for name in (*SI, *STD))
    assert metrics == pytest.approx(expected, rel=1e-6)


def test_perfect_depth_has_zero_error() -> None:
    metrics = depth_metrics(GROUND_TRUTH, GROUND_TRUTH, PLAIN, FX_BASELINE)
    ones = {"delta1", "delta2", "delta3", "coverage"}
    assert metrics == {
        name: 1.0 if name in ones else None if name in (*SI, *STD) else 0.0 for name in METRICS
    }


@pytest.mark.parametrize(
    ("disparity", "ground_truth", "outliers"),
    [
        (13.0, 10.0, 0.0),  # exactly 3 px is an inlier (monodepth's code counts it as an outlier)
        (13.1, 10.0, 1.0),
        (104.9, 100.0, 0.0),  # 4.9 px is less than 5 %
        (105.1, 100.0, 1.0),
        (5.0, 8.1, 1.0),
    ],
)
def test_d1_counts_errors_above_both_3_px_and_5_percent(disparity, ground_truth, outliers) -> None:
    metrics = depth_metrics(np.array([[64.0 / disparity]]), np.array([[64.0 / ground_truth]]), PLAIN, 64.0)
    assert metrics["d1_all"] == outliers
    assert metrics["epe"] == pytest.approx(abs(disparity - ground_truth))


def test_disparity_metrics_are_computed_before_the_clamp() -> None:
    """A prediction of 160 m at 64 m under a cap of 80 m: AbsRel uses 80 m, the disparity error 160 m."""
    metrics = depth_metrics(np.array([[160.0]]), np.array([[64.0]]), PROTOCOLS["kitti2015"], 640.0)
    assert metrics["abs_rel"] == pytest.approx(16 / 64)
    assert metrics["epe"] == pytest.approx(6.0)


def test_prediction_and_ground_truth_beyond_the_cap_are_equal() -> None:
    metrics = depth_metrics(np.array([[200.0]]), np.array([[100.0]]), PROTOCOLS["kitti2015"])
    assert (metrics["abs_rel"], metrics["delta1"]) == (0.0, 1.0)
    assert depth_metrics(np.array([[200.0]]), np.array([[100.0]]))["abs_rel"] == 1.0


def test_disparity_metrics_need_a_stereo_pair() -> None:
    metrics = depth_metrics(DEPTH, GROUND_TRUTH, PLAIN)
    assert {name for name, value in metrics.items() if value is None} == {"d1_all", "epe", *SI, *STD}


def test_scaling_precedes_the_clamp() -> None:
    """Twice the depth, beyond the cap: scaled first, 60 m is right; clamped first, it would be 40 m."""
    ground_truth = np.array([[10.0, 30.0, 60.0]])
    protocol = DepthProtocol("p", max_ground_truth=80.0, max_depth=80.0, scaling="median")
    assert depth_metrics(2 * ground_truth, ground_truth, protocol)["abs_rel"] == pytest.approx(0.0, abs=1e-12)


def test_median_scaling_uses_valid_pixels_only() -> None:
    ground_truth = np.array([[10.0, 10.0, 10.0, np.nan, np.nan, np.nan, np.nan]])
    depth = np.array([[5.0, 5.0, 5.0, 90.0, 90.0, 90.0, 90.0]])
    metrics = depth_metrics(depth, ground_truth, DepthProtocol("p", scaling="median"))
    assert metrics["rmse"] == pytest.approx(0.0, abs=1e-12)


def test_silog_and_median_scaling_are_invariant_to_scale() -> None:
    rng = np.random.default_rng(1)
    ground_truth, noise = rng.uniform(2, 40, (30, 40)), np.exp(rng.normal(0, 0.1, (30, 40)))
    depth = ground_truth * noise
    one, ten = depth_metrics(depth, ground_truth, PLAIN), depth_metrics(10 * depth, ground_truth, PLAIN)
    assert one["silog"] == pytest.approx(ten["silog"]) == pytest.approx(10.0, rel=0.1)
    assert ten["abs_rel"] > 8
    median = DepthProtocol("median", scaling="median")
    assert depth_metrics(depth, ground_truth, median) == pytest.approx(
        depth_metrics(10 * depth, ground_truth, median)
    )


def test_least_squares_scaling() -> None:
    ground_truth, depth = np.array([[1.0, 2.0, 4.0]]), np.array([[1.0, 1.0, 1.0]])
    metrics = depth_metrics(depth, ground_truth, DepthProtocol("p", scaling="least_squares"))
    assert metrics["rmse"] == pytest.approx(np.std([1, 2, 4]))  # the factor is the mean, 7/3


def test_affine_inverse_scaling_recovers_scale_and_shift() -> None:
    ground_truth = np.random.default_rng(0).uniform(1, 9, (20, 30))
    depth = 1 / (3.0 / ground_truth + 0.7)
    exact = DepthProtocol("p", scaling="affine_inverse")
    assert depth_metrics(depth, ground_truth, exact)["abs_rel"] == pytest.approx(0, abs=1e-9)
    assert depth_metrics(depth, ground_truth, DepthProtocol("p", scaling="median"))["abs_rel"] > 0.05


def test_coverage_counts_invalid_predictions() -> None:
    ground_truth = np.full((2, 4), 10.0)
    depth = np.array([[10.0, 10.0, 10.0, np.nan], [np.inf, 0.0, -1.0, 10.0]])
    metrics = depth_metrics(depth, ground_truth, PLAIN)
    assert metrics["coverage"] == 0.5
    assert metrics["abs_rel"] == 0.0
    nothing = depth_metrics(np.full((2, 4), np.nan), ground_truth, PLAIN)
    assert nothing["coverage"] == 0.0
    assert nothing["abs_rel"] is None


def test_averaging_over_images_and_over_pooled_pixels() -> None:
    """Errors of 4 m on one pixel and 1 m on three: mean of roots 2.5, root of the mean sqrt(19/4)."""
    images = [([[14.0]], [[10.0]]), ([[11.0] * 3], [[10.0] * 3])]
    for averaging, rmse, abs_rel in (("image", 2.5, 0.25), ("pooled", math.sqrt(19 / 4), 0.7 / 4)):
        metrics = DepthMetrics(DepthProtocol("p", averaging=averaging))
        for depth, ground_truth in images:
            metrics.add(np.array(depth), np.array(ground_truth))
        assert metrics.compute()["rmse"] == pytest.approx(rmse)
        assert metrics.compute()["abs_rel"] == pytest.approx(abs_rel)
        assert len(metrics) == 2


def test_images_without_ground_truth_do_not_count() -> None:
    metrics = DepthMetrics(PLAIN)
    metrics.add(DEPTH, np.full(GROUND_TRUTH.shape, np.nan))
    assert len(metrics) == 0
    assert set(metrics.compute().values()) == {None}
    metrics.add(DEPTH, GROUND_TRUTH)
    assert metrics.compute() == pytest.approx(depth_metrics(DEPTH, GROUND_TRUTH, PLAIN))


def test_si_rmse_is_a_mean_over_pixel_pairs() -> None:
    """Compared with all ordered pairs, and invariant to scale; people are the last two of five pixels."""
    ground_truth = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    depth = np.array([[1.2, 1.7, 3.3, 2.0, 2.2]])
    people = np.array([[False, False, False, True, True]])
    e = (np.log(depth) - np.log(ground_truth))[0]
    sets = {"si_full": (e, e), "si_env": (e[:3], e[:3]), "si_hum": (e[3:], e), "si_intra": (e[3:], e[3:]),
            "si_inter": (e[3:], e[:3])}  # fmt: skip
    for factor in (1.0, 7.0):
        metrics = DepthMetrics(PROTOCOLS["mannequin"]).add(factor * depth, ground_truth, people=people)
        for name, (a, b) in sets.items():
            assert metrics[name] == pytest.approx(np.sqrt(np.mean((a[:, None] - b[None]) ** 2))), name
    without_people = DepthMetrics(PROTOCOLS["mannequin"]).add(depth, ground_truth)
    assert without_people["si_full"] == pytest.approx(without_people["si_env"])
    assert without_people["si_hum"] is None


def test_si_rmse_is_averaged_over_the_images_that_have_it() -> None:
    metrics, ground_truth = DepthMetrics(PROTOCOLS["mannequin"]), np.array([[1.0, 2.0, 4.0]])
    nobody, last_pixel = np.zeros((1, 3), bool), np.array([[False, False, True]])
    first = metrics.add(np.array([[1.0, 2.0, 8.0]]), ground_truth, people=last_pixel)
    metrics.add(ground_truth, ground_truth, people=nobody)
    assert metrics.compute()["si_inter"] == pytest.approx(first["si_inter"]) == pytest.approx(math.log(2))
    assert metrics.compute()["si_full"] == pytest.approx(first["si_full"] / 2)


def test_standard_deviations_are_measured_by_coverage_and_sparsification() -> None:
    """Ten pixels of 10 m, errors of 0 to 9 %: a std of 4.5 % covers five; ranking by the error itself is optimal."""
    ground_truth = np.full((1, 10), 10.0)
    depth = ground_truth + np.arange(10) / 10
    constant = depth_metrics_with_std(depth, ground_truth, np.full((1, 10), 0.45))
    assert constant["within_std"] == 0.5 and constant["within_2_std"] == 0.9
    exact = depth_metrics_with_std(depth, ground_truth, np.abs(depth - ground_truth) + 1e-6)
    assert exact["within_std"] == 1.0 and exact["ause"] == pytest.approx(0.0, abs=1e-9)
    assert exact["surest_80"] == pytest.approx(3.5 / 4.5)
    reversed_std = depth_metrics_with_std(depth, ground_truth, (1 - np.arange(10) / 10).reshape(1, 10))
    assert reversed_std["surest_80"] == pytest.approx(5.5 / 4.5) and (reversed_std["ause"] or 0) > 0.5


def depth_metrics_with_std(
    depth: np.ndarray, ground_truth: np.ndarray, std: np.ndarray
) -> dict[str, float | None]:
    return DepthMetrics(PLAIN).add(depth, ground_truth, std=std)
