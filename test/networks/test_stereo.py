"""Family stereo: contract, loss and training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_ros.errors import DepthRosError
from depth_ros.networks import stereo


@pytest.fixture(scope="module")
def model() -> stereo.Model:
    torch.manual_seed(0)
    return stereo.Model(stereo.Settings()).eval()


def images(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.randint(0, 255, (2, 1, height, width, 3), dtype=torch.uint8))


@pytest.mark.parametrize("disparity_range", [32, 96, 192])
def test_every_disparity_range_works_with_the_same_weights(model: stereo.Model, disparity_range: int):
    other = stereo.Model(stereo.Settings(disparity_range=disparity_range)).eval()
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        disparity, std = other(*images(64, 128))
    assert disparity.shape == std.shape == (1, 64, 128) and disparity.dtype == torch.float32
    assert disparity.min() >= 0 and disparity.max() < disparity_range + 8 and (std > 0).all()


def test_a_disparity_range_that_is_no_multiple_of_32_is_rejected():
    with pytest.raises(DepthRosError, match="'disparity_range' is 100 px; it must be a multiple of 32"):
        stereo.Model(stereo.Settings(disparity_range=100))


def test_weights_take_less_than_ten_megabytes(model: stereo.Model):
    assert 2 * sum(p.numel() for p in model.parameters()) < 10e6  # stored as bfloat16


def test_folding_changes_the_outputs_by_rounding_only(model: stereo.Model):
    folded = stereo.finish(model)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    torch.manual_seed(1)
    pair = images(64, 96)
    with torch.inference_mode():
        a, b = model.outputs(*pair)["logits"], folded.outputs(*pair)["logits"]
    assert (a - b).abs().mean() < 0.05 * a.abs().mean()


def test_volume_loss_is_least_at_the_true_steps():
    ground_truth = torch.full((1, 8, 8), 10.0)  # 2.5 steps
    valid = torch.ones_like(ground_truth, dtype=torch.bool)

    def loss_of(*steps: int) -> float:
        logits = torch.full((1, 8, 2, 2), -5.0)
        logits[:, list(steps)] = 5.0
        return stereo.volume_loss(logits, ground_truth, valid).item()

    assert loss_of(2, 3) == pytest.approx(np.log(2), abs=1e-3) and loss_of(5) > 5
    assert stereo.volume_loss(torch.zeros(1, 8, 2, 2), ground_truth, ~valid).item() == 0.0


def test_pinball_loss_is_least_at_the_68_percent_quantile():
    """The minimum of the pinball loss of ln |error| is the 68 % quantile of |error|, for any distribution."""
    error = torch.from_numpy(np.random.default_rng(0).exponential(2.0, 20000)).float()
    log_std = torch.linspace(-2, 3, 501)
    excess = torch.log(error[:, None] + 0.01) - log_std
    loss = torch.maximum(stereo.QUANTILE * excess, (stereo.QUANTILE - 1) * excess).mean(0)
    best = torch.exp(log_std[loss.argmin()]).item()
    assert (error <= best).float().mean().item() == pytest.approx(0.68, abs=0.01)


def test_a_few_steps_reduce_the_loss_and_leave_fixed_layers_alone():
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
