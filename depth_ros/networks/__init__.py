"""The families: one file each, and the listing of this folder is the registry.

Every file `networks/<family>.py` holds these names, and nothing else of it is used outside:

    TASK        "depth", "stereo_depth", ...: the row of the contract that `Model` obeys
    MODELS      optional: {task: class taking Settings}, where a family serves several tasks; else {TASK: Model}
    NETWORKS    {name: function that builds it}: every network of the published system, for counting and tests
    Settings    frozen dataclass: the options of `Model`, stored in a card under `settings`
    Model       nn.Module: Model(settings)(image, intrinsics) obeys the contract below
    loss        loss(model, batch) -> {"loss": total, and every term by name}: what training minimises
    initialise  initialise(model): loads pretrained parts before training, or does nothing
    finish      optional: finish(model) -> the model that is deployed, its `settings` with it
    forms       optional: forms() -> ({form: network}, input): equivalent networks for `depth_ros bench --family`
    augment     optional: augment(batch, generator) -> batch, where a family needs its own

The contract, which is what is exported, compiled and run by everything else: forward(inputs) -> outputs,
images uint8 RGB, intrinsics (B, 3, 3) float32 px of the images as given, outputs float32:

    depth          image (B, H, W, 3), intrinsics -> depth (B, H, W) along the optical axis
    stereo_depth   left, right (B, H, W, 3), rectified -> disparity (B, H, W) px of the left image; a family that
                   estimates it returns (disparity, standard deviation (B, H, W) px)
    ego_motion     images (B, N, H, W, 3), oldest first, intrinsics -> (B, N - 1, 4, 4): the newer camera expressed
                   in the older
    object_motion  images, labels (B, N, H, W) uint8 instance ids (0 = background), intrinsics -> (B, M, 4, 4) of
                   the ids 1 .. M, and their depths (B, M) in the image before the newest, in the same unit
    planes         image, intrinsics -> depth (B, H, W), planes (B, P, 4) as unit normal and offset, labels
                   (B, H, W) int32 (-1 = no plane)

Lengths are metres where the card says `metric`; NaN = unknown. Normalisation, decoding and the use of the focal
length are inside. Sizes are multiples of `size_multiple`, an attribute of the model. A model computes in the
precision of its parameters; a part with `keep_float32 = True` is never lowered to 16 bits. A model with `int8 = True`
may compute in integers without being asked to: its figures were measured that way. Images and labels are converted
before anything else is done with them: TensorRT takes uint8 for nothing but a conversion.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from torch import nn


def families() -> list[str]:
    """The names of all families, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def family(name: str) -> ModuleType:
    """The module of one family. Raises DepthRosError naming the known ones."""
    if name not in families():
        raise DepthRosError(f"unknown family '{name}'; known are {', '.join(families())}")
    return importlib.import_module(f"{__name__}.{name}")


def model_class(name: str, task: str) -> Callable[..., nn.Module]:
    """What builds a family's model for a task from its `Settings`. DepthRosError names the tasks it has."""
    module = family(name)
    models = getattr(module, "MODELS", None) or {module.TASK: module.Model}
    if task not in models:
        raise DepthRosError(f"family '{name}' has no model for task '{task}'; it has {', '.join(models)}")
    return models[task]


def parameter_counts(name: str) -> dict[str, int]:
    """Trainable parameters of each network of a family, counted without allocating them."""
    import torch

    with torch.device("meta"):
        networks = {key: build() for key, build in family(name).NETWORKS.items()}
    return {
        key: sum(p.numel() for p in network.parameters() if p.requires_grad)
        for key, network in networks.items()
    }
