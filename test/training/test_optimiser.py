"""The optimiser: the steps of torch.optim.AdamW, on weights with channels last."""

import copy

import torch
from torch import nn

from depth_ros.training.optimiser import AdamW


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 3), nn.Conv2d(4, 1, 1)
    )
    layers[1].weight.requires_grad_(False)
    return layers.to(memory_format=torch.channels_last)


def test_its_steps_are_those_of_torch():
    ours, theirs = network(), network()
    first = AdamW(ours.parameters(), 1e-2, 0.1)
    second = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    for step in range(3):
        images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(step))
        for model, optimiser in ((ours, first), (theirs, second)):
            optimiser.zero_grad()
            model(images).square().mean().backward()
            optimiser.step()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert ours[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_zero_grad_clears_the_gradients_of_the_model():
    model = network()
    optimiser = AdamW(model.parameters(), 1e-2, 0.0)
    model(torch.ones(1, 3, 16, 16)).sum().backward()
    optimiser.step()
    optimiser.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_saved_state_continues_the_same_steps():
    model, images = network(), torch.rand(2, 3, 16, 16)
    optimiser = AdamW(model.parameters(), 1e-2, 0.0)
    model(images).square().mean().backward()
    optimiser.step()
    other = network()
    other.load_state_dict(model.state_dict())
    again = AdamW(other.parameters(), 1e-2, 0.0)
    again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for each, stepping in ((model, optimiser), (other, again)):
        stepping.zero_grad()
        each(images).square().mean().backward()
        stepping.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
