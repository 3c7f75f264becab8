"""Focal-normalised inverse depth f / Z: what networks predict that are metric for any pinhole camera.

An object of height h covers h * f / Z px, and a ground pixel v rows below the horizon has f / Z = v / camera height.
A network that predicts f / Z, with f in px of its own input, therefore learns nothing that depends on the focal length
(the idea of Facil et al., CAM-Convs, CVPR 2019, in its simplest form).
"""

from __future__ import annotations

import torch
from torch import Tensor

LOG_INVERSE_DEPTH_OFFSET = 3.5
"""ln(f / Z) of a depth of 11 m at f = 370 px. Networks predict the difference from it, which is near zero."""


def mean_focal_length(intrinsics: Tensor) -> Tensor:
    """(B,) geometric mean of fx and fy, px, of intrinsics (B, 3, 3)."""
    return torch.sqrt(intrinsics[:, 0, 0] * intrinsics[:, 1, 1])
