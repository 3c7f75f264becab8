"""Supervised loss of depth from one image, on errors of its logarithm."""

from __future__ import annotations

import torch
from torch import Tensor


def depth_loss(error: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Terms of the loss by name, and their weighted sum `loss`.

    error: (B, H, W), ln(Z true / Z predicted), finite everywhere. weight: (B, H, W), of each pixel, 0 where it is
    invalid. The terms are:
    abs_rel: weighted mean of |Z predicted / Z true - 1|, the metric that is reported (minimising |error| alone makes
    depth 1.5 % too large). silog: per image sqrt(mean error^2 - 0.85 mean(error)^2) (Eigen et al., NIPS 2014, in the
    form of Lee et al. 2019). gradient: mean |difference of the error between neighbours|, which keeps edges (Li and
    Snavely, CVPR 2018).
    """
    relative = torch.expm1(-error.clamp(min=-2.0)).abs()
    total = weight.sum((1, 2)).clamp(min=1.0)
    mean = (weight * error).sum((1, 2)) / total
    square = (weight * error.square()).sum((1, 2)) / total
    terms = {
        "abs_rel": ((weight * relative).sum((1, 2)) / total).mean(),
        "silog": torch.sqrt((square - 0.85 * mean.square()).clamp(min=1e-6)).mean(),
        "gradient": _mean_difference(error, weight, 1) + _mean_difference(error, weight, 2),
    }
    terms["loss"] = terms["abs_rel"] + 0.5 * terms["silog"] + 0.25 * terms["gradient"]
    return terms


def _mean_difference(error: Tensor, weight: Tensor, dim: int) -> Tensor:
    """Weighted mean of |difference of neighbours| along `dim`; a pair has the smaller of its two weights."""
    size = error.shape[dim] - 1
    step = (error.narrow(dim, 1, size) - error.narrow(dim, 0, size)).abs()
    both = torch.minimum(weight.narrow(dim, 1, size), weight.narrow(dim, 0, size))
    return (both * step).sum() / both.sum().clamp(min=1.0)
