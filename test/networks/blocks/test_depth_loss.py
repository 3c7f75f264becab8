"""The supervised loss of depth against its formulas, written with numpy for single images."""

import numpy as np
import pytest
import torch

from depth_ros.networks.blocks.depth_loss import depth_loss


def test_terms_equal_their_formulas():
    rng = np.random.default_rng(0)
    error = rng.normal(0.1, 0.3, (2, 4, 5))
    weight = rng.choice([0.0, 0.5, 1.0], (2, 4, 5))
    abs_rel, silog = [], []
    for e, w in zip(error, weight, strict=True):
        abs_rel.append(np.average(np.abs(np.exp(-e) - 1), weights=w))
        silog.append(np.sqrt(np.average(e**2, weights=w) - 0.85 * np.average(e, weights=w) ** 2))
    gradient = sum(
        np.average(
            np.abs(np.diff(error, axis=axis)),
            weights=np.minimum(np.delete(weight, 0, axis), np.delete(weight, -1, axis)),
        )
        for axis in (1, 2)
    )
    terms = {name: value.item() for name, value in depth_loss(*map(torch.tensor, (error, weight))).items()}
    assert terms["abs_rel"] == pytest.approx(np.mean(abs_rel))
    assert terms["silog"] == pytest.approx(np.mean(silog))
    assert terms["gradient"] == pytest.approx(gradient)
    assert terms["loss"] == pytest.approx(np.mean(abs_rel) + 0.5 * np.mean(silog) + 0.25 * gradient)
