"""Fusion of measurements of a systematic error."""

from __future__ import annotations

from depth_ros.estimators.odometry.systematic_errors import Gaussian


def test_fusion_limits_the_confidence_of_a_measurement():
    """A measurement with too small a standard deviation shifts the mean less and leaves more uncertainty."""
    prior, min_std = Gaussian(0.0, 0.02**2), 0.01
    fused = prior.fused(Gaussian(0.015, 0.001**2), min_std)
    assert 0.01 < fused.mean < 0.015
    assert 0.8 * min_std < fused.variance**0.5 < min_std


def test_fusion_ignores_an_uninformative_measurement():
    prior = Gaussian(0.0, 0.02**2)
    assert prior.fused(Gaussian(0.0, 0.02**2), 0.01) == prior


def test_fusion_keeps_an_exact_value():
    assert Gaussian(0.01).fused(Gaussian(0.02, 1e-8), 0.01) == Gaussian(0.01)
