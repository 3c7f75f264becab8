"""Cost volume: its operators equal their definitions."""

from __future__ import annotations

import pytest
import torch

from depth_ros.networks.blocks.cost_volume import (
    WINDOW,
    convex_upsample,
    correlation,
    soft_argmin,
    with_neighbours,
)


def test_correlation_is_the_cosine_similarity_of_shifted_pixels():
    torch.manual_seed(0)
    left, right = torch.randn(2, 2, 8, 3, 20)
    volume = correlation(left, right, steps=6, groups=2).view(2, 6, 2, 3, 20)
    for d in range(6):
        for group in range(2):
            a, b = (x[:, 4 * group : 4 * group + 4] for x in (left, right))
            cosine = torch.cosine_similarity(a[..., d:], b[..., : 20 - d], dim=1)
            assert torch.allclose(volume[:, d, group, :, d:], cosine, atol=1e-5)
            assert not volume[:, d, group, :, :d].any()  # outside of the right image


def test_convolution_with_neighbours_equals_a_3d_convolution():
    torch.manual_seed(0)
    volume = torch.randn(1, 4, 6, 5, 7)  # (B, C, D, H, W)
    layer = torch.nn.Conv3d(4, 3, 3, padding=1, stride=2, bias=False)
    flat = volume.transpose(1, 2).reshape(6, 4, 5, 7)
    kernel = layer.weight.permute(0, 2, 1, 3, 4).reshape(3, 12, 3, 3)
    output = torch.nn.functional.conv2d(with_neighbours(flat, 6, 2), kernel, stride=2, padding=1)
    assert torch.allclose(output.view(1, 3, 3, 3, 4).transpose(1, 2), layer(volume), atol=1e-5)


def test_convex_upsampling_stays_in_range_and_keeps_constants():
    coarse = torch.rand(1, 3, 4) * 50
    fine = convex_upsample(coarse, torch.randn(1, 144, 3, 4))
    assert fine.shape == (1, 12, 16)
    assert fine.min() >= coarse.min() - 1e-4 and fine.max() <= coarse.max() + 1e-4
    constant = convex_upsample(torch.full((1, 3, 4), 7.0), torch.randn(1, 144, 3, 4))
    assert torch.allclose(constant, torch.tensor(7.0))


def test_soft_argmin_averages_around_the_best_step_only():
    logits = torch.full((1, 12, 1, 1), -20.0)
    logits[0, 7], logits[0, 8], logits[0, 2] = 2.0, 2.0, 1.9  # the peak at 2 is outside of the window
    coarse, evidence = soft_argmin(logits, torch.zeros_like(logits))
    assert coarse.item() == pytest.approx(7.5, abs=1e-3)
    assert evidence.shape == (1, 4 * WINDOW + 4, 1, 1)
