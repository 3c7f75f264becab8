"""Horizontal sampling between the views of a rectified pair."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def sample_horizontal(image: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """`image` sampled at x + offset * W in the row of each pixel, with linear interpolation.

    image: (B, C, H, W). offset: (B, 1, H, W), fractions of the width. Outside the image there are zeros: a sample fades
    out over one pixel and has no gradient beyond that. With d the disparity of the left view, `sample_horizontal(right,
    -d)` is the left view. Source: Godard et al., CVPR 2017, section 3.3 (the sampler of
    Jaderberg et al., NIPS 2015, in one dimension).
    """
    channels, width = image.shape[1], image.shape[3]
    columns = torch.arange(1, width + 1, dtype=offset.dtype, device=offset.device)  # in the padded image
    x = (columns + offset * width).clamp(0, width + 1)
    x_left = x.floor().clamp(max=width)
    right_weight = x - x_left
    index = x_left.long().expand(-1, channels, -1, -1)
    padded = F.pad(image, (1, 1))
    return padded.gather(3, index) * (1 - right_weight) + padded.gather(3, index + 1) * right_weight
