"""Which models a checkpoint of a family contains, and under which names: one function per family."""

from __future__ import annotations

from collections.abc import Callable

from depth_ros.checkpoint_import import image_families, video_families
from depth_ros.checkpoint_import.planenet import planenet
from depth_ros.checkpoint_import.released_model import ReleasedModel, Variables
from depth_ros.errors import DepthRosError

_FAMILIES: dict[str, Callable[[Variables], list[ReleasedModel]]] = {
    "sfmlearner": video_families.sfmlearner,
    "vid2depth": video_families.vid2depth,
    "struct2depth": video_families.struct2depth,
    "monodepth": image_families.monodepth,
    "fcrn": image_families.fcrn,
    "mannequin": image_families.mannequin,
    "planenet": planenet,
}
_OPTIMIZER_SLOTS = (
    "Adam",
    "Adam_1",
    "Momentum",
    "global_step",
    "beta1_power",
    "beta2_power",
    "num_batches_tracked",
)


def importable_families() -> list[str]:
    """Families whose released checkpoints can be imported."""
    return list(_FAMILIES)


def released_models(family: str, variables: Variables) -> list[ReleasedModel]:
    """The models of a family that a checkpoint contains; empty if it is not a checkpoint of this family.

    Raises DepthRosError for a family without released checkpoints.
    """
    if family not in _FAMILIES:
        raise DepthRosError(
            f"checkpoints of family '{family}' cannot be imported; supported families: {', '.join(_FAMILIES)}"
        )
    return _FAMILIES[family](variables)


def is_optimizer_slot(name: str) -> bool:
    """Whether a variable belongs to the optimiser or is a counter, so that no model needs it."""
    return name.replace(".", "/").rsplit("/", 1)[-1] in _OPTIMIZER_SLOTS or name.startswith(
        ("train_op/beta", "beta1_power", "beta2_power")
    )
