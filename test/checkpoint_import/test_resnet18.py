"""ImageNet weights of ResNet-18: both layouts give the features of the network that they were trained in."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from depth_ros.checkpoint_import.imagenet import encoder_state
from depth_ros.errors import DepthRosError
from depth_ros.networks import struct2depth
from depth_ros.networks.blocks.resnet18_depthnet import Encoder
from depth_ros.training.checkpoint import load_initial_weights
from depth_ros.training.recipes import find_recipe

STAGES = ((1, 64, 64), (2, 64, 128), (3, 128, 256), (4, 256, 512))
PLACE = "depth.network.encoder."


def torchvision_variables() -> dict[str, torch.Tensor]:
    """Names and shapes of torchvision's ResNet-18, random."""
    torch.manual_seed(0)
    variables = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}

    def add(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        variables[f"{conv}.weight"] = torch.randn(shape) * (2 / (shape[1] * shape[2] ** 2)) ** 0.5
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            variables[f"{norm}.{leaf}"] = torch.rand(shape[0]) * 0.5 + (0.5 if leaf != "bias" else -0.25)

    add("conv1", "bn1", (64, 3, 7, 7))
    for layer, i, o in STAGES:
        for unit in (0, 1):
            name = f"layer{layer}.{unit}"
            add(f"{name}.conv1", f"{name}.bn1", (o, i if unit == 0 else o, 3, 3))
            add(f"{name}.conv2", f"{name}.bn2", (o, o, 3, 3))
            if unit == 0 and layer > 1:
                add(f"{name}.downsample.0", f"{name}.downsample.1", (o, i, 1, 1))
    return variables


def same(x: torch.Tensor, kernel: int, stride: int, value: float = 0.0) -> torch.Tensor:
    """Padding of TensorFlow for even sizes: the odd pixel at the end."""
    total = max(kernel - stride, 0)
    return F.pad(x, (total // 2, total - total // 2) * 2, value=value)


def features(v: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    """The stages of ResNet-18 with the variables of torchvision, written here."""

    def conv(name: str, norm: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = v[f"{name}.weight"]
        x = F.conv2d(same(x, weight.shape[2], stride), weight, stride=stride)
        return F.batch_norm(
            x,
            v[f"{norm}.running_mean"],
            v[f"{norm}.running_var"],
            v[f"{norm}.weight"],
            v[f"{norm}.bias"],
            eps=1e-5,
        )

    maps = [F.relu(conv("conv1", "bn1", x, 2))]
    x = F.max_pool2d(same(maps[0], 3, 2), 3, 2)
    for layer, _, _ in STAGES:
        for unit in (0, 1):
            name, stride = f"layer{layer}.{unit}", 2 if unit == 0 and layer > 1 else 1
            inner = F.relu(conv(f"{name}.conv1", f"{name}.bn1", x, stride))
            inner = conv(f"{name}.conv2", f"{name}.bn2", inner)
            shortcut = conv(f"{name}.downsample.0", f"{name}.downsample.1", x, stride) if stride == 2 else x
            x = F.relu(inner + shortcut)
        maps.append(x)
    return maps


def loaded(state: dict[str, torch.Tensor]) -> Encoder:
    encoder = Encoder().eval()
    own = {key.removeprefix(PLACE): value for key, value in state.items() if key.startswith(PLACE)}
    missing = encoder.load_state_dict(own, strict=False).missing_keys
    assert all("num_batches" in key for key in missing)
    return encoder


def test_features_are_those_of_torchvision_with_the_padding_of_tensorflow():
    variables = torchvision_variables()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        found = loaded(encoder_state("struct2depth", variables))(x)
        for map_, expected in zip(found, features(variables, x), strict=True):
            torch.testing.assert_close(map_, expected, rtol=2e-4, atol=2e-4)


def test_variables_of_the_authors_file_are_placed_by_their_names():
    variables, expected = {}, Encoder().eval()
    torch.nn.init.normal_(expected.conv3_1.bn_2.running_mean)
    torch.nn.init.uniform_(expected.bn1.running_var)
    leaves = {"weight": "gamma", "bias": "beta", "running_mean": "mu", "running_var": "sigma"}
    for key, value in expected.state_dict().items():
        path, leaf = key.rsplit(".", 1)
        if leaf == "num_batches_tracked":
            continue
        scope = {"conv1": "conv1/conv", "bn1": "conv1/bn"}.get(path, path.replace(".", "/"))
        variables[f"{scope}/{'kernel' if value.ndim == 4 else leaves[leaf]}"] = (
            value.permute(2, 3, 1, 0) if value.ndim == 4 else value
        )
    assert {"conv1/bn/sigma", "conv3_1/shortcut/kernel", "conv2_1/conv_1/kernel"} <= set(variables)
    found = loaded(encoder_state("struct2depth", variables))
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)


def test_training_starts_with_the_given_encoder(tmp_path):
    state = encoder_state("struct2depth", torchvision_variables())
    save_file(state, tmp_path / "encoder.safetensors")
    recipe = find_recipe("struct2depth_street_start")
    recipe = recipe.__class__(**{**vars(recipe), "initial_weights": str(tmp_path / "encoder.safetensors")})
    models = struct2depth.build_training_model(struct2depth.Settings())
    load_initial_weights(models, struct2depth, recipe, tmp_path)
    kernel = models["depth"].network.encoder.conv2_1.conv_1.weight
    assert torch.equal(kernel, state[PLACE + "conv2_1.conv_1.weight"])
    assert kernel is models["object_motion"].depth.network.encoder.conv2_1.conv_1.weight


def test_other_networks_are_rejected():
    with pytest.raises(DepthRosError, match="no ResNet-18"):
        encoder_state("struct2depth", {"features.0.weight": torch.zeros(1)})
    with pytest.raises(DepthRosError, match="fcrn and struct2depth do"):
        encoder_state("vid2depth", {})
