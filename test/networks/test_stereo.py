"""The stereo family: its operators against numbers, its contract, its losses, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_ros.errors import DepthRosError
from depth_ros.networks import compact, stereo


def test_correlation_is_the_cosine_of_shifted_pixels():
    torch.manual_seed(0)
    left, right = torch.randn(2, 2, 8, 3, 20)
    found = stereo.correlation(left, right, steps=6, groups=2).view(2, 6, 2, 3, 20)
    for d in range(6):
        for group in range(2):
            a, b = (x[:, 4 * group : 4 * group + 4] for x in (left, right))
            cosine = torch.cosine_similarity(a[..., d:], b[..., : 20 - d], dim=1)
            assert torch.allclose(found[:, d, group, :, d:], cosine, atol=1e-5)
            assert not found[:, d, group, :, :d].any()  # outside of the right image


def test_neighbours_are_a_three_dimensional_convolution():
    torch.manual_seed(0)
    volume = torch.randn(1, 4, 6, 5, 7)  # (B, C, D, H, W)
    layer = torch.nn.Conv3d(4, 3, 3, padding=1, stride=2, bias=False)
    flat = volume.transpose(1, 2).reshape(6, 4, 5, 7)
    kernel = layer.weight.permute(0, 2, 1, 3, 4).reshape(3, 12, 3, 3)
    found = torch.nn.functional.conv2d(stereo.neighbours(flat, 6, 2), kernel, stride=2, padding=1)
    assert torch.allclose(found.view(1, 3, 3, 3, 4).transpose(1, 2), layer(volume), atol=1e-5)


def test_upsampling_is_convex_and_keeps_constants():
    coarse = torch.rand(1, 3, 4) * 50
    fine = stereo.upsample(coarse, torch.randn(1, 144, 3, 4))
    assert fine.shape == (1, 12, 16)
    assert fine.min() >= coarse.min() - 1e-4 and fine.max() <= coarse.max() + 1e-4
    assert torch.allclose(
        stereo.upsample(torch.full((1, 3, 4), 7.0), torch.randn(1, 144, 3, 4)), torch.tensor(7.0)
    )


def test_the_best_step_is_read_with_its_neighbours():
    logits = torch.full((1, 12, 1, 1), -20.0)
    logits[0, 7], logits[0, 8], logits[0, 2] = 2.0, 2.0, 1.9  # another peak far away has no part in it
    coarse, evidence = stereo.read(logits, torch.zeros_like(logits))
    assert coarse.item() == pytest.approx(7.5, abs=1e-3)
    assert evidence.shape == (1, 4 * stereo.WINDOW + 4, 1, 1)


@pytest.fixture(scope="module")
def model() -> stereo.Model:
    torch.manual_seed(0)
    return stereo.Model(stereo.Settings()).eval()


def images(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.randint(0, 255, (2, 1, height, width, 3), dtype=torch.uint8))


@pytest.mark.parametrize("disparity_range", [32, 96, 192])
def test_every_range_runs_on_the_same_weights(model: stereo.Model, disparity_range: int):
    other = stereo.Model(stereo.Settings(disparity_range=disparity_range)).eval()
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        disparity, std = other(*images(64, 128))
    assert disparity.shape == std.shape == (1, 64, 128) and disparity.dtype == torch.float32
    assert disparity.min() >= 0 and disparity.max() < disparity_range + 8 and (std > 0).all()


def test_a_range_that_cannot_be_halved_often_enough_is_refused():
    with pytest.raises(DepthRosError, match="'disparity_range' is 100 px; it must be a multiple of 32"):
        stereo.Model(stereo.Settings(disparity_range=100))


def test_no_more_than_ten_megabytes(model: stereo.Model):
    assert 2 * sum(p.numel() for p in model.parameters()) < 10e6  # stored as bfloat16


def test_folding_changes_nothing_but_the_rounding(model: stereo.Model):
    folded = stereo.finish(model)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    torch.manual_seed(1)
    pair = images(64, 96)
    with torch.inference_mode():
        a, b = model.outputs(*pair)["logits"], folded.outputs(*pair)["logits"]
    assert (a - b).abs().mean() < 0.05 * a.abs().mean()


def test_volume_loss_is_least_where_the_truth_is():
    truth = torch.full((1, 8, 8), 10.0)  # 2.5 steps
    known = torch.ones_like(truth, dtype=torch.bool)

    def loss_of(*steps: int) -> float:
        logits = torch.full((1, 8, 2, 2), -5.0)
        logits[:, list(steps)] = 5.0
        return stereo.volume_loss(logits, truth, known).item()

    assert loss_of(2, 3) == pytest.approx(np.log(2), abs=1e-3) and loss_of(5) > 5
    assert stereo.volume_loss(torch.zeros(1, 8, 2, 2), truth, ~known).item() == 0.0


def test_the_standard_deviation_learns_the_quantile():
    """Pinball loss on ln |error| is least at the 68 % quantile of |error|, for any kind of errors."""
    error = torch.from_numpy(np.random.default_rng(0).exponential(2.0, 20000)).float()
    log_std = torch.linspace(-2, 3, 501)
    excess = torch.log(error[:, None] + 0.01) - log_std
    loss = torch.maximum(stereo.QUANTILE * excess, (stereo.QUANTILE - 1) * excess).mean(0)
    best = torch.exp(log_std[loss.argmin()]).item()
    assert (error <= best).float().mean().item() == pytest.approx(0.68, abs=0.01)


def test_a_step_learns():
    torch.manual_seed(0)
    model = stereo.Model(stereo.Settings(disparity_range=32)).train()
    texture = torch.randint(0, 255, (1, 32, 112, 3), dtype=torch.uint8)
    batch = {
        "image": texture[:, :, 8:104].contiguous(),
        "right": texture[:, :, 16:112].contiguous(),
        "disparity": torch.full((1, 32, 96), 8.0),
    }
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(6):
        terms = stereo.loss(model, batch)
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
        losses.append(terms["volume"].item())
    assert losses[-1] < 0.7 * losses[0]
    fixed = model.network.features.encoder.stages[0]
    assert all(p.grad is None for p in fixed.parameters()) and not fixed.training


def test_depthwise_convolutions_are_the_same_in_training():
    layer = compact.Depthwise(4, 3, 1)
    x = torch.randn(1, 4, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trained = layer.train()(x.bfloat16())
    assert trained.dtype == torch.float32
    assert torch.allclose(trained, layer.eval()(x), atol=0.05)
