"""Sources of training data: recorded folders, rendered scenes and generated stereo pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RENDERED_PREFIX = "world:"
"""First part of `Source.folder` for data of the built-in renderer."""
GENERATED_PAIRS = "world:pairs"


@dataclass(frozen=True)
class Source:
    """One source of training data.

    folder: a recorded folder below the data folder; "world:street" or "world:room" for `count` rendered scenes; or
    "world:pairs" for `count` generated stereo pairs per epoch, new ones in every epoch.
    part: "training" leaves out the held-out samples (see `recordings.split`), "all" uses every sample.
    right_view: also learn from the right image. stereo_weight: loss weight of depth from semi-global matching where
    there is no ground truth; 0 disables it. frames: length of a rendered clip. rate: frame rate of a rendered clip,
    Hz; 0 for the renderer's default. repeat: how often each example occurs per epoch.
    """

    folder: str
    part: Literal["training", "all"] = "training"
    right_view: bool = False
    stereo_weight: float = 0.0
    count: int = 0
    frames: int = 5
    rate: float = 0.0
    repeat: int = 1

    @property
    def is_rendered(self) -> bool:
        """Whether the built-in renderer makes the data, so that no folder is needed."""
        return self.folder.startswith(RENDERED_PREFIX)

    @property
    def scene_kind(self) -> str:
        """Kind of rendered scene: "street" or "room"."""
        return self.folder.removeprefix(RENDERED_PREFIX)

    @property
    def description(self) -> str:
        """One line for the card of a model that learned from this source."""
        if self.folder == GENERATED_PAIRS:
            return f"{self.count} generated stereo pairs per epoch, new in every epoch (exact disparity)"
        if self.is_rendered:
            return f"{self.count} {self.scene_kind} scenes of the built-in renderer (exact depth)"
        parts = ["all frames" if self.part == "all" else "without the held-out part"]
        if self.right_view:
            parts.append("both views")
        if self.stereo_weight:
            parts.append(
                f"semi-global stereo matches, weight {self.stereo_weight}, where there is no ground truth"
            )
        return f"{self.folder}: {', '.join(parts)}"
