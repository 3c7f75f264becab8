"""Released checkpoints of one family that differ in their training images, which their variables do not tell."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from depth_ros.checkpoint_import.released_model import ReleasedModel
from depth_ros.errors import DepthRosError


@dataclass(frozen=True)
class TrainingData:
    """What differs for one data set. region: see `Card`. settings: of the family."""

    region: tuple[float, ...]
    settings: dict[str, Any] = field(default_factory=dict)


TRAINING_DATA: dict[str, dict[str, TrainingData]] = {
    "cityscapes": {
        "monodepth": TrainingData((0.0, 0.0, 1.0, 0.8), {"baseline": 0.22}),
        "sfmlearner": TrainingData((0.0, 0.0, 1.0, 128 / 171)),
        "struct2depth": TrainingData((192 / 2048, 256 / 1024, 1856 / 2048, 768 / 1024)),
    },
}
"""Data set -> family -> what differs from its default, KITTI. The crops exclude the bonnet: monodepth dropped the lower
fifth of the images, SfMLearner the lower 43 of 171 rows; struct2depth used x 192 to 1856, y 256 to 768."""


def trained_on(data: str, family: str, released: ReleasedModel) -> ReleasedModel:
    """The released model if it was trained on this data set; empty = the family's default.

    Raises DepthRosError if the family has no checkpoint that was trained on it.
    """
    if not data:
        return released
    families = TRAINING_DATA[data]
    if family not in families:
        raise DepthRosError(
            f"no published crop of '{data}' for family '{family}'; families with one: {', '.join(families)}"
        )
    settings = {**released.settings, **families[family].settings}
    return dataclasses.replace(released, region=families[family].region, settings=settings)
