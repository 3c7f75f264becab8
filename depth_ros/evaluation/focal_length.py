"""What the rule for the focal length of a model is worth: its depth without that rule.

A network that learned metres with one camera, or for a canonical one, measures in units of that camera. Its card may
say by which focal length depth is corrected for the camera at hand (see docs/onnx.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_ros.card import Card
from depth_ros.datatypes import Depth
from depth_ros.networks.blocks.fit import Fit


@dataclass(frozen=True)
class FocalLengthRule:
    """Depth is multiplied by the focal length over `canonical`, both in px of the network's input, or, if `in_widths`,
    in widths of it. fit: how the network gets images."""

    canonical: float
    in_widths: bool
    fit: Fit

    @staticmethod
    def of(card: Card) -> FocalLengthRule | None:
        """The rule of a model; None if it has none."""
        canonical = card.settings.get("canonical_focal_length", 0.0)
        in_widths = card.settings.get("canonical_unit", "px") == "width"
        return FocalLengthRule(canonical, in_widths, card.input_fit) if canonical else None

    def undone(self, depth: Depth) -> np.ndarray:
        """Depth (H, W) m as the network computed it, before the rule was applied."""
        camera, view = depth.camera, self.fit.view(depth.camera.width, depth.camera.height)
        sx, sy = view.scale
        focal_length = float(np.sqrt(camera.K[0, 0] * sx * camera.K[1, 1] * sy))
        unit = self.canonical * (view.input_width if self.in_widths else 1.0)
        return depth.depth * np.float32(unit / focal_length)
