"""What a recipe consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from depth_ros.training.crop import CropSettings
from depth_ros.training.data.source import Source
from depth_ros.training.optimiser import AdamW, OptimiserSettings
from depth_ros.training.schedule import OneCycle, Schedule
from depth_ros.training.supervision import Supervision
from depth_ros.training.supervision.depth import DepthSupervision

OWN_LICENCE = "as the recordings that it was trained on"
"""Licence of a model that learned from recordings of the user alone."""
Value = bool | int | float | str
"""A value of a settings dataclass."""


@dataclass(frozen=True)
class Recipe:
    """Everything that `loop.train` needs.

    name, description, licence, terms: as the card of the model states them. sources: training data. validation:
    data that the model is validated on, no part of the training data. calibration: data of which the factor on
    predicted standard deviations is found at the end, see `std_calibration`; neither training data nor what coverage is
    reported of. command: what the user typed, for the card; empty
    for the recipe by its name. deployed_size: width and height, px, of the images that the model is meant for, where
    the crops are smaller: a whole image at the size of the crops has a smaller scale than any crop. None for the size
    of the crops.
    settings, loss_settings: what differs from the defaults of the family's `Settings` and `LossSettings`.
    learning_rate: the highest of the schedule.
    start_fraction: fraction of the weights of `base_model` in those of the result, which keeps more of what the model
    could do on other images (Wortsman et al., CVPR 2022).
    train_only: start of the names of the parameters that are trained, e.g. network.head; empty for all.
    average_decay: decay of the moving average of the weights. validate_every: steps between validations.

    Initial weights are the family's own, with at most one of
    start_recipe: name of the recipe whose trained weights this one starts from;
    base_model: name or folder of the model that is fine-tuned; its batch norms stay folded into the convolutions, and
    its settings apply where `settings` says nothing else;
    matching_weights_from: a model, perhaps of another family, whose tensors of the same name and shape are used;
    initial_weights: a safetensors file with part of the state dict, such as ImageNet weights of the encoder.
    """

    name: str
    family: str
    crop: CropSettings
    sources: tuple[Source, ...]
    validation: tuple[Source, ...]
    description: str
    licence: str
    terms: str
    calibration: tuple[Source, ...] = ()
    command: str = ""
    supervision: Supervision = field(default_factory=DepthSupervision)
    deployed_size: tuple[int, int] | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    loss_settings: Mapping[str, Value] = field(default_factory=dict)
    start_recipe: str = ""
    base_model: str = ""
    matching_weights_from: str = ""
    initial_weights: str = ""
    steps: int = 3000
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    optimiser: OptimiserSettings = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=OneCycle)
    average_decay: float = 0.995
    validate_every: int = 250
    start_fraction: float = 0.0
    train_only: str = ""
    seed: int = 0

    def with_steps(self, steps: int) -> Recipe:
        """The recipe with another number of steps."""
        return replace(self, steps=steps, validate_every=min(self.validate_every, steps))

    def fine_tuning(self, model: str) -> Recipe:
        """The recipe applied to the weights of a model, given by name or folder."""
        return replace(
            self, name=own_name(self.name), base_model=model, start_recipe="", matching_weights_from=""
        )

    def on_recordings(self, sources: Sequence[Source], validation: Sequence[Source]) -> Recipe:
        """The recipe with other recordings in place of its own ones; its rendered data stays.

        What the card says of data, licence and terms is then of these recordings, and of the initial weights.
        """
        names = ", ".join(Path(source.folder).name for source in sources)
        terms = f"The terms of the recordings that it was trained on apply: {names}."
        held_out = [source for source in validation if source.part == "held_out"]
        inherits = bool(self.start_recipe or self.matching_weights_from)
        return replace(
            self,
            name=own_name(self.name),
            sources=(*sources, *(source for source in self.sources if source.is_rendered)),
            validation=tuple(validation),
            calibration=tuple(replace(source, part="calibration") for source in held_out if self.calibration),
            description=f"{self.description.partition(', trained on ')[0]}, trained on {names}",
            licence=self.licence if inherits else OWN_LICENCE,
            terms=f"{self.terms} {terms}" if inherits else terms,
        )


def own_name(name: str) -> str:
    """The name of a recipe that the user changed."""
    return f"{name.removesuffix('_own')}_own"
