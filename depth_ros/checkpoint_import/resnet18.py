"""ImageNet weights of ResNet-18 for the encoder of struct2depth, from torchvision's file or that of its authors.

The authors started from a TensorFlow checkpoint whose variables are named as their own, with mu and sigma, a variance,
for the statistics of batch norms. torchvision's shortcuts have batch norms, ours have none: these become part of the
convolution and of the batch norm that it is added to. Both are equal to the network that they were trained in, except
that convolutions of stride 2 are padded as in TensorFlow.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from depth_ros.checkpoint_import.released_model import Variables
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.resnet18_depthnet import Encoder

PLACES = ("depth.network.encoder", "object_motion.depth.network.encoder")
"""The encoder in the state of the models that are trained together: one module in two places."""
EPSILON, OWN_EPSILON = 1e-5, 1e-3
"""Of the batch norms of torchvision, and of ours."""
_TF_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "mu", "running_var": "sigma"}


def resnet18_state(variables: Variables) -> dict[str, Tensor]:
    """The part of the state of struct2depth's training model that a ResNet-18 gives.

    Raises DepthRosError if the variables are of another network.
    """
    if "layer4.1.conv2.weight" in variables and "layer1.0.conv3.weight" not in variables:
        state = _torchvision_state(variables)
    elif "conv2_1/conv_1/kernel" in variables:
        state = _tensorflow_state(variables)
    else:
        first = ", ".join(list(variables)[:3])
        raise DepthRosError(
            f"no ResNet-18 of torchvision or of struct2depth's authors: the file has {first}, ..."
        )
    return {
        f"{place}.{key}": value.float().contiguous().clone()
        for key, value in state.items()
        for place in PLACES
    }


def _keys() -> list[str]:
    """The keys of the encoder's state that files contain."""
    with torch.device("meta"):
        return [key for key in Encoder().state_dict() if "num_batches" not in key]


def _torchvision_state(variables: Variables) -> dict[str, Tensor]:
    state = {key: variables[torchvision_name(key)].float() for key in _keys()}
    for key in [key for key in state if key.endswith("running_var")]:
        norm = key.removesuffix(".running_var")
        state[f"{norm}.weight"] = (
            state[f"{norm}.weight"] * ((state[key] + OWN_EPSILON) / (state[key] + EPSILON)).sqrt()
        )
    for key in [key for key in state if key.endswith("shortcut.weight")]:
        block = key.removesuffix(".shortcut.weight")
        norm = torchvision_name(key).replace("0.weight", "1")
        gain = variables[f"{norm}.weight"] / (variables[f"{norm}.running_var"] + EPSILON).sqrt()
        state[key] = state[key] * gain[:, None, None, None]
        shift = variables[f"{norm}.bias"] - gain * variables[f"{norm}.running_mean"]
        state[f"{block}.bn_2.bias"] = state[f"{block}.bn_2.bias"] + shift
    return state


def torchvision_name(key: str) -> str:
    """torchvision's name of a key of the encoder: conv3_1.bn_2.bias is layer2.0.bn2.bias."""
    block = re.fullmatch(r"conv(\d)_(\d)\.(conv_|bn_|shortcut)(\d?)\.(\w+)", key)
    if block is None:
        return key
    stage, unit, kind, number, leaf = block.groups()
    part = "downsample.0" if kind == "shortcut" else kind.rstrip("_") + number
    return f"layer{int(stage) - 1}.{int(unit) - 1}.{part}.{leaf}"


def _tensorflow_state(variables: Variables) -> dict[str, Tensor]:
    state = {}
    for key in _keys():
        path, leaf = key.rsplit(".", 1)
        path = {"conv1": "conv1/conv", "bn1": "conv1/bn"}.get(path, path.replace(".", "/"))
        name = f"{path}/{_TF_NORM[leaf] if '/bn' in path else 'kernel'}"
        if name not in variables:
            raise DepthRosError(f"the file lacks '{name}' of ResNet-18")
        value = variables[name].float()
        state[key] = value.permute(3, 2, 0, 1) if value.ndim == 4 else value
    return state
