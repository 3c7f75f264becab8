"""Every depth figure against numbers worked out by hand, and the order that protocols promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Frame
from depth_ros.evaluation.depth import seen
from depth_ros.evaluation.metrics.depth import (
    FIGURES,
    PLAIN,
    PROTOCOLS,
    Protocol,
    Tally,
    as_measured,
    crop,
    figures,
    resized,
)

TRUTH = np.array([[10.0, 20.0, 40.0, 0.0, np.nan]])
DEPTH = np.array([[11.0, 20.0, 30.0, 5.0, 5.0]])
SI = ("si_full", "si_env", "si_hum", "si_intra", "si_inter")
FX_BASELINE = 400.0  # disparities: truth 40, 20, 10 px; prediction 36.364, 20, 13.333 px


def test_every_figure_by_hand() -> None:
    """Errors of +1, 0 and -10 m at 10, 20 and 40 m; two pixels have no truth."""
    found = figures(DEPTH, TRUTH, PLAIN, FX_BASELINE)
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
    }
    assert list(found) == list(FIGURES) == list(expected)
    assert all(found.pop(name) is expected.pop(name) is None for name in SI)
    assert found == pytest.approx(expected, rel=1e-6)


def test_perfect_depth() -> None:
    found = figures(TRUTH, TRUTH, PLAIN, FX_BASELINE)
    ones = {"delta1", "delta2", "delta3", "coverage"}
    assert found == {name: 1.0 if name in ones else None if name in SI else 0.0 for name in FIGURES}


@pytest.mark.parametrize(
    ("disparity", "truth", "share"),
    [
        (13.0, 10.0, 0.0),  # 3 px exactly is no outlier (monodepth's code counts it)
        (13.1, 10.0, 1.0),
        (104.9, 100.0, 0.0),  # 4.9 px is less than 5 %
        (105.1, 100.0, 1.0),
        (5.0, 8.1, 1.0),
    ],
)
def test_d1_needs_more_than_3_px_and_more_than_5_percent(disparity, truth, share) -> None:
    found = figures(np.array([[64.0 / disparity]]), np.array([[64.0 / truth]]), PLAIN, 64.0)
    assert found["d1_all"] == share
    assert found["epe"] == pytest.approx(abs(disparity - truth))


def test_disparity_figures_are_not_clamped() -> None:
    """A prediction of 160 m at 64 m, cap 80: AbsRel sees 80 m, the disparity error 160 m."""
    found = figures(np.array([[160.0]]), np.array([[64.0]]), PROTOCOLS["kitti2015"], 640.0)
    assert found["abs_rel"] == pytest.approx(16 / 64)
    assert found["epe"] == pytest.approx(6.0)


def test_beyond_the_cap_prediction_and_truth_are_equally_far() -> None:
    found = figures(np.array([[200.0]]), np.array([[100.0]]), PROTOCOLS["kitti2015"])
    assert (found["abs_rel"], found["delta1"]) == (0.0, 1.0)
    assert figures(np.array([[200.0]]), np.array([[100.0]]))["abs_rel"] == 1.0


def test_without_a_second_eye_there_are_no_disparity_figures() -> None:
    found = figures(DEPTH, TRUTH, PLAIN)
    assert {name for name, value in found.items() if value is None} == {"d1_all", "epe", *SI}


def test_scale_comes_before_the_clamp() -> None:
    """Twice too far beyond the cap: scaled first 60 m is right, clamped first it would be 40 m."""
    truth = np.array([[10.0, 30.0, 60.0]])
    protocol = Protocol("p", truth_max=80.0, max_depth=80.0, scaling="median")
    assert figures(2 * truth, truth, protocol)["abs_rel"] == pytest.approx(0.0, abs=1e-12)


def test_median_is_taken_over_the_valid_pixels() -> None:
    truth = np.array([[10.0, 10.0, 10.0, np.nan, np.nan, np.nan, np.nan]])
    depth = np.array([[5.0, 5.0, 5.0, 90.0, 90.0, 90.0, 90.0]])
    assert figures(depth, truth, Protocol("p", scaling="median"))["rmse"] == pytest.approx(0.0, abs=1e-12)


def test_silog_and_median_scaling_are_blind_to_scale() -> None:
    rng = np.random.default_rng(1)
    truth, noise = rng.uniform(2, 40, (30, 40)), np.exp(rng.normal(0, 0.1, (30, 40)))
    one, ten = figures(truth * noise, truth, PLAIN), figures(10 * truth * noise, truth, PLAIN)
    assert one["silog"] == pytest.approx(ten["silog"]) == pytest.approx(10.0, rel=0.1)
    assert ten["abs_rel"] > 8
    median = Protocol("median", scaling="median")
    assert figures(truth * noise, truth, median) == pytest.approx(figures(10 * truth * noise, truth, median))


def test_garg_crop_of_a_kitti_image() -> None:
    assert crop("garg", 375, 1242) == (slice(153, 371), slice(44, 1197))
    assert crop("eigen", 375, 1242) == (slice(124, 342), slice(44, 1197))
    assert crop("garg", 1000, 1000) == (slice(408, 991), slice(35, 964))
    assert crop("none", 375, 1242) == (slice(0, 375), slice(0, 1242))


def test_eigen_counts_only_the_crop_below_80_metres() -> None:
    truth, depth = np.full((375, 1242), 10.0), np.full((375, 1242), 99.0)
    depth[153:371, 44:1197] = 11.0
    truth[200:300, 100:1100] = 80.0  # not below the cap
    found = figures(depth, truth, PROTOCOLS["eigen"])
    assert found["abs_rel"] == pytest.approx(0.1)
    assert found["coverage"] == 1.0


def test_unknown_predictions_are_counted() -> None:
    truth = np.full((2, 4), 10.0)
    depth = np.array([[10.0, 10.0, 10.0, np.nan], [np.inf, 0.0, -1.0, 10.0]])
    found = figures(depth, truth, PLAIN)
    assert found["coverage"] == 0.5
    assert found["abs_rel"] == 0.0
    nothing = figures(np.full((2, 4), np.nan), truth, PLAIN)
    assert nothing["coverage"] == 0.0
    assert nothing["abs_rel"] is None


def test_mean_of_images_and_pooled_pixels_differ() -> None:
    """Errors of 4 m on one pixel and 1 m on three: mean of roots 2.5, root of the mean sqrt(19/4)."""
    images = [([[14.0]], [[10.0]]), ([[11.0] * 3], [[10.0] * 3])]
    for averaging, rmse, abs_rel in (("image", 2.5, 0.25), ("pooled", math.sqrt(19 / 4), 0.7 / 4)):
        tally = Tally(Protocol("p", averaging=averaging))
        for depth, truth in images:
            tally.add(np.array(depth), np.array(truth))
        assert tally.figures()["rmse"] == pytest.approx(rmse)
        assert tally.figures()["abs_rel"] == pytest.approx(abs_rel)
        assert len(tally) == 2


def test_images_without_truth_do_not_count() -> None:
    tally = Tally(PLAIN)
    tally.add(DEPTH, np.full(TRUTH.shape, np.nan))
    assert len(tally) == 0
    assert set(tally.figures().values()) == {None}
    tally.add(DEPTH, TRUTH)
    assert tally.figures() == pytest.approx(figures(DEPTH, TRUTH, PLAIN))


def test_resizing_keeps_a_plane() -> None:
    """Inverse depth of a plane is linear in the image, so enlarging it four times is exact inside."""
    u, v = np.meshgrid(np.arange(160), np.arange(80))
    small_u, small_v = np.meshgrid(4 * np.arange(40) + 1.5, 4 * np.arange(20) + 1.5)  # centres of 4 x 4 px
    plane, small = 1 / (0.02 + 1e-3 * u + 2e-3 * v), 1 / (0.02 + 1e-3 * small_u + 2e-3 * small_v)
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(resized(small, 80, 160)[inside], plane[inside], rtol=1e-9)
    assert np.abs(resized(small, 80, 160, "depth")[inside] / plane[inside] - 1).max() > 1e-3


def test_resizing_does_not_smear_unknown_pixels() -> None:
    depth = np.full((4, 4), 5.0)
    depth[1, 1] = np.nan
    large = resized(depth, 8, 8)
    assert np.isnan(large[2:4, 2:4]).all()
    assert set(large[np.isfinite(large)]) == {5.0}


def test_protocol_text_says_what_was_done() -> None:
    text = PROTOCOLS["eigen_median"].text
    assert all(part in text for part in ("garg", "median", "80", "per image", "coverage"))


def test_make3d_resizes_the_truth_and_ends_at_70_metres() -> None:
    """Laina et al.: truth 460 rows of 345 by nearest pixel, criterion C1, pixels of all images pooled."""
    truth = np.repeat(np.array([[10.0, 70.0]]), 50, 1).repeat(80, 0)
    tally = Tally(PROTOCOLS["make3d"])
    found = tally.add(np.full((46, 34), 12.0), truth)
    assert found["abs_rel"] == pytest.approx(0.2)
    assert tally._valid == [460 * 173]  # of 345 columns the left half: 70 m is not below the cap
    assert "345x460" in PROTOCOLS["make3d"].text and "< 70 m" in PROTOCOLS["make3d"].text


def test_nyu_is_seen_through_its_middle_without_smoothing() -> None:
    """640x480 halved by dropping pixels, 8 and 6 px cut: 304x228, whose first pixel is (16, 12) of the image."""
    image = np.zeros((480, 640, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(640) % 251, (np.arange(480) % 241)[:, None]
    frame = Frame(0, "camera", image, Camera.pinhole(640, 480, 518.0, 519.0, 320.0, 240.0))
    found = seen(frame, PROTOCOLS["nyu_fcrn"])
    assert found.image.shape == (228, 304, 3)
    assert np.array_equal(found.image, image[12:468:2, 16:624:2])
    assert [found.camera.fx, found.camera.fy] == [259.0, 259.5]
    assert found.camera.cx == pytest.approx(320 / 2 - 0.25 - 8)
    assert seen(frame, PROTOCOLS["nyu_whole"]) is frame


def test_si_rmse_is_a_mean_over_pairs() -> None:
    """Against all ordered pairs, counted one by one, and blind to scale; people are the last two of five pixels."""
    truth = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    depth = np.array([[1.2, 1.7, 3.3, 2.0, 2.2]])
    people = np.array([[False, False, False, True, True]])
    e = (np.log(depth) - np.log(truth))[0]
    sets = {"si_full": (e, e), "si_env": (e[:3], e[:3]), "si_hum": (e[3:], e), "si_intra": (e[3:], e[3:]),
            "si_inter": (e[3:], e[:3])}  # fmt: skip
    for factor in (1.0, 7.0):
        found = Tally(PROTOCOLS["mannequin"]).add(factor * depth, truth, people=people)
        for name, (a, b) in sets.items():
            assert found[name] == pytest.approx(np.sqrt(np.mean((a[:, None] - b[None]) ** 2))), name
    alone = Tally(PROTOCOLS["mannequin"]).add(depth, truth)
    assert alone["si_full"] == pytest.approx(alone["si_env"]) and alone["si_hum"] is None


def test_si_rmse_is_averaged_over_the_images_that_have_it() -> None:
    tally, truth = Tally(PROTOCOLS["mannequin"]), np.array([[1.0, 2.0, 4.0]])
    nobody, last = np.zeros((1, 3), bool), np.array([[False, False, True]])
    first = tally.add(np.array([[1.0, 2.0, 8.0]]), truth, people=last)
    tally.add(truth, truth, people=nobody)
    assert tally.figures()["si_inter"] == pytest.approx(first["si_inter"]) == pytest.approx(math.log(2))
    assert tally.figures()["si_full"] == pytest.approx(first["si_full"] / 2)


def test_one_factor_by_least_squares() -> None:
    truth, depth = np.array([[1.0, 2.0, 4.0]]), np.array([[1.0, 1.0, 1.0]])
    found = figures(depth, truth, Protocol("p", scaling="least_squares"))
    assert found["rmse"] == pytest.approx(np.std([1, 2, 4]))  # the factor is the mean, 7/3


def test_scale_and_shift_of_inverse_depth_are_taken_from_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 9, (20, 30))
    depth = 1 / (3.0 / truth + 0.7)
    exact = Protocol("p", scaling="affine_inverse")
    assert figures(depth, truth, exact)["abs_rel"] == pytest.approx(0, abs=1e-9)
    assert figures(depth, truth, Protocol("p", scaling="median"))["abs_rel"] > 0.05


@pytest.mark.parametrize("scaling", ["none", "median", "least_squares", "affine_inverse"])
def test_pictures_show_what_figures_measure(scaling):
    """Depth of another scale, at half the size, with pixels outside the protocol's range: aligned, it is the truth."""
    truth = np.tile(np.linspace(20, 2, 80, dtype=np.float32)[:, None], (1, 120))
    truth[:10] = np.nan
    small = truth[::2, ::2]
    depth = 1 / (0.3 / small + 0.02) if scaling == "affine_inverse" else 0.3 * small
    protocol = Protocol("test", truth_max=15.0, scaling=scaling)
    shown = as_measured(np.nan_to_num(depth, nan=7.0), truth, protocol)
    assert shown.shape == small.shape
    known = np.isfinite(small)
    wanted = depth if scaling == "none" else small
    assert np.median(np.abs(shown - wanted)[known] / wanted[known]) < 0.04
    assert as_measured(depth, None, protocol) is depth
