"""Optimisers: the steps of torch.optim, on weights with channels last."""

import copy

import pytest
import torch
from torch import nn

from depth_ros.training.optimiser import Adam, AdamW, Sgd, build_optimiser


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 3), nn.Conv2d(4, 1, 1)
    )
    layers[1].weight.requires_grad_(False)
    return layers.to(memory_format=torch.channels_last)


KINDS = {
    "adamw": (AdamW(0.8), lambda p: torch.optim.AdamW(p, 1e-2, (0.8, 0.999), weight_decay=0.1)),
    "adam": (Adam(0.8, 0.99), lambda p: torch.optim.Adam(p, 1e-2, (0.8, 0.99), weight_decay=0.1)),
    "sgd": (Sgd(0.7), lambda p: torch.optim.SGD(p, 1e-2, 0.7, weight_decay=0.1)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_its_steps_are_those_of_torch(kind):
    ours, theirs = network(), network()
    settings, build = KINDS[kind]
    first = build_optimiser(settings, ours.parameters(), 1e-2, 0.1)
    second = build([p for p in theirs.parameters() if p.requires_grad])
    for step in range(3):
        images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(step))
        for model, optimiser in ((ours, first), (theirs, second)):
            model.zero_grad()
            model(images).square().mean().backward()
            optimiser.step()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert ours[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_saved_state_continues_the_same_steps():
    model, images = network(), torch.rand(2, 3, 16, 16)
    optimiser = build_optimiser(AdamW(), model.parameters(), 1e-2, 0.0)
    model(images).square().mean().backward()
    optimiser.step()
    other = network()
    other.load_state_dict(model.state_dict())
    again = build_optimiser(AdamW(), other.parameters(), 1e-2, 0.0)
    again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for each, stepping in ((model, optimiser), (other, again)):
        each.zero_grad()
        each(images).square().mean().backward()
        stepping.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
