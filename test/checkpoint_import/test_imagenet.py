"""ImageNet weights of ResNet-50: both layouts give the same features as the network that they were trained in."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from depth_ros.checkpoint_import.image_families import fcrn_name
from depth_ros.checkpoint_import.imagenet import CAFFE_MEAN, encoder_state
from depth_ros.errors import DepthRosError
from depth_ros.networks import fcrn
from depth_ros.training.checkpoint import load_initial_weights
from depth_ros.training.recipes import find_recipe

PREFIX = "network.encoder."


def random_encoder() -> fcrn.ResNet50:
    torch.manual_seed(0)
    encoder = fcrn.ResNet50().eval()
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 1.0)
    return encoder


def encoder_with(state: dict[str, torch.Tensor]) -> fcrn.ResNet50:
    encoder = fcrn.ResNet50().eval()
    encoder.load_state_dict({key.removeprefix(PREFIX): value for key, value in state.items()}, strict=False)
    return encoder


def torchvision_variables(encoder: fcrn.ResNet50) -> dict[str, torch.Tensor]:
    """The names of torchvision's ResNet-50, written out here."""
    variables = {"conv1.weight": encoder.conv1.weight, "fc.weight": torch.zeros(1000, 2048)}
    norm = lambda name, module: variables.update({f"{name}.{k}": v for k, v in module.state_dict().items()})  # noqa: E731
    norm("bn1", encoder.bn_conv1)
    for stage in range(2, 6):
        for index, unit in enumerate(getattr(encoder, f"res{stage}")):
            name = f"layer{stage - 1}.{index}"
            for number, letter in enumerate("abc", 1):
                variables[f"{name}.conv{number}.weight"] = getattr(unit, f"branch2{letter}").weight
                norm(f"{name}.bn{number}", getattr(unit, f"bn2{letter}"))
            if unit.project:
                variables[f"{name}.downsample.0.weight"] = unit.branch1.weight
                norm(f"{name}.downsample.1", unit.bn1)
    return {key: value.detach().clone() for key, value in variables.items()}


def inner(features: torch.Tensor) -> torch.Tensor:
    """What no padding at the border of the image reaches."""
    return features[..., 8:-8, 8:-8]


def first_layers(encoder: fcrn.ResNet50, image: torch.Tensor) -> torch.Tensor:
    return inner(F.relu(encoder.bn_conv1(encoder.conv1(image))))


@torch.no_grad()
def test_torchvision_weights_see_the_normalised_image():
    encoder = random_encoder()
    nn.init.zeros_(encoder.conv1.bias)  # torchvision's has none
    variables = torchvision_variables(encoder)
    state = encoder_state("fcrn", variables)
    assert set(state) == {PREFIX + key for key in encoder.state_dict()}
    own = encoder_with(state)
    image = torch.randint(0, 256, (1, 3, 96, 96)).float()
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = first_layers(encoder, (image / 255 - mean) / deviation)
    torch.testing.assert_close(first_layers(own, image), expected, atol=1e-3, rtol=1e-3)
    x = torch.rand(1, 64, 24, 24)
    torch.testing.assert_close(
        own.res4(own.res3(own.res2(x)).clone()), encoder.res4(encoder.res3(encoder.res2(x)))
    )


@torch.no_grad()
def test_caffe_weights_see_bgr_less_the_mean():
    encoder = random_encoder()
    state = {PREFIX + key: value for key, value in encoder.state_dict().items()}
    variables = {fcrn_name(key): value for key, value in state.items() if fcrn_name(key)}
    variables = {
        key: value.permute(2, 3, 1, 0) if value.ndim == 4 else value for key, value in variables.items()
    }
    own = encoder_with(encoder_state("fcrn", variables))
    image = torch.randint(0, 256, (1, 3, 96, 96)).float()
    bgr = (image - CAFFE_MEAN[:, None, None]).flip(1)
    torch.testing.assert_close(first_layers(own, image), first_layers(encoder, bgr), atol=1e-1, rtol=1e-4)
    del variables["res3b_branch2a/weights"]
    with pytest.raises(DepthRosError, match="lacks 'res3b_branch2a/weights'"):
        encoder_state("fcrn", variables)


def test_other_files_and_families_are_refused():
    with pytest.raises(
        DepthRosError, match=r"no ResNet-50 in the layout .* the file has features\.0\.weight"
    ):
        encoder_state("fcrn", {"features.0.weight": torch.zeros(1)})
    with pytest.raises(DepthRosError, match="family 'compact' takes no ImageNet weights"):
        encoder_state("compact", {})


def test_training_starts_from_the_file(tmp_path):
    import dataclasses

    from safetensors.torch import save_file

    bias = torch.full((64,), 7.0)
    save_file({"network.encoder.conv1.bias": bias}, tmp_path / "encoder.safetensors")
    recipe = dataclasses.replace(
        find_recipe("fcrn_indoor"), initial_weights=str(tmp_path / "encoder.safetensors")
    )
    model = fcrn.Model(fcrn.Settings())
    load_initial_weights(model, fcrn, recipe, tmp_path)
    assert torch.equal(model.network.encoder.conv1.bias, bias)
    save_file({"network.encoder.conv1.bias": bias[:3].clone()}, tmp_path / "encoder.safetensors")
    with pytest.raises(DepthRosError, match=r"'network.encoder.conv1.bias' of shape \(3,\) does not fit"):
        load_initial_weights(model, fcrn, recipe, tmp_path)
