"""Stereo matches, computed once for every pair of images."""

import numpy as np

from depth_ros.training.data import matching
from depth_ros.training.data.cache import ArrayCache
from depth_ros.training.data.matching import MAX_STD, CachedMatching, match_by_model, match_stereo
from depth_ros.world import World, WorldSettings


def test_stored_matches_are_those_that_were_computed(tmp_path, monkeypatch):
    sample = World(WorldSettings(kind="street", frames=1, width=256, height=96))[0]
    left, right = sample.left.image, sample.right.image
    expected = match_stereo(left, right)
    assert np.isfinite(expected).mean() > 0.2
    match = CachedMatching(ArrayCache(tmp_path))
    np.testing.assert_array_equal(match(left, right), expected)
    with monkeypatch.context() as patch:
        patch.setattr(matching, "match_stereo", None)  # cannot match
        np.testing.assert_array_equal(match(left, right), expected)
    other = match(right, left)  # other images: other matches
    assert not np.array_equal(other, expected, equal_nan=True)


def test_a_stereo_model_matches_what_semi_global_matching_cannot(tmp_path):
    """Denser, and nearer to the truth in the median; other matches in the cache than those of semi-global matching."""
    sample = World(WorldSettings(kind="street", frames=1, width=256, height=96))[0]
    left, right = sample.left.image, sample.right.image
    truth = sample.fx_baseline / sample.depth
    found = match_by_model("stereo", left, right)
    semi_global = match_stereo(left, right)
    assert np.isfinite(found).mean() > 1.2 * np.isfinite(semi_global).mean()
    assert np.nanmedian(abs(found - truth)) < MAX_STD
    cache = ArrayCache(tmp_path)
    CachedMatching(cache)(left, right)
    stored = CachedMatching(cache, "stereo")(left, right)
    np.testing.assert_allclose(stored, found, atol=1 / 16)
