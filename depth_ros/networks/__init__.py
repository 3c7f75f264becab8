"""The families: one file each, and the listing of this folder is the registry.

Every file `networks/<family>.py` holds these names, and nothing else of it is used outside:

    TASK        "depth", "stereo_depth", ...: the row of the contract that `Model` obeys
    NETWORKS    {name: function that builds it}: every network of the published system, for counting and tests
    Settings    frozen dataclass: the options of `Model`, stored in a card under `settings`
    Model       nn.Module: Model(settings)(image, intrinsics) obeys the contract below
    loss        loss(model, batch) -> {"loss": total, and every term by name}: what training minimises
    initialise  initialise(model): loads pretrained parts before training, or does nothing
    finish      optional: finish(model) -> the model that is deployed, its `settings` with it
    augment     optional: augment(batch, generator) -> batch, where a family needs its own

The contract of a depth model, which is what is exported, compiled and run by everything else:

    forward(image (B, H, W, 3) uint8 RGB, intrinsics (B, 3, 3) float32 px) -> depth (B, H, W) float32

m along the optical axis, NaN = unknown. Normalisation, decoding and the use of the focal length are
inside. `intrinsics` belongs to `image` as given. Sizes are multiples of `size_multiple`, an attribute of the
model. A model computes in the precision of its parameters; a part with `keep_float32 = True` is never lowered.
A `stereo_depth` model takes (left, right) and returns the disparity of the left image in px.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from depth_ros.errors import DepthRosError


def families() -> list[str]:
    """The names of all families, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def family(name: str) -> ModuleType:
    """The module of one family. Raises DepthRosError naming the known ones."""
    if name not in families():
        raise DepthRosError(f"unknown family '{name}'; known are {', '.join(families())}")
    return importlib.import_module(f"{__name__}.{name}")


def parameter_counts(name: str) -> dict[str, int]:
    """Trainable parameters of each network of a family, counted without allocating them."""
    import torch

    with torch.device("meta"):
        networks = {key: build() for key, build in family(name).NETWORKS.items()}
    return {
        key: sum(p.numel() for p in network.parameters() if p.requires_grad)
        for key, network in networks.items()
    }
