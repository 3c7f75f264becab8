"""Check of published depth images: successive ones without a valid pixel, and what several of them make doubtful."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.estimators.depth_doubts import DepthDoubts, Floor
from depth_ros.estimators.filters import FilterSettings, no_depth_reason
from depth_ros.nodes.inputs.transforms import Transforms

MIN_FRAMES = 5
"""Successive depth images without a valid pixel before a warning."""
FLOOR_FRAME = "base_footprint"
"""Name of the frame that is on the floor by convention (REP-120), with or without a prefix that ends with a slash."""


class DepthCheck:
    """Passes to `warn` what is wrong or doubtful about successive depth images. values: for diagnostics.

    The place of the floor is that of `FLOOR_FRAME` if it is above the camera in /tf_static, otherwise of `base_frame`.
    """

    def __init__(self, transforms: Transforms, warn: Callable[[str], None]) -> None:
        self._transforms, self._warn, self._frames = transforms, warn, 0
        self._doubts = DepthDoubts()

    @property
    def values(self) -> dict[str, object]:
        """Key-value pairs of the status."""
        return self._doubts.values

    def reset(self) -> None:
        """Forget earlier images: the next ones are those of another model."""
        self._doubts.reset()

    def check(self, estimated: Depth, kept: Depth, settings: FilterSettings, model: str) -> None:
        """Check one image before and after the filters."""
        if settings.min_confidence and estimated.std is None:
            self._warn("min_confidence has no effect: the model gives no standard deviations")
        self._frames = 0 if np.isfinite(kept.depth).any() else self._frames + 1
        if self._frames >= MIN_FRAMES:
            self._warn(no_depth_reason(estimated.depth, settings))
        # not the stamps, which some drivers do not set
        if self._doubts.is_due(now := time.monotonic()):
            self._doubts.measure(now, estimated, kept, self._floor(kept, settings.base_frame))
        for text in self._doubts.texts(f"model '{model}'", is_stereo=estimated.baseline > 0).values():
            self._warn(text)

    def _floor(self, depth: Depth, base_frame: str) -> Floor | None:
        static, frame = self._transforms.static, depth.frame_id
        above = next((each for each in static.ancestors(frame) if each.endswith(FLOOR_FRAME)), base_frame)
        T = self._transforms.between(above, frame, depth.stamp) if above else None
        return None if T is None else Floor(above, T)
