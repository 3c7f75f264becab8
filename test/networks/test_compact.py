"""Family compact: depth with and without a standard deviation."""

from __future__ import annotations

import pytest
import torch

from depth_ros.networks import compact

INTRINSICS = torch.tensor([[[80.0, 0.0, 63.5], [0.0, 80.0, 31.5], [0.0, 0.0, 1.0]]])


def model(**settings: bool | float) -> compact.Model:
    torch.manual_seed(0)
    return compact.Model(compact.Settings(**settings)).eval()  # type: ignore[arg-type]


def image() -> torch.Tensor:
    return torch.randint(
        0, 255, (1, 64, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


@torch.inference_mode()
def test_weights_without_standard_deviation_start_one_that_predicts_it() -> None:
    """Depth stays the same, and the standard deviation starts at exp(LOG_STD_OFFSET) of it everywhere."""
    without, with_std = model(), model(std=True)
    with_std.load_state_dict(without.state_dict())
    depth, std = with_std(image(), INTRINSICS)
    torch.testing.assert_close(depth, without(image(), INTRINSICS))
    torch.testing.assert_close(std, depth * torch.tensor(compact.LOG_STD_OFFSET).exp())
    assert (without.deviations, with_std.deviations) == ((), (1,))


@torch.inference_mode()
def test_standard_deviation_is_scaled_by_its_calibration_and_invalid_with_depth() -> None:
    plain = model(std=True)
    scaled = model(std=True, std_scale=2.0, max_depth=float(plain(image(), INTRINSICS)[0].median()))
    scaled.load_state_dict(plain.state_dict())
    (_, std), (near, doubled) = plain(image(), INTRINSICS), scaled(image(), INTRINSICS)
    valid = torch.isfinite(near)
    assert 0.3 < valid.float().mean() < 0.7 and torch.equal(valid, torch.isfinite(doubled))
    torch.testing.assert_close(doubled[valid], 2 * std[valid])


def test_training_of_the_standard_deviation_covers_68_percent_and_leaves_depth_alone() -> None:
    """With errors of a relative Laplace distribution, the optimum of the std term covers 68 % of them."""
    error = torch.distributions.Laplace(0.0, 0.1).sample((1, 64, 128)).requires_grad_()
    log_std = torch.full((1, 64, 128), -1.0, requires_grad=True)
    optimiser = torch.optim.Adam([log_std], 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        compact._pinball(
            error.detach(), log_std.mean().expand(1, 64, 128), torch.ones(1, 64, 128)
        ).mean().backward()
        optimiser.step()
    within = (torch.expm1(error).abs() <= log_std.mean().exp()).float().mean().item()
    assert within == pytest.approx(0.68, abs=0.03)
    network = model(std=True)
    batch = {
        "image": image(), "intrinsics": INTRINSICS, "depth": torch.full((1, 64, 128), 3.0),
        "weight": torch.ones(1, 64, 128),
    }  # fmt: skip
    terms = compact.loss(network, batch, compact.LossSettings(std_only=True))
    assert terms["loss"] is terms["std"]
    terms["loss"].backward()
    gradient = network.network.head.weight.grad
    assert gradient is not None and not gradient[:4].any() and gradient[4:].any()
