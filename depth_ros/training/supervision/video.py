"""Video supervision: clips of one moving camera without ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from torch import nn

from depth_ros.training.augmentation import random_clip_crop
from depth_ros.training.clip_validation import validate_clips
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.clip import Clip, ClipSettings
from depth_ros.training.data.clips import load_held_out_clips, load_training_clips
from depth_ros.training.data.items import EvenSelection, Items
from depth_ros.training.data.source import DataFolders, Source


@dataclass(frozen=True)
class VideoSupervision:
    """Learn depth and motion up to scale from video alone. clips: which clips are used."""

    clips: ClipSettings = field(default_factory=ClipSettings)
    scale: ClassVar[str] = "up_to_scale"
    evaluation_task: ClassVar[str] = "depth"

    @property
    def frames(self) -> int:
        return self.clips.frames

    def load_training_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> Items[Clip]:
        return load_training_clips(sources, crop, self.clips, folders)

    def load_held_out_data(
        self, sources: Sequence[Source], crop: CropSettings, folders: DataFolders
    ) -> dict[str, EvenSelection[Clip]]:
        return load_held_out_clips(sources, crop, self.clips, folders)

    def crop_item(self, item: Clip, crop: CropSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return random_clip_crop(item, crop, rng)

    def validate(
        self, model: nn.Module, held_out: dict[str, EvenSelection[Clip]], crop: CropSettings
    ) -> dict[str, float]:
        assert isinstance(model, nn.ModuleDict), "families that learn from video train one model per task"
        return validate_clips(model, held_out, crop)

    def mean_inverse_depth(self, items: Items[Clip]) -> None:
        """None: training has no depth."""
