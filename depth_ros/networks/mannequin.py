"""mannequin: depth up to scale of moving people seen by a moving camera.

Source: Li, Dekel, Cole, Tucker, Snavely, Liu, Freeman, "Learning the Depths of Moving People by Watching Frozen
People", CVPR 2019. The hourglass of Chen et al. (NIPS 2016) with bilinear enlargement, fed with the image alone
or also with what a second view of the clip tells: where people are, depth from parallax outside of them, how far
that can be trusted, key points (section 4). Names in the state dict are those of the released weights, which
load by strict matching. Written from the paper; Apache-2.0, as the authors' code.

The exported model takes the image alone. `Model.forward` of the other variants takes a third argument with the
extra channels, as `depth_ros two_view` makes them; without it they see a scene without people and parallax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.errors import DepthRosError

TASK = "depth"

INPUTS = {
    "image": (),
    "flow": ("flow_x", "flow_y", "people", "confidence"),
    "parallax_mask": ("people", "parallax"),
    "parallax": ("people", "parallax", "confidence"),
    "keypoints": ("people", "keypoints", "parallax", "confidence"),
}
"""Variant -> channels after RGB, in order (table 1 of the paper: I, IFCM, IDM, IDCM, IDCMK). Weights were
released of image, parallax and keypoints."""

TYPES: dict[str, tuple[int, int, int, tuple[int, int, int]]] = {
    # channels in, out of each branch, between the convolutions of branches 1 to 3, their kernels
    "A": (128, 16, 64, (3, 7, 11)),
    "a": (128, 16, 32, (3, 7, 11)),
    "B": (128, 32, 32, (3, 5, 7)),
    "C": (128, 32, 64, (3, 7, 11)),
    "D": (128, 64, 32, (3, 5, 7)),
    "E": (256, 64, 32, (3, 5, 7)),
    "F": (256, 64, 64, (3, 7, 11)),
    "G": (256, 32, 32, (3, 5, 7)),
    "H": (128, 32, 64, (3, 5, 7)),
}
"""The inception units (table 3 of Chen et al. and this paper's code; a = A'). All have four branches."""

LEVELS = (
    # (first path, second path): < halves, > doubles, a digit is the next inner level; the sum leaves
    ("<EEE>", "EE", False),
    ("<EE0EF>", "EF", False),
    ("<BD1EG>", "BC", True),
    ("<BB2Ha>", "A", True),
)
"""Level 1 (innermost) to 4: pooled path, skip path, whether the pooled path comes first in the state dict."""


@dataclass(frozen=True)
class Settings:
    """Options of the model."""

    inputs: str = setting("image", "what it sees beside the image", choices=tuple(INPUTS))
    narrow: int = setting(1, "divisor of all channels between image and depth; 1 = as published", "", 1, 16)


class Unit(nn.Module):
    """Inception unit: 1x1 and three times 1x1, k x k; a norm without weights and ReLU after each; concatenated."""

    def __init__(self, kind: str, narrow: int = 1) -> None:
        super().__init__()
        channels, out, mid, kernels = TYPES[kind]
        channels, out, mid = (n // narrow for n in (channels, out, mid))
        branches = [nn.Sequential(*_layer(channels, out, 1))]
        branches += [nn.Sequential(*_layer(channels, mid, 1), *_layer(mid, out, k)) for k in kernels]
        self.convs = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.convs], 1)


def _layer(channels: int, out: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
    return [convolution, nn.BatchNorm2d(out, affine=False), nn.ReLU(inplace=True)]


class Level(nn.Module):
    """Two paths of the hourglass, added."""

    def __init__(self, number: int, narrow: int = 1) -> None:
        super().__init__()
        pooled, skip, pooled_first = LEVELS[number]
        paths = [pooled, skip] if pooled_first else [skip, pooled]
        self.list = nn.ModuleList(nn.Sequential(*(_step(c, narrow) for c in path)) for path in paths)

    def forward(self, x: Tensor) -> Tensor:
        return self.list[0](x) + self.list[1](x)


def _step(letter: str, narrow: int) -> nn.Module:
    if letter == "<":
        return nn.AvgPool2d(2)
    if letter == ">":
        return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return Level(int(letter), narrow) if letter.isdigit() else Unit(letter, narrow)


class Network(nn.Module):
    """(B, C, H, W), RGB in [0, 1] first -> ln depth and confidence, both (B, H, W); H, W multiples of 16."""

    def __init__(self, channels: int = 3, narrow: int = 1) -> None:
        super().__init__()
        wide, last = 128 // narrow, 64 // narrow
        self.seq = nn.Sequential(
            nn.Conv2d(channels, wide, 7, padding=3),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            Level(3, narrow),
        )
        self.uncertainty_layer = nn.Sequential(nn.Conv2d(last, 1, 3, padding=1), nn.Sigmoid())
        self.pred_layer = nn.Conv2d(last, 1, 3, padding=1)
        self.pred_layer.keep_float32 = True  # type: ignore[assignment]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.seq(x)
        log_depth = self.pred_layer(x.to(self.pred_layer.weight.dtype))
        return log_depth[:, 0], self.uncertainty_layer(x)[:, 0]


def _network(inputs: str) -> Callable[[], nn.Module]:
    return lambda: Network(3 + len(INPUTS[inputs]))


NETWORKS: dict[str, Callable[[], nn.Module]] = {name: _network(name) for name in INPUTS}


class Model(nn.Module):
    """The contract of a depth model around `Network`; its depth is right up to one factor an image."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if 16 % settings.narrow:
            raise DepthRosError(f"mannequin: narrow is {settings.narrow}; allowed: 1, 2, 4, 8, 16")
        self.settings = settings
        self.channels = INPUTS[settings.inputs]
        self.network = Network(3 + len(self.channels), settings.narrow)

    def log_depth(self, image: Tensor, extra: Tensor | None = None) -> Tensor:
        """ln depth (B, H, W) float32 of uint8 images (B, H, W, 3) and `extra` (B, C, H, W) float32, the channels
        that `self.channels` names; None = noughts."""
        dtype = next(self.network.parameters()).dtype
        x = image.to(dtype).permute(0, 3, 1, 2) / 255
        if self.channels:
            if extra is None:
                extra = x.new_zeros(x.shape[0], len(self.channels), *x.shape[2:])
            x = torch.cat([x, extra.to(dtype)], 1)
        return self.network(x)[0].float()

    def forward(self, image: Tensor, intrinsics: Tensor, extra: Tensor | None = None) -> Tensor:
        """Depth (B, H, W) float32, up to scale. `intrinsics` are not used."""
        return torch.exp(self.log_depth(image, extra))


def released_inputs(state: Mapping[str, Tensor]) -> str:
    """Which inputs a released network (best_depth_Ours_Bilinear_inc_{3,6,7}_net_G.pth) takes; "" if it is none.

    Its entries are named as those of `Model`, less "network.".
    """
    stem = state.get("seq.0.weight")
    channels = stem.shape[1] if stem is not None and stem.ndim == 4 else 0
    return {3: "image", 6: "parallax", 7: "keypoints"}.get(channels, "")


GRADIENT, FIRST, SECOND, DATA = 0.75, 0.075, 0.1, 1.5
"""Weights of the terms of `loss`, as in the authors' code; the paper divides all by the last."""


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Section 3.3 of the paper, all on ln depth. batch: image (B, H, W, 3) uint8, depth (B, H, W) with NaN for
    unknown, weight (B, H, W), pixels with weight 0 left out; optional extra (B, C, H, W) and people (B, H, W).

    R = predicted - true. scale_invariant: mean R^2 - (mean R)^2; with people, that is one part and half the mean
    over pairs (p a person's, q any) of (R_p - R_q)^2 half a part. gradient: differences of R two pixels apart,
    five scales. smooth1, smooth2: slopes and Laplacians of the prediction where the image has none, five scales.
    """
    predicted = model.log_depth(batch["image"], batch.get("extra"))
    known = torch.isfinite(batch["depth"]) & (batch["weight"] > 0)
    error = torch.where(known, predicted - batch["depth"].nan_to_num(1.0).log(), 0.0)
    image = batch["image"].permute(0, 3, 1, 2).float() / 255
    data = DATA * _variance(error, known).mean()
    if "people" in batch:
        pairs = _pairs(error, known & batch["people"].bool(), known)
        data = (_variance(error, known) + 0.5 * pairs).mean()
    gradient = first = second = predicted.new_zeros(())
    for k in range(5):
        step = 2**k
        gradient = gradient + _slope(error[:, ::step, ::step], known[:, ::step, ::step])
        small, picture = predicted[:, ::step, ::step], image[:, :, ::step, ::step]
        if min(small.shape[1:]) > 2:
            first = first + _first_order(small, picture) * 0.5**k
            second = second + _second_order(small, picture) * 0.5**k
    terms = {
        "scale_invariant": data, "gradient": GRADIENT * gradient, "smooth1": FIRST * first, "smooth2": SECOND * second
    }  # fmt: skip
    return {"loss": sum(terms.values(), predicted.new_zeros(())), **terms}


def _moments(error: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (B,) of the pixels `where`; both 0 without any."""
    count = where.sum((1, 2)).clamp(min=1)
    mean = (error * where).sum((1, 2)) / count
    return mean, ((error - mean[:, None, None]).square() * where).sum((1, 2)) / count


def _variance(error: Tensor, known: Tensor) -> Tensor:
    return _moments(error, known)[1]


def _pairs(error: Tensor, some: Tensor, known: Tensor) -> Tensor:
    """(B,) half the mean over p in `some`, q in `known` of (R_p - R_q)^2; 0 where there is no p."""
    (mean_p, variance_p), (mean_q, variance_q) = _moments(error, some), _moments(error, known)
    return 0.5 * (variance_p + variance_q + (mean_p - mean_q).square()) * some.any(2).any(1)


def _slope(error: Tensor, known: Tensor) -> Tensor:
    """Mean |R(x + 2) - R(x)| and the same in y over all pairs of the batch with both ends known."""
    total, count = error.new_zeros(()), error.new_zeros(())
    for dim in (1, 2):
        size = error.shape[dim] - 2
        if size > 0:
            both = known.narrow(dim, 2, size) & known.narrow(dim, 0, size)
            total = total + ((error.narrow(dim, 2, size) - error.narrow(dim, 0, size)).abs() * both).sum()
            count = count + both.sum()
    return total / count.clamp(min=1)


def _first_order(predicted: Tensor, image: Tensor) -> Tensor:
    """Mean of |slope of ln depth| in x and y, less where the image has a slope too."""
    down, right = (
        (slice(None), slice(1, None), slice(None, -1)),
        (slice(None), slice(None, -1), slice(1, None)),
    )
    here = (slice(None), slice(None, -1), slice(None, -1))
    total = predicted.new_zeros(())
    for there in (down, right):
        edge = (image[(slice(None), *there)] - image[(slice(None), *here)]).abs().mean(1)
        total = total + (torch.exp(-edge) * (predicted[there] - predicted[here]).abs()).mean()
    return total


def _second_order(predicted: Tensor, image: Tensor) -> Tensor:
    """The same with the Laplacian of four neighbours."""
    kernel = predicted.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    edge = F.conv2d(image.flatten(0, 1)[:, None], kernel).unflatten(0, image.shape[:2])[:, :, 0].abs().mean(1)
    return (torch.exp(-edge) * F.conv2d(predicted[:, None], kernel)[:, 0].abs()).mean()


def initialise(model: Model) -> None:
    """Kernels as He et al. 2015 have them; nothing is pretrained. Depth starts at about 2."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    nn.init.normal_(model.network.pred_layer.weight, std=0.01)
    nn.init.constant_(model.network.pred_layer.bias, 0.7)  # type: ignore[arg-type]
