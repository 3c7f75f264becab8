"""ImageNet weights of encoders from files: ResNet-50 for FCRN, in the layouts of torchvision and of Caffe; ResNet-18
for struct2depth, see `resnet18_state`.

The files are those that people have: torchvision's resnet50-*.pth, and a .npy of the converter from Caffe to TensorFlow
(He et al., CVPR 2016). FCRN's encoder gets RGB in 0..255 without a mean subtracted (FCRN, released code), so that the
normalisation that the weights were trained with becomes part of the first convolution. The features next to the border
of the image differ, since the padding is now black instead of the mean colour.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from depth_ros.checkpoint_import.image_families import fcrn_name
from depth_ros.checkpoint_import.released_model import Variables
from depth_ros.checkpoint_import.resnet18 import resnet18_state
from depth_ros.errors import DepthRosError
from depth_ros.networks import family

TORCHVISION_MEAN = torch.tensor([0.485, 0.456, 0.406])
TORCHVISION_DEVIATION = torch.tensor([0.229, 0.224, 0.225])
CAFFE_MEAN = torch.tensor([122.67891434, 116.66876762, 104.00698793])
"""Mean grey levels of the ImageNet images, RGB; Caffe's own order is BGR."""


def encoder_state(family_name: str, variables: Variables) -> dict[str, Tensor]:
    """The part of a model's state dict that ImageNet weights give, for `depth_ros train --encoder-weights`.

    Raises DepthRosError if the family has no such encoder, or the variables are of another network.
    """
    if family_name == "struct2depth":
        return resnet18_state(variables)
    if family_name != "fcrn":
        raise DepthRosError(
            f"family '{family_name}' takes no ImageNet weights from a file; fcrn and struct2depth do"
        )
    if "layer1.0.conv1.weight" in variables:
        state = {_fcrn_key(name): value for name, value in variables.items() if not name.startswith("fc.")}
        kernel = variables["conv1.weight"] / (255 * TORCHVISION_DEVIATION[:, None, None])
        state |= _first_layer(kernel, 255 * TORCHVISION_MEAN, torch.zeros(len(kernel)))
    elif "res2a_branch2a/weights" in variables:
        state = _caffe_state(variables)
    else:
        first = ", ".join(list(variables)[:3])
        raise DepthRosError(
            f"no ResNet-50 in the layout of torchvision or of Caffe: the file has {first}, ..."
        )
    return {key: value.float().contiguous() for key, value in state.items() if key}


def _first_layer(kernel: Tensor, mean: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """The first convolution for images in 0..255 from one (64, 3, 7, 7), RGB, for images less `mean` (3,)."""
    return {
        "network.encoder.conv1.weight": kernel,
        "network.encoder.conv1.bias": bias - (kernel.sum((2, 3)) * mean).sum(1),
    }


def _fcrn_key(name: str) -> str:
    """The key of a model of family fcrn for a variable of torchvision's ResNet-50: layer2.3.bn1.weight, ..."""
    unit = re.fullmatch(r"layer(\d)\.(\d)\.(conv|bn|downsample\.)(\d)\.(\w+)", name)
    if unit is None:
        return name.replace("bn1.", "network.encoder.bn_conv1.") if name.startswith("bn1.") else ""
    layer, index, kind, number, leaf = unit.groups()
    prefix = f"network.encoder.res{int(layer) + 1}.{'abcdef'[int(index)]}"
    if kind == "downsample.":
        return f"{prefix}.{'branch1' if number == '0' else 'bn1'}.{leaf}"
    return f"{prefix}.{'branch2' if kind == 'conv' else 'bn2'}{'abc'[int(number) - 1]}.{leaf}"


def _caffe_state(variables: Variables) -> dict[str, Tensor]:
    """State of the encoder from the names that FCRN's authors kept; kernels are (h, w, in, out)."""
    with torch.device("meta"):
        module = family("fcrn")
        keys = [key for key in module.Model(module.Settings()).state_dict() if ".encoder." in key]
    state = {}
    for key in keys:
        name = fcrn_name(key)
        if name and name not in variables and name != "conv1/biases":
            raise DepthRosError(f"the file lacks '{name}' of ResNet-50")
        if name in variables:
            value = variables[name].float()
            state[key] = value.permute(3, 2, 0, 1) if value.ndim == 4 else value
    kernel = state["network.encoder.conv1.weight"].flip(1)  # from BGR
    bias = state.get("network.encoder.conv1.bias", torch.zeros(len(kernel)))
    return state | _first_layer(kernel, CAFFE_MEAN, bias)
