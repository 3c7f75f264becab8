"""Layers of the families that learn from video, with the padding of TensorFlow or that of their PyTorch port.

    padding     convolution, stride 2              transposed convolution       bilinear, twice the size
    "same"      zeros for an output of ceil(n/2),  input i adds to 2 i + tap    out[2 i] = in[i]
                the odd one at the end
    "even"      (kernel - 1) // 2 at both ends     the same, shifted by 1 px    half-pixel centres

The networks are the same, but their features are displaced by a pixel: weights of one padding do not fit the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PADDINGS = ("same", "even")


class Conv(nn.Conv2d):
    """Convolution with one of the two paddings: (B, C, n, m) -> (B, width, ceil(n / stride), ceil(m / stride))."""

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
    """x (B, C, H, W) padded as by TensorFlow's SAME for a window of `kernel` px and a stride."""
    sides: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides, value=value)


class UpConv(nn.ConvTranspose2d):
    """Transposed convolution that doubles height and width.

    The bias is added afterwards: oneDNN has no fast kernel with bias for odd sizes (measured: up to 30 times slower).
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
        x = x[:, :, :height, :width]  # "same" computes one row and column too many at the end
        return x if self.bias is None else x + self.bias.to(x.dtype)[:, None, None]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation with TensorFlow's epsilon.

    scale: learn gamma; otherwise it is 1. batch_statistics: use the statistics of the current batch in evaluation too,
    as the released models need; the result for an image then depends on its batch.
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
    """A convolution or transposed convolution, an optional batch norm, then ReLU."""

    def __init__(self, conv: nn.Module, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return F.relu(x if self.norm is None else self.norm(x))


class Layers:
    """Factory for the layers of one network, all with the same padding and normalisation.

    norm: "" = no batch norms, "centred" = with beta only, "scaled" = with gamma too; convolutions before batch norms
    have no bias. width_divisor: divisor of the published numbers of channels.
    """

    def __init__(
        self, padding: str = "same", norm: str = "", batch_statistics: bool = False, width_divisor: int = 1
    ) -> None:
        self.padding, self.norm, self.batch_statistics = padding, norm, batch_statistics
        self.width_divisor = width_divisor

    def widths(self, *published: int) -> tuple[int, ...]:
        """Numbers of channels for the published ones."""
        return tuple(width // self.width_divisor for width in published)

    def conv(self, channels: int, width: int, kernel: int = 3, stride: int = 1) -> Layer:
        return Layer(Conv(channels, width, kernel, stride, self.padding, not self.norm), self._norm(width))

    def up(self, channels: int, width: int, kernel: int = 3) -> Layer:
        return Layer(UpConv(channels, width, kernel, self.padding, not self.norm), self._norm(width))

    def head(self, channels: int, width: int, kernel: int = 3) -> Conv:
        """A prediction layer: no normalisation, no ReLU."""
        return Conv(channels, width, kernel, 1, self.padding)

    def upsample_bilinear(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 2 H, 2 W), bilinear."""
        if self.padding == "even":
            return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        height, width = x.shape[2:]
        padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
        size = (2 * height + 1, 2 * width + 1)
        return F.interpolate(padded, size=size, mode="bilinear", align_corners=True)[:, :, :-1, :-1]

    def _norm(self, width: int) -> BatchNorm | None:
        return BatchNorm(width, self.norm == "scaled", self.batch_statistics) if self.norm else None


def crop_to(x: Tensor, other: Tensor) -> Tensor:
    """x (B, C, H, W) cropped at the bottom and right to the height and width of `other`."""
    return x[:, :, : other.shape[2], : other.shape[3]]


def initialise(network: nn.Module) -> None:
    """The published initialisation: Xavier-uniform kernels, zero bias."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def decode_disparity(logits: Tensor) -> Tensor:
    """Inverse depth from the prediction layer of all three video families: 10 sigmoid + 0.01, which is never 0."""
    return 10 * torch.sigmoid(logits.float()) + 0.01
