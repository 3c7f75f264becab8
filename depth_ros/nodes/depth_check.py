"""Check of published depth images: successive ones without a valid pixel, and why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depth_ros.estimators.filters import no_depth_reason

MIN_FRAMES = 5
"""Successive depth images without a valid pixel before a warning."""


class DepthCheck:
    """Passes to `warn` why successive depth images have no valid pixel."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn, self._frames = warn, 0

    def check(self, estimated: np.ndarray, published: np.ndarray, max_depth: float) -> None:
        """Check one image (H, W), m, before and after the filters."""
        self._frames = 0 if np.isfinite(published).any() else self._frames + 1
        if self._frames >= MIN_FRAMES:
            self._warn(no_depth_reason(estimated, max_depth))
