"""Description of one model that a released checkpoint contains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from depth_ros.networks.blocks.fit import WHOLE

Variables = Mapping[str, Tensor]
"""The variables of a checkpoint by name."""


@dataclass(frozen=True)
class ReleasedModel:
    """One model that a checkpoint contains.

    settings: of the family. variable_name: name of the checkpoint's variable for a key of the model's state dict; ""
    where there is none and the initial value of the model is right. size: width and height, px, of the training images.
    fit, region: how images were brought to this size, as in `Card`. notes: what the user should know.
    settings_variables: names of the variables from which settings were derived.
    """

    task: str
    settings: dict[str, Any]
    variable_name: Callable[[str], str]
    size: tuple[int, int] = (416, 128)
    fit: str = "stretch"
    region: tuple[float, ...] = WHOLE
    frames: int = 1
    scale: str = "up_to_scale"
    terms: str = ""
    notes: list[str] = field(default_factory=list)
    settings_variables: list[str] = field(default_factory=list)
