"""What the families that learn from video share besides geometry: images in, smoothness."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def image_planes(image: Tensor, network: nn.Module, gain: float = 1.0, offset: float = 0.0) -> Tensor:
    """(B, 3, H, W) in the network's precision, gain * image / 255 + offset, of (B, H, W, 3) uint8."""
    x = image.to(next(network.parameters()).dtype).permute(0, 3, 1, 2)
    return x * (gain / 255) + offset


def halved(images: Tensor) -> Tensor:
    """Images (..., C, H, W) at half the size, every pixel the mean of four."""
    small = F.avg_pool2d(images.flatten(0, -4), 2)
    return small.unflatten(0, images.shape[:-3])


def second_differences(values: Tensor) -> Tensor:
    """mean|xx| + 2 mean|xy| + mean|yy| of (B, 1, H, W): zero for every plane in disparity."""
    x, y = values.diff(dim=3), values.diff(dim=2)
    return x.diff(dim=3).abs().mean() + 2 * x.diff(dim=2).abs().mean() + y.diff(dim=2).abs().mean()
