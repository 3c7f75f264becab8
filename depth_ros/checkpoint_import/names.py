"""What the released checkpoints of each family hold, and the names under which they hold it.

`parts(family, variables)` looks at what is there and says which models can be made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from depth_ros.errors import DepthRosError
from depth_ros.networks import family as family_module
from depth_ros.networks import fcrn, mannequin, monodepth

Variables = Mapping[str, Tensor]


@dataclass(frozen=True)
class Part:
    """One model that a checkpoint holds.

    theirs: the checkpoint's name of an entry of the model's state; "" where it has none and the model's own value
    is right. size: width and height, px, that it was trained at. facts: variables that settings were taken from.
    """

    task: str
    settings: dict[str, Any]
    theirs: Callable[[str], str]
    size: tuple[int, int] = (416, 128)
    frames: int = 1
    scale: str = "up_to_scale"
    terms: str = ""
    notes: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)


def parts(family: str, variables: Variables) -> list[Part]:
    """The models that a checkpoint of a family holds; none where it is of something else.

    Raises DepthRosError for families whose checkpoints are not known.
    """
    if family not in _FAMILIES:
        raise DepthRosError(
            f"no checkpoints of family '{family}' are known; known are {', '.join(_FAMILIES)}"
        )
    return _FAMILIES[family](variables)


# TensorFlow: weights and biases of slim, kernels and gammas of tf.layers
_LEAVES = {
    "conv.weight": "weights", "conv.bias": "biases", "weight": "weights", "bias": "biases",
    "norm.weight": "", "norm.bias": "BatchNorm/beta",
    "norm.running_mean": "BatchNorm/moving_mean", "norm.running_var": "BatchNorm/moving_variance",
}  # fmt: skip
_BN = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_POSE = {"cnv6": "pose/", "cnv7": "pose/", "pred": "pose/", "upcnv": "exp/", "mask": "exp/"}


def slim(scope: str) -> Callable[[str], str]:
    """Names of DispNet and PoseNet below a scope, as `network.cnv1.conv.weight` = scope/cnv1/weights."""

    def theirs(key: str) -> str:
        _, layer, leaf = key.split(".", 2)
        group = next((group for start, group in _POSE.items() if layer.startswith(start)), "")
        inner = group if "pose" in scope.split("/")[-1] else ""
        return f"{scope}/{inner}{layer}/{_LEAVES[leaf]}" if _LEAVES[leaf] else ""

    return theirs


def _sfmlearner(variables: Variables) -> list[Part]:
    """The original's scopes, or the state of the PyTorch port's networks."""
    found = []
    if "depth_net/cnv1/weights" in variables:
        found.append(Part("depth", {"padding": "same"}, slim("depth_net")))
    if "pose_exp_net/cnv1/weights" in variables:
        frames = variables["pose_exp_net/cnv1/weights"].shape[2] // 3
        explain = "pose_exp_net/exp/mask1/weights" in variables
        settings = {"padding": "same", "frames": frames, "explain": explain}
        found.append(Part("ego_motion", settings, slim("pose_exp_net"), frames=frames))
    if "predict_disp1.0.weight" in variables:
        found.append(Part("depth", {"padding": "even"}, _port))
    if "pose_pred.weight" in variables:
        frames = variables["conv1.0.weight"].shape[1] // 3
        explain = "predict_mask1.weight" in variables
        settings = {"padding": "even", "frames": frames, "explain": explain}
        found.append(Part("ego_motion", settings, _port, frames=frames))
    return found


def _port(key: str) -> str:
    """The PyTorch port: `network.cnv1b.conv.weight` = conv1.2.weight."""
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


def _vid2depth(variables: Variables) -> list[Part]:
    found = []
    settings = {"padding": "same", "batch_statistics": True}
    if "depth_prediction/depth_net/cnv1/weights" in variables:
        found.append(Part("depth", settings, slim("depth_prediction/depth_net")))
    if "pose_exp_net/cnv1/weights" in variables:
        frames = variables["pose_exp_net/cnv1/weights"].shape[2] // 3
        settings = {**settings, "frames": frames}
        found.append(Part("ego_motion", settings, slim("pose_exp_net"), frames=frames))
    return found


def _struct2depth(variables: Variables) -> list[Part]:
    """Older files lack the prefix of the motion network."""
    found = []
    simple = "depth_prediction/depth_net/cnv1/weights" in variables
    settings: dict[str, Any] = {
        "architecture": "simple" if simple else "resnet",
        "batch_statistics": not simple,
    }
    depth = slim("depth_prediction/depth_net") if simple else _resnet18
    ego = slim("egomotion_prediction/pose_exp_net")
    if "pose_exp_net/cnv1/weights" in variables:
        ego = slim("pose_exp_net")
    objects = slim("objectmotion_prediction/pose_exp_net")
    has_depth = simple or "depth_prediction/conv1/conv/kernel" in variables
    has_ego = ego("network.cnv1.conv.weight") in variables
    if has_depth:
        found.append(Part("depth", settings, depth))
    if has_ego:
        found.append(Part("ego_motion", settings, ego, frames=3))
    if has_depth and has_ego and objects("network.cnv1.conv.weight") in variables:

        def theirs(key: str) -> str:
            owner, _, rest = key.partition(".")
            if key == "height":
                return "global_scale_var" if "global_scale_var" in variables else ""
            return {"depth": depth, "ego_motion": ego}[owner](rest) if owner != "network" else objects(key)

        found.append(Part("object_motion", settings, theirs, frames=3))
    return found


def _resnet18(key: str) -> str:
    """`network.encoder.conv2_1.bn_1.bias` = depth_prediction/conv2_1/bn_1/beta; the decoder is slim's."""
    path, leaf = key.removeprefix("network.").rsplit(".", 1)
    if not path.startswith("encoder."):
        return f"depth_prediction/{path}/{_LEAVES[leaf]}"
    path = path.removeprefix("encoder.").replace(".", "/")
    path = {"conv1": "conv1/conv", "bn1": "conv1/bn"}.get(path, path)
    return f"depth_prediction/{path}/{_BN[leaf] if '/bn' in path else 'kernel'}"


def _monodepth(variables: Variables) -> list[Part]:
    """Layers were numbered by slim in the order in which the graph was built, which is ours."""
    first = "model/encoder/Conv/weights"
    if first not in variables:
        return []
    encoder = "resnet50" if "model/encoder/Conv_64/weights" in variables else "vgg"
    stereo = variables[first].shape[2] == 6
    network = family_module("monodepth").NETWORKS["vgg_stereo" if stereo else encoder]
    order: dict[str, str] = {}
    for side in ("encoder", "decoder"):
        convs = [
            name
            for name, m in network().named_modules()
            if name.startswith(side) and isinstance(m, nn.Conv2d)
        ]
        order |= {name: f"model/{side}/Conv" + (f"_{i}" if i else "") for i, name in enumerate(convs)}

    def theirs(key: str) -> str:
        path, leaf = key.removeprefix("network.").rsplit(".", 1)
        return f"{order[path]}/{_LEAVES[leaf]}"

    settings = {"encoder": encoder, "stereo": stereo}
    task = "stereo_depth" if stereo else "depth"
    note = "metric for a rig with a baseline of 0.54 m (KITTI); set `baseline` in the card for another"
    return [
        Part(task, settings, theirs, (512, 256), scale="metric", terms=monodepth.LICENCE_NOTE, notes=[note])
    ]


def _fcrn(variables: Variables) -> list[Part]:
    """Trained interleaved (NYU), the four kernels have biases of their own; converted from 5x5 (Make3D), one.

    On which side of a map the odd zero is, a .mat file says itself.
    """
    if "layer2x_br1_ConvA/weights" not in variables:
        return []
    A, D = (variables[f"layer2x_br1_Conv{name}/biases"] for name in "AD")
    trained = not torch.equal(A, D)
    pads = [name for name in variables if name.endswith("/pad")]
    rows = variables["layer2x_br1_ConvB/pad"] if pads else None
    before = trained if rows is None else bool(rows[0] > rows[1])
    settings = {
        "zeros": "before" if before else "after",
        "stretched": True,
        "focal": 259.0 if trained else 300.0,
    }
    note = "the focal length that Make3D was taken with is not known: correct `focal` in the card if you know better"
    size = (304, 228) if trained else (172, 230)
    notes = [] if trained else [note]
    return [Part("depth", settings, fcrn.released_name, size, scale="metric", notes=notes, facts=pads)]


def _mannequin(variables: Variables) -> list[Part]:
    inputs = mannequin.released_inputs(variables)
    names = {"inputs": inputs}
    return [Part("depth", names, lambda key: key.removeprefix("network."), (512, 288))] if inputs else []


_FAMILIES: dict[str, Callable[[Variables], list[Part]]] = {
    "sfmlearner": _sfmlearner,
    "vid2depth": _vid2depth,
    "struct2depth": _struct2depth,
    "monodepth": _monodepth,
    "fcrn": _fcrn,
    "mannequin": _mannequin,
}


def is_slot(name: str) -> bool:
    """Whether a variable is the optimiser's, or a counter: nothing that a model has."""
    return name.rsplit("/", 1)[-1] in _SLOTS or name.startswith(
        ("train_op/beta", "beta1_power", "beta2_power")
    )


_SLOTS: Collection[str] = (
    "Adam",
    "Adam_1",
    "Momentum",
    "global_step",
    "beta1_power",
    "beta2_power",
    "num_batches_tracked",
)
