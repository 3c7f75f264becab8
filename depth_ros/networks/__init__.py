"""Families of networks: one module per family; the listing of this folder is the registry.

A module `networks/<family>.py` defines these names (see `Family`):

    TASK                   "depth", "stereo_depth", ...: the contract, below, that `Model` obeys
    NETWORKS               {name: function that builds it}: all networks of the published system
    Settings               frozen dataclass: the options of `Model`, stored in a card as `settings`
    Model                  class of the deployed module: Model(settings)
    loss                   loss(model, batch) -> {"loss": total, and each term by name}; training minimises the total
    initialise             initialise(model): load pretrained weights, or initialise weights, before training

and, where the family needs them:

    MODELS                 {task: class or function of Settings}, if the family has models for several tasks
    build_training_model   build_training_model(settings) -> the module that is trained, if it is not one `Model`: a
                           ModuleDict of the models by task
    join_models            join_models({task: model}) -> the same module of given models
    PRIORS                 names of parameters of that module that online refinement leaves unchanged
    LossSettings           frozen dataclass: options of the loss, loss(model, batch, settings)
    augment                augment(batch, generator) -> batch: augmentation of training data
    finish                 finish(model) -> the model that is deployed, with its `settings`
    forms                  forms() -> ({form: network}, input): equivalent networks for `depth_ros bench --family`
    ablations              ablations() -> {name: network}: what the authors compare with, timed beside the forms
    load_files             load_files(settings, folder) -> settings, completed by further files of a model's folder
    LICENCE_NOTE           terms that are added to the cards of trained models

The contract is the signature of the module that is exported, compiled and run. Images are uint8 RGB, intrinsics
(B, 3, 3) float32 px of the given images, outputs float32:

    depth          image (B, H, W, 3), intrinsics -> depth (B, H, W) along the optical axis or, from models that
                   predict it, (depth, standard deviation (B, H, W)); modules with the attribute `extra_inputs`,
                   names of channels, take these as a third argument (B, C, H, W) float32
    stereo_depth   left, right (B, H, W, 3), rectified -> disparity (B, H, W) px of the left image, or, from families
                   that predict it, (disparity, standard deviation (B, H, W) px)
    ego_motion     images (B, N, H, W, 3), oldest first, intrinsics -> (B, N - 1, 4, 4): pose of the newer camera in
                   the older
    object_motion  images, labels (B, N, H, W) uint8 instance ids (0 = background), intrinsics -> (B, M, 4, 4) of
                   the ids 1 to M, and their depths (B, M) in the image before the newest, in the same unit
    planes         image, intrinsics -> depth (B, H, W), planes (B, P, 4) as unit normal and offset, labels
                   (B, H, W) int32 (-1 = no plane)

Lengths are in metres if the card states scale `metric`; NaN = invalid, inf = farther than the model measures, as the
sky; estimators make both invalid (`Depth.far`). Normalisation, decoding and the use of the focal
length are part of the module. Height and width of the images must be multiples of its attribute `size_multiple`. A
module computes in the precision of its parameters; parts with `keep_float32 = True` are never converted to 16 bits.
`int8 = True`: engines may quantise the model by default, since its metrics were measured that way. `deviations`:
indices of the outputs that are standard deviations. Images and labels are converted before any other operation:
TensorRT accepts uint8 for conversions only.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from torch import Tensor, nn


class Family(Protocol):
    """The module of a family; optional names are not declared here, use hasattr or getattr."""

    TASK: str
    NETWORKS: Mapping[str, Callable[[], nn.Module]]
    Settings: type[Any]
    Model: Callable[..., nn.Module]
    loss: Callable[..., dict[str, Tensor]]
    initialise: Callable[[nn.Module], None]

    def __getattr__(self, name: str) -> Any: ...


def families() -> list[str]:
    """Names of all families, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def family(name: str) -> Family:
    """The module of a family. Raises DepthRosError if there is none of this name."""
    if name not in families():
        raise DepthRosError(f"unknown family '{name}'; available: {', '.join(families())}")
    return cast(Family, importlib.import_module(f"{__name__}.{name}"))


def model_class(name: str, task: str) -> Callable[..., nn.Module]:
    """The function that builds a family's model for a task from its `Settings`. Raises DepthRosError."""
    module = family(name)
    models = getattr(module, "MODELS", None) or {module.TASK: module.Model}
    if task not in models:
        raise DepthRosError(f"family '{name}' has no model for task '{task}'; its tasks: {', '.join(models)}")
    return models[task]


def parameter_counts(name: str) -> dict[str, int]:
    """Number of trainable parameters of each network of a family, without allocating them."""
    import torch

    with torch.device("meta"):
        networks = {key: build() for key, build in family(name).NETWORKS.items()}
    return {
        key: sum(p.numel() for p in network.parameters() if p.requires_grad)
        for key, network in networks.items()
    }
