"""Up-projections of family fcrn, in two forms that compute the same (Laina et al., 3DV 2016, section 3.2).

An up-projection doubles a map by unpooling, which places every value at the top left of a 2x2 cell of zeros, and a 5x5
convolution. Only kernel taps of one parity ever meet non-zero values, so four small convolutions of the small map,
interleaved, give the same result with 2.5 times fewer multiplications for the whole network (figure 3). Both forms are
implemented; `fast_state` and `plain_state` convert weights between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.errors import DepthRosError

EPS = 1e-4
"""Epsilon of every batch norm of the released networks."""
KERNELS = {"A": (0, 0), "B": (1, 0), "C": (0, 1), "D": (1, 1)}
"""Interleaved kernel -> parity of its rows and columns within the 5x5 kernel."""
CELL_ORDER = "ACBD"
"""Kernels in the order, by rows, of the pixels of a 2x2 cell that they compute."""


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the epsilon of the released networks."""
    return nn.BatchNorm2d(channels, eps=EPS)


class PlainUp(nn.Module):
    """Unpooling to the top left of 2x2 cells, then a 5x5 convolution: (B, C, h, w) -> (B, out, 2 h, 2 w)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        cells = F.pad(x[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1))
        return self.conv(cells.reshape(batch, channels, 2 * height, 2 * width))


class FastUp(nn.Module):
    """The same as four interleaved convolutions of the small map, 3x3, 2x3, 3x2 and 2x2.

    zeros: see `Settings`; "before" pads the even kernels at the top and left instead of the bottom and right.
    """

    def __init__(self, channels: int, out: int, zeros: str = "after") -> None:
        super().__init__()
        self.zeros = zeros
        for name, (r, c) in KERNELS.items():
            self.add_module(f"conv{name}", nn.Conv2d(channels, out, (3 - r, 3 - c)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1))
        window = (slice(None), slice(1, None) if self.zeros == "after" else slice(None, -1))  # by parity
        parts = []
        for name in CELL_ORDER:
            rows, columns = KERNELS[name]
            parts.append(getattr(self, f"conv{name}")(x[:, :, window[rows], window[columns]]))
        return F.pixel_shuffle(torch.stack(parts, 2).flatten(1, 2), 2)


class UpProjection(nn.Module):
    """Up-convolution, ReLU and 3x3 convolution, plus a second up-convolution; batch norm after each, then ReLU."""

    def __init__(self, channels: int, out: int, up: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.up1, self.bn1 = up(channels, out), batch_norm(out)
        self.conv, self.bn = nn.Conv2d(out, out, 3, padding=1), batch_norm(out)
        self.up2, self.bn2 = up(channels, out), batch_norm(out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(F.relu(self.bn1(self.up1(x)))))
        return F.relu(y + self.bn2(self.up2(x)))


class UpConvolution(nn.Module):
    """The baseline without projection: one up-convolution, batch norm and ReLU."""

    def __init__(self, channels: int, out: int, up: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.up1, self.bn1 = up(channels, out), batch_norm(out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.up1(x)))


class Deconvolution(nn.Module):
    """The baseline with a transposed 2x2 convolution of stride 2, batch norm and ReLU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.ConvTranspose2d(channels, out, 2, 2, bias=False), batch_norm(out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def fast_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of the interleaved form from that of the plain one; both compute the same (zeros "after")."""
    converted = {}
    for key, value in state.items():
        module, separator, kind = key.rpartition(".conv.")
        if not separator or not module.endswith(("up1", "up2")):
            converted[key] = value
            continue
        for name, (r, c) in KERNELS.items():
            converted[f"{module}.conv{name}.{kind}"] = value[:, :, r::2, c::2] if kind == "weight" else value
    return converted


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of the plain form from that of the interleaved one. Raises DepthRosError if its biases differ."""
    interleaved = tuple(f"conv{name}" for name in KERNELS)
    converted = {
        key: value for key, value in state.items() if not key.rpartition(".")[0].endswith(interleaved)
    }
    for key in [key for key in state if key.endswith("convA.weight")]:
        prefix = key.removesuffix("convA.weight")
        biases = [state[f"{prefix}conv{name}.bias"] for name in KERNELS]
        if any(not torch.equal(biases[0], bias) for bias in biases):
            raise DepthRosError(
                f"{prefix.removesuffix('.')} cannot be converted to the plain form: the biases of its four interleaved "
                "kernels differ; use form 'fast'"
            )
        out, channels = state[key].shape[:2]
        kernel = state[key].new_zeros(out, channels, 5, 5)
        for name, (r, c) in KERNELS.items():
            kernel[:, :, r::2, c::2] = state[f"{prefix}conv{name}.weight"]
        converted[f"{prefix}conv.weight"], converted[f"{prefix}conv.bias"] = kernel, biases[0]
    return converted
