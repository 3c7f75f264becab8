"""Convolutions as the video families need them: with TensorFlow's padding, or with that of their PyTorch port.

    padding     convolution, stride 2             transposed convolution        bilinear, twice the size
    "same"      zeros so that ceil(n / 2) comes   output 2 i + tap               out[2 i] = in[i]
                out, the odd one at the end
    "even"      (kernel - 1) // 2 at both ends    shifted by one pixel           half-pixel centres

The two are the same networks with features displaced by a pixel: weights of one do not suit the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PADDINGS = ("same", "even")


class Conv(nn.Conv2d):
    """Convolution with one of the two paddings: size n becomes ceil(n / stride)."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int,
        stride: int = 1,
        padding: str = "same",
        bias: bool = True,
    ) -> None:
        symmetric = (kernel - 1) // 2 if stride == 1 or padding == "even" else 0
        super().__init__(channels, width, kernel, stride, symmetric, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] > 1 and not self.padding[0]:
            x = pad_same(x, self.kernel_size[0], self.stride[0])
        return super().forward(x)


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """x (B, C, H, W) with what TensorFlow's SAME adds around it for a window of so many px and that stride."""
    sides: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides, value=value)


class UpConv(nn.ConvTranspose2d):
    """Transposed convolution that doubles the size.

    The bias is added afterwards: with it, oneDNN lacks a fast kernel for odd sizes (up to 30 times slower, measured).
    """

    def __init__(
        self, channels: int, width: int, kernel: int = 3, padding: str = "same", bias: bool = True
    ) -> None:
        if padding == "same":
            super().__init__(channels, width, kernel, 2, (kernel - 2) // 2, bias=bias)
        else:
            super().__init__(channels, width, kernel, 2, (kernel - 1) // 2, kernel % 2, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        height, width = 2 * x.shape[2], 2 * x.shape[3]
        padding = (int(self.padding[0]), int(self.padding[1]))
        x = F.conv_transpose2d(x, self.weight, None, self.stride, padding, self.output_padding)
        x = x[:, :, :height, :width]  # "same": one too many at the end
        return x if self.bias is None else x + self.bias.to(x.dtype)[:, None, None]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation with TensorFlow's epsilon.

    scale: whether gamma is learned; it is 1 otherwise. batch_statistics: normalise by the batch at hand even
    in evaluation, as the released models were made for; results then depend on the batch.
    """

    def __init__(self, channels: int, scale: bool = True, batch_statistics: bool = False) -> None:
        super().__init__(channels, eps=1e-3, momentum=0.01)
        self.weight.requires_grad_(scale)
        self.batch_statistics = batch_statistics

    def forward(self, x: Tensor) -> Tensor:
        if self.batch_statistics and not self.training:
            return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        return super().forward(x)


class Layer(nn.Module):
    """(Transposed) convolution `conv`, perhaps a `norm`, then ReLU."""

    def __init__(self, conv: nn.Module, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return F.relu(x if self.norm is None else self.norm(x))


class Layers:
    """Makes the layers of one network, all with the same padding and normalisation.

    norm: None, or (channels) -> module; convolutions before it have no bias. narrow: divisor of the published widths.
    """

    def __init__(
        self, padding: str = "same", norm: str = "", batch_statistics: bool = False, narrow: int = 1
    ) -> None:
        self.padding, self.norm, self.batch_statistics = padding, norm, batch_statistics
        self.narrow = narrow

    def widths(self, *published: int) -> tuple[int, ...]:
        """How wide layers of the published widths are."""
        return tuple(width // self.narrow for width in published)

    def conv(self, channels: int, width: int, kernel: int = 3, stride: int = 1) -> Layer:
        return Layer(Conv(channels, width, kernel, stride, self.padding, not self.norm), self._norm(width))

    def up(self, channels: int, width: int, kernel: int = 3) -> Layer:
        return Layer(UpConv(channels, width, kernel, self.padding, not self.norm), self._norm(width))

    def head(self, channels: int, width: int, kernel: int = 3) -> Conv:
        """A prediction: no normalisation, no ReLU."""
        return Conv(channels, width, kernel, 1, self.padding)

    def double(self, x: Tensor) -> Tensor:
        """Twice the height and width, bilinear."""
        if self.padding == "even":
            return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        height, width = x.shape[2:]
        padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
        size = (2 * height + 1, 2 * width + 1)
        return F.interpolate(padded, size=size, mode="bilinear", align_corners=True)[:, :, :-1, :-1]

    def _norm(self, width: int) -> BatchNorm | None:
        return BatchNorm(width, self.norm == "scaled", self.batch_statistics) if self.norm else None


def like(x: Tensor, other: Tensor) -> Tensor:
    """x (B, C, H, W) cut at the end to the height and width of `other`."""
    return x[:, :, : other.shape[2], : other.shape[3]]


def initialise(network: nn.Module) -> None:
    """The published start: Xavier-uniform kernels, no bias."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def disparity_of(logits: Tensor) -> Tensor:
    """The inverse depth that the heads of all three video families mean: 10 sigmoid + 0.01, never 0."""
    return 10 * torch.sigmoid(logits.float()) + 0.01
