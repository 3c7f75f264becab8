"""Images and smoothness of the families that learn from video."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def image_to_tensor(image: Tensor, network: nn.Module, gain: float = 1.0, offset: float = 0.0) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W), gain * image / 255 + offset, in the precision of the network."""
    x = image.to(next(network.parameters()).dtype).permute(0, 3, 1, 2)
    return x * (gain / 255) + offset


def half_size(images: Tensor) -> Tensor:
    """(..., C, H, W) -> (..., C, H/2, W/2): means of 2x2 pixels."""
    small = F.avg_pool2d(images.flatten(0, -4), 2)
    return small.unflatten(0, images.shape[:-3])


def second_differences(values: Tensor) -> Tensor:
    """mean|xx| + 2 mean|xy| + mean|yy| of second differences of (B, 1, H, W): zero for planes in disparity."""
    x, y = values.diff(dim=3), values.diff(dim=2)
    return x.diff(dim=3).abs().mean() + 2 * x.diff(dim=2).abs().mean() + y.diff(dim=2).abs().mean()
