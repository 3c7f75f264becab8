"""Check of published depth images: successive ones without a valid pixel, and why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.estimators.filters import FilterSettings, no_depth_reason

MIN_FRAMES = 5
"""Successive depth images without a valid pixel before a warning."""


class DepthCheck:
    """Passes to `warn` why successive depth images have no valid pixel."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn, self._frames = warn, 0

    def check(self, estimated: Depth, kept: Depth, settings: FilterSettings) -> None:
        """Check one image before and after the filters."""
        if settings.min_confidence and estimated.std is None:
            self._warn("min_confidence has no effect: the model gives no standard deviations")
        self._frames = 0 if np.isfinite(kept.depth).any() else self._frames + 1
        if self._frames >= MIN_FRAMES:
            self._warn(no_depth_reason(estimated.depth, settings))
