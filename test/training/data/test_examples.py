"""Examples: which samples are loaded, and the ground truth of right views."""

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Sample
from depth_ros.training.data.examples import (
    SKY_DEPTH,
    SKY_WEIGHT,
    load_examples,
    mean_inverse_depth,
    right_view_example,
)
from depth_ros.training.recipes import Source


def test_held_out_samples_are_not_loaded(data):
    assert len(load_examples((Source("clip"),), data)) == 8
    assert len(load_examples((Source("clip", part="all"),), data)) == 10


def test_right_views_and_repetitions_are_counted(data):
    examples = load_examples((Source("clip", right_view=True, repeat=2),), data)
    assert len(examples) == 8 * 2 * 2
    assert np.isfinite(examples[1].depth).mean() > 0.5


def test_stereo_matches_fill_gaps_with_their_weight(data, monkeypatch):
    from depth_ros.training.data import examples

    monkeypatch.setattr(
        examples, "match_stereo", lambda left, right: np.full(left.shape[:2], 4.0, np.float32)
    )
    camera = Camera.pinhole(64, 16, 40.0, 40.0, 32, 8)
    right = Camera.pinhole(64, 16, 40.0, 40.0, 32, 8, 0.5)
    image, depth = np.zeros((16, 64, 3), np.uint8), np.full((16, 64), 10.0, np.float32)
    depth[:, 30:40] = np.nan
    sample = Sample("0", Frame(0, "l", image, camera), Frame(0, "r", image, right), depth)
    filled = examples.left_view_example(sample, stereo_weight=0.2)
    assert (filled.depth[:, 30:40] == 40 * 0.5 / 4).all() and (filled.depth[:, :30] == 10).all()
    np.testing.assert_allclose(filled.weight[:, 30:40], 0.2)
    unfilled = examples.left_view_example(sample, stereo_weight=0.0)
    assert np.isnan(unfilled.depth[:, 30:40]).all() and (unfilled.weight[:, 30:40] == 0).all()


def test_rendered_sky_is_far_and_weighs_little():
    (street,) = load_examples((Source("world:street", count=1),), None)
    sky = street.depth == SKY_DEPTH
    assert sky.any() and (street.weight[sky] == np.float32(SKY_WEIGHT)).all()
    assert (street.weight[~sky] == 1).all() and np.isfinite(street.depth).all()


def test_the_right_view_has_the_ground_truth_of_the_left_one():
    """A near square before a wall: in the right image it is f B / Z px further left and occludes the wall."""
    left, right = (Camera.pinhole(64, 16, 40.0, 40.0, 32, 8, baseline) for baseline in (0.0, 0.5))
    depth = np.full((16, 64), 10.0, np.float32)  # disparity 2
    depth[:, 30:40] = 2.5  # disparity 8
    image = np.zeros((16, 64, 3), np.uint8)
    sample = Sample("0", Frame(0, "l", image, left), Frame(0, "r", image, right), depth)
    example = right_view_example(sample, stereo_weight=0.0)
    np.testing.assert_allclose(example.depth[3, 22:32], 2.5)
    np.testing.assert_allclose(example.depth[3, :22], 10.0)
    assert np.isnan(example.depth[3, 32:38]).all()  # the part of the wall that only the right camera sees
    assert (example.weight[3, 32:38] == 0).all()


def test_sources_without_examples_are_an_error(tmp_path):
    with pytest.raises(DepthRosError, match="no training examples below"):
        load_examples((), tmp_path)


def test_the_mean_inverse_depth_is_in_units_of_the_focal_length(data):
    examples = load_examples((Source("clip"),), data)
    mean = mean_inverse_depth(examples)
    expected = np.nanmean([example.camera.fx / example.depth for example in examples])
    assert mean.shape == (24, 80) and mean.mean() == pytest.approx(expected, rel=0.02)
