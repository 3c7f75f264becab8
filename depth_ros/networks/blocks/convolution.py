"""Convolution, upsampling and precision of layers, as several families use them."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional as F

Layer = TypeVar("Layer", bound=nn.Module)


def conv_bn_relu(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and with kernel // 2 zeros on all sides, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def upsample_nearest(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2 H, 2 W) by repeating pixels."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def keep_float32(layer: Layer) -> Layer:
    """Mark a layer whose weights no engine converts to 16 bits (see depth_ros.networks); returns the layer."""
    layer.keep_float32 = True  # type: ignore[assignment]
    return layer


def apply_in_own_precision(layer: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """`layer(x)` with x converted to the data type of the layer's weights, which may be `keep_float32`."""
    return layer(x.to(layer.weight.dtype))
