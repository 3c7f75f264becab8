"""State of PlaneNet's released TensorFlow network for a model of family planenet."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from depth_ros.errors import DepthRosError
from depth_ros.networks.planenet import Model

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def released_name(key: str) -> str:
    """The variable of the released checkpoint for a key of the state dict of a `resnet101` model.

    network.res.4b7.branch2a.conv.weight is res4b7_branch2a/weights, the gamma of its batch norm bn4b7_branch2a/gamma;
    the stem is below degridding/, the CRF below crfrnn/.
    """
    _, *path, last = key.split(".")
    if key.startswith("crf."):
        return f"crfrnn/{last}"
    norm = path[-1] == "bn"
    variable = _NORM[last] if norm else {"weight": "weights", "bias": "biases"}[last]
    if path[0] == "res":
        return f"{'bn' if norm else 'res'}{path[1]}_{path[2]}/{variable}"
    if path[0] == "pools":
        return f"res5d_pool{int(path[1]) + 1}_{path[2]}/{variable}"
    if path[0] == "segmentation_conv1":
        return f"segmentation_{'bn1' if norm else 'conv1'}/{variable}"
    if path[0] in ("conv1", "conv2", "conv3"):
        layer = path[0][-1] + (path[1] if path[0] != "conv1" else "")
        scope = f"bn{layer}" if norm else {"2c": "conv2_c"}.get(layer, f"conv{layer}")
        return f"degridding/{scope}/{variable}"
    return f"{path[0]}/{variable}"


def released_state(model: Model, variables: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """State dict of a `resnet101` model from the variables of the released checkpoint, by name.

    Kernels are transposed from (kh, kw, in, out) to (out, in, kh, kw) and from (in, out) to (out, in). The CRF was
    trained with messages from every pixel (`crf_stride` 1). Raises DepthRosError naming the first variable that is
    missing or has another shape.
    """
    state = {}
    for key, own in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            state[key] = own
            continue
        name = released_name(key)
        if name not in variables:
            raise DepthRosError(
                f"the checkpoint lacks '{name}'; use the checkpoint of PlaneNet's hybrid model, which includes the CRF"
            )
        value = torch.from_numpy(np.array(variables[name]))
        if value.ndim == 4:
            value = value.permute(3, 2, 0, 1)
        elif value.ndim == 2 and not key.startswith("crf."):
            value = value.T
        if value.shape != own.shape:
            raise DepthRosError(
                f"'{name}' has shape {tuple(variables[name].shape)}, which does not fit '{key}' "
                f"of shape {tuple(own.shape)}"
            )
        state[key] = value.contiguous()
    return state
