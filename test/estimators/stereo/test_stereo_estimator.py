"""The stereo estimator with semi-global matching and with a network, on images of known disparity; pair checks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_ros.datatypes import Camera, Disparity, Frame
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.estimator import StereoEstimator, StereoSettings
from depth_ros.estimators.stereo.pair import baseline_doubt, rectified_pair
from depth_ros.estimators.stereo.rectification import pair_problem
from depth_ros.estimators.stereo.semi_global import SemiGlobalMatcher, fill_invalid

EAGER = EngineSettings(backend="eager", precision="float32")
WIDTH, HEIGHT, SHIFT = 300, 120, 17


def images(shift: int = SHIFT, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(seed).random((HEIGHT // 2, (WIDTH + 100) // 2, 3), np.float32)
    wide = cv2.resize(noise, (WIDTH + 100, HEIGHT), interpolation=cv2.INTER_CUBIC)
    wide = (255 * wide).clip(0, 255).astype(np.uint8)
    return wide[:, :WIDTH].copy(), wide[:, shift : shift + WIDTH].copy()


def frames(shift: int = SHIFT, baseline: float = 0.2, offset: float = 0.0) -> tuple[Frame, Frame]:
    left, right = (
        Camera.pinhole(WIDTH, HEIGHT, 250.0, 250.0, cx, 60.0, b)
        for cx, b in ((150.0, 0.0), (150.0 - offset, baseline))
    )
    pixels = images(shift)
    return Frame(7, "left", pixels[0], left), Frame(7, "right", pixels[1], right)


def test_semi_global_matching_is_valid_up_to_the_left_edge():
    disparity = SemiGlobalMatcher(64)(*images())
    assert np.allclose(disparity[5:-5, SHIFT + 5 : -5], SHIFT, atol=0.2)
    valid = np.isfinite(disparity)
    assert valid[:, SHIFT + 5 :].mean() > 0.98  # without padding the first 64 columns are invalid


def test_holes_are_filled_from_the_background():
    nan = np.nan
    found = fill_invalid(np.array([[nan, 8, nan, 3, nan], [nan] * 5, [nan, nan, 5, nan, nan]], np.float32))
    assert found.tolist() == [[8, 8, 3, 3, 3], [8, 8, 3, 3, 3], [5, 5, 5, 5, 5]]
    assert np.isnan(fill_invalid(np.full((2, 3), nan, np.float32))).all()


def test_disparity_and_its_deviation_are_converted_to_depth():
    pair = rectified_pair(*frames(offset=4.0))
    found = StereoEstimator("semi_global", stereo=StereoSettings(disparity_range=64)).estimate(pair)
    depth = found.depth()
    assert depth.baseline == found.baseline > 0
    assert (found.offset, found.baseline, depth.stamp) == (4.0, 0.2, 7)
    assert np.nanmedian(depth.depth) == pytest.approx(250 * 0.2 / (SHIFT - 4), rel=1e-3)
    certain = replace(found, std=np.full((HEIGHT, WIDTH), 0.5, np.float32)).depth()
    z = 250 * 0.2 / (SHIFT - 4)
    assert np.nanmedian(certain.std) == pytest.approx(z * z / 50 * 0.5, rel=1e-3)


def test_points_at_infinity_have_no_depth():
    camera = Camera.pinhole(3, 1, 100, 100, 1, 0)
    found = Disparity(
        0, "", np.array([[2, 1, 0]], np.float32), camera, np.zeros((1, 3, 3), np.uint8), 0.5, 1.0
    )
    assert found.depth().depth[0, 0] == 50.0 and np.isnan(found.depth().depth[0, 1:]).all()


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_matching_at_another_scale_gives_the_same_disparity(scale: float):
    pair = rectified_pair(*frames(shift=20))
    settings = StereoSettings(disparity_range=32, scale=scale)
    found = StereoEstimator("semi_global", stereo=settings).estimate(pair)
    assert found.disparity.shape == (HEIGHT, WIDTH)
    assert np.nanmedian(found.disparity) == pytest.approx(20, abs=0.3)


@pytest.fixture(scope="module")
def stereo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a `stereo` model with random weights."""
    from depth_ros.networks import stereo
    from depth_ros.training.export import export
    from depth_ros.training.recipes import find_recipe

    torch.manual_seed(0)
    small = replace(find_recipe("stereo"), name="small_stereo", deployed_size=(128, 64))
    model = stereo.Model(stereo.Settings(disparity_range=64))
    return export(model, small, tmp_path_factory.mktemp("models") / "small_stereo")


def test_a_network_takes_images_of_any_size(stereo_model: Path):
    estimator = StereoEstimator(str(stereo_model), EAGER)
    found = estimator.estimate(rectified_pair(*frames()))
    assert found.disparity.shape == found.std.shape == (HEIGHT, WIDTH)
    assert np.isfinite(found.disparity).all() and (found.std > 0).all()
    assert estimator.engine_status.name == "eager float32 320x128" and estimator.disparity_range == 64


def test_the_disparity_range_can_be_changed_without_other_weights(stereo_model: Path):
    estimator = StereoEstimator(str(stereo_model), EAGER, StereoSettings(disparity_range=96))
    assert estimator.disparity_range == 96 and estimator.card.settings["disparity_range"] == 96
    assert np.isfinite(estimator.estimate(rectified_pair(*frames())).disparity).all()
    with pytest.raises(DepthRosError, match="must be a multiple of 32"):
        StereoEstimator(str(stereo_model), EAGER, StereoSettings(disparity_range=50))


def test_a_depth_model_is_refused(small_model: Path):
    with pytest.raises(
        DepthRosError, match="is for task 'depth'; a 'stereo_depth' model or 'semi_global' is needed"
    ):
        StereoEstimator(str(small_model), EAGER)


def changed(frame: Frame, **fields: object) -> Frame:
    return replace(frame, camera=replace(frame.camera, **fields))


def test_frames_that_are_not_a_pair_are_rejected():
    left, right = frames()
    with pytest.raises(DepthRosError, match=r"the baseline is -0.200 m .* left and right are swapped"):
        rectified_pair(right, left)
    with pytest.raises(
        DepthRosError, match=r"P\[3\] of the left and right camera_info is 0 and 0, so the baseline"
    ):
        rectified_pair(left, replace(right, camera=left.camera))
    same = right.camera.P.copy()
    both = [changed(frame, P=same, K=same[:, :3]) for frame in (left, right)]
    with pytest.raises(
        DepthRosError, match=rf"is {same[0, 3]:g} and {same[0, 3]:g}, so the baseline is unknown"
    ):
        rectified_pair(*both)
    above = left.camera.P.copy()
    above[1, 3] = -20
    with pytest.raises(DepthRosError, match=r"P\[7\] of camera_info is set .* one above the other"):
        rectified_pair(left, changed(right, P=above, K=above[:, :3]))
    with pytest.raises(DepthRosError, match="the left image is 300x120 and the right image 300x100"):
        rectified_pair(left, replace(right, image=right.image[:100]))
    P = right.camera.P.copy()
    P[1, 2] += 9
    with pytest.raises(DepthRosError, match=r"cy 60.0 and 69.0; calibrate the cameras as a stereo pair"):
        rectified_pair(left, changed(right, K=P[:, :3], P=P))


def test_raw_images_are_rectified():
    left, right = frames()
    lens = (0.1, -0.05, 0.0, 0.0)
    pair = rectified_pair(changed(left, distortion=lens), changed(right, distortion=lens))
    assert pair.left.camera.is_rectified and not np.array_equal(pair.left.image, left.image)


def test_swapped_and_unrectified_pairs_are_recognised():
    left, right = (cv2.GaussianBlur(x, (0, 0), 1.0) for x in images())
    assert pair_problem(left, right) == ""
    assert "left and right are swapped: the median disparity is -17 px" in pair_problem(right, left)
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 3.0, 1.0)
    assert "not rectified" in pair_problem(left, cv2.warpAffine(right, turn, (WIDTH, HEIGHT)))
    assert "both topics carry the images of one camera" in pair_problem(left, left)
    flat = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    assert pair_problem(flat, flat) == ""  # no corners, no statement


def test_a_pair_that_rectification_has_misaligned_is_recognised_as_rectified_already():
    left, right = (cv2.GaussianBlur(x, (0, 0), 1.0) for x in images())
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 3.0, 1.0)
    turned = cv2.warpAffine(right, turn, (WIDTH, HEIGHT))
    assert "the images are rectified already" in pair_problem(left, turned, (left, right))
    assert "the images are not rectified" in pair_problem(left, turned, (left, turned))


@pytest.mark.parametrize(
    "baseline, part",
    [
        (
            60.0,
            "the baseline is 60 m by camera_info, and depth is proportional to it: was the calibration in mil",
        ),
        (0.00012, "the baseline is 0.00012 m"),
        (6000.0, "proportional to it; P[3] of the right camera has to be -fx * baseline"),
        (0.05, ""),
        (1.2, ""),
    ],
)
def test_implausible_baselines_are_doubted(baseline, part):
    assert part in baseline_doubt(baseline) and bool(part) == bool(baseline_doubt(baseline))
