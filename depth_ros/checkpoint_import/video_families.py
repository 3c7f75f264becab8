"""Variables of the released checkpoints of the families that learn from video.

TensorFlow names end in weights and biases (slim) or kernel, gamma, beta, ... (tf.layers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from depth_ros.checkpoint_import.released_model import ReleasedModel, Variables

LEAVES = {
    "conv.weight": "weights", "conv.bias": "biases", "weight": "weights", "bias": "biases",
    "norm.weight": "", "norm.bias": "BatchNorm/beta",
    "norm.running_mean": "BatchNorm/moving_mean", "norm.running_var": "BatchNorm/moving_variance",
}  # fmt: skip
"""End of a key of the state dict -> slim's name; batch norms have no gamma."""
_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_POSE_SCOPES = {"cnv6": "pose/", "cnv7": "pose/", "pred": "pose/", "upcnv": "exp/", "mask": "exp/"}


def slim(scope: str) -> Callable[[str], str]:
    """Names of DispNet and PoseNet below a scope: network.cnv1.conv.weight is scope/cnv1/weights."""

    def variable_name(key: str) -> str:
        _, layer, leaf = key.split(".", 2)
        group = next((group for start, group in _POSE_SCOPES.items() if layer.startswith(start)), "")
        inner = group if "pose" in scope.split("/")[-1] else ""
        return f"{scope}/{inner}{layer}/{LEAVES[leaf]}" if LEAVES[leaf] else ""

    return variable_name


def sfmlearner(variables: Variables) -> list[ReleasedModel]:
    """Models under the scopes of the original code, or from the state dicts of the PyTorch port."""
    models = []
    if "depth_net/cnv1/weights" in variables:
        models.append(ReleasedModel("depth", {"padding": "same"}, slim("depth_net")))
    if "pose_exp_net/cnv1/weights" in variables:
        frames = variables["pose_exp_net/cnv1/weights"].shape[2] // 3
        explain = "pose_exp_net/exp/mask1/weights" in variables
        settings = {"padding": "same", "frames": frames, "explain": explain}
        models.append(ReleasedModel("ego_motion", settings, slim("pose_exp_net"), frames=frames))
    if "predict_disp1.0.weight" in variables:
        models.append(ReleasedModel("depth", {"padding": "even"}, _port_name))
    if "pose_pred.weight" in variables:
        frames = variables["conv1.0.weight"].shape[1] // 3
        explain = "predict_mask1.weight" in variables
        settings = {"padding": "even", "frames": frames, "explain": explain}
        models.append(ReleasedModel("ego_motion", settings, _port_name, frames=frames))
    return models


def _port_name(key: str) -> str:
    """Names of the PyTorch port: network.cnv1b.conv.weight is conv1.2.weight."""
    _, layer, leaf = key.split(".", 2)
    leaf = leaf.removeprefix("conv.")
    if layer == "pred":
        return f"pose_pred.{leaf}"
    if layer.startswith("mask"):
        return f"predict_mask{layer[4:]}.{leaf}"
    if layer.startswith("disp"):
        return f"predict_disp{layer[4:]}.0.{leaf}"
    second = 2 if layer.endswith("b") else 0
    return f"{layer.removesuffix('b').replace('cnv', 'conv')}.{second}.{leaf}"


def vid2depth(variables: Variables) -> list[ReleasedModel]:
    """Models under the scopes of the released code."""
    models = []
    settings = {"padding": "same", "batch_statistics": True}
    if "depth_prediction/depth_net/cnv1/weights" in variables:
        models.append(ReleasedModel("depth", settings, slim("depth_prediction/depth_net")))
    if "pose_exp_net/cnv1/weights" in variables:
        frames = variables["pose_exp_net/cnv1/weights"].shape[2] // 3
        settings = {**settings, "frames": frames}
        models.append(ReleasedModel("ego_motion", settings, slim("pose_exp_net"), frames=frames))
    return models


def struct2depth(variables: Variables) -> list[ReleasedModel]:
    """Models under the scopes of the released code; older files lack the prefix of the ego-motion network."""
    models = []
    simple = "depth_prediction/depth_net/cnv1/weights" in variables
    settings: dict[str, Any] = {
        "architecture": "simple" if simple else "resnet",
        "batch_statistics": not simple,
    }
    depth = slim("depth_prediction/depth_net") if simple else _resnet18_name
    ego_motion = slim("egomotion_prediction/pose_exp_net")
    if "pose_exp_net/cnv1/weights" in variables:
        ego_motion = slim("pose_exp_net")
    object_motion = slim("objectmotion_prediction/pose_exp_net")
    has_depth = simple or "depth_prediction/conv1/conv/kernel" in variables
    has_ego_motion = ego_motion("network.cnv1.conv.weight") in variables
    if has_depth:
        models.append(ReleasedModel("depth", settings, depth))
    if has_ego_motion:
        models.append(ReleasedModel("ego_motion", settings, ego_motion, frames=3))
    if has_depth and has_ego_motion and object_motion("network.cnv1.conv.weight") in variables:

        def variable_name(key: str) -> str:
            part, _, rest = key.partition(".")
            if key == "height":
                return "global_scale_var" if "global_scale_var" in variables else ""
            if part == "network":
                return object_motion(key)
            return {"depth": depth, "ego_motion": ego_motion}[part](rest)

        models.append(ReleasedModel("object_motion", settings, variable_name, frames=3))
    return models


def _resnet18_name(key: str) -> str:
    """network.encoder.conv2_1.bn_1.bias is depth_prediction/conv2_1/bn_1/beta; the decoder has slim's names."""
    path, leaf = key.removeprefix("network.").rsplit(".", 1)
    if not path.startswith("encoder."):
        return f"depth_prediction/{path}/{LEAVES[leaf]}"
    path = path.removeprefix("encoder.").replace(".", "/")
    path = {"conv1": "conv1/conv", "bn1": "conv1/bn"}.get(path, path)
    return f"depth_prediction/{path}/{_BATCH_NORM[leaf] if '/bn' in path else 'kernel'}"
